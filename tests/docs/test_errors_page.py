"""docs/reference/errors.md says of every error class what the code says."""

from __future__ import annotations

import re

import pytest

from support.services import REPOSITORY
from tokenkeep import errors
from tokenkeep.cli import exits

PAGE = (REPOSITORY / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
CLASSES = sorted(
    (
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.TokenkeepError)
    ),
    key=lambda each: each.__name__,
)
ROWS = {
    row[0]: row[1:]
    for row in re.findall(r"^\| `(\w+)` \| `([\w-]+)` \| (\d) \| (.+) \|$", PAGE, re.MULTILINE)
}


def test_the_table_has_every_class_and_no_other() -> None:
    """Nothing that can be raised is undocumented; nothing documented is gone."""
    assert len(CLASSES) > 20
    assert sorted(each.__name__ for each in CLASSES) == sorted(ROWS)


@pytest.mark.parametrize("each", CLASSES, ids=lambda each: each.__name__)
def test_a_row_tells_the_truth(each: type[errors.TokenkeepError]) -> None:
    """Code and exit code are the class's own, and what is temporary says so."""
    code, exit_code, remedy = ROWS[each.__name__]
    assert each.code == code
    assert exits.CODES[each] == int(exit_code)
    assert each.is_temporary == remedy.startswith("temporary")


@pytest.mark.parametrize("each", CLASSES, ids=lambda each: each.__name__)
def test_the_drawn_tree_is_the_real_one(each: type[errors.TokenkeepError]) -> None:
    """The tree on the page and at the top of errors.py has every class at its depth."""
    depth = len([base for base in each.__mro__ if issubclass(base, errors.TokenkeepError)]) - 1
    for tree in (PAGE, errors.__doc__ or ""):
        line = re.search(rf"^([│├└─ ]*){each.__name__}\b", tree, re.MULTILINE)
        assert line is not None
        assert 4 * depth == len(line[1])


@pytest.mark.parametrize("each", CLASSES, ids=lambda each: each.__name__)
def test_a_class_says_in_one_sentence_what_to_do(each: type[errors.TokenkeepError]) -> None:
    """The first line of the docstring is one full sentence."""
    first = (each.__doc__ or "").strip().splitlines()[0]
    assert first.endswith(".")
    assert "." not in first[:-1]
