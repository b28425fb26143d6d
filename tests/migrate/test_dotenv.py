"""Real dotenv files: read as python-dotenv reads them, rewritten without what left."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import dotenv
import pytest

from migrate.places import items_of, storage_in
from tokenkeep.errors import SecretDamaged, StoreUnavailable, UnsupportedOption
from tokenkeep.migrate.dotenv import DotenvSource
from tokenkeep.migrate.migration import Migration
from tokenkeep.migrate.report import Outcome

TEXT = """\
# the service
export API_KEY=s3cret   # of the test system
EMPTY=
NOTHING
QUOTED="two words\\n\\"quoted\\" # no comment"
SINGLE='a $HOME ${X}'
MULTI="first
second"
USER=ada
URL=https://${USER}:${API_KEY}@example.org/
SET=${USER:-fallback}
DEFAULTED=${X:-fallback}
USER=grace
ÜMLAUT=söße
"""


@pytest.fixture
def env(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.write_text(TEXT, encoding="utf-8")
    path.chmod(0o640)
    return path


DEPENDENT = ["DEFAULTED", "SINGLE"]


def test_values_are_those_that_python_dotenv_gives(
    env: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What moves is what the application has seen so far, whatever the environment says."""
    source = DotenvSource(env)
    found = {name: source.read(name) for name in source.names() if name not in DEPENDENT}
    for variables in ({}, {"USER": "environment", "X": "x"}):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        given = dotenv.dotenv_values(env)
        expected = {name: given[name] for name in given if given[name] is not None}
        assert sorted(DEPENDENT) == sorted(expected.keys() - found.keys())
        for name in DEPENDENT:
            del expected[name]
        assert expected == {name: value and value.reveal() for name, value in found.items()}
    assert "https://ada:s3cret@example.org/" == expected["URL"]
    assert "ada" == expected["SET"]
    assert source.read("NOTHING") is None


@pytest.mark.parametrize("variables", [{}, {"X": "x"}])
def test_a_value_that_depends_on_the_environment_does_not_move(
    env: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str]
) -> None:
    """What it is here and now is not what it is elsewhere; its default is no value of its own."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name in DEPENDENT:
        with pytest.raises(UnsupportedOption):
            DotenvSource(env).read(name)
    report = Migration(DotenvSource(env), storage_in(tmp_path)).run()
    assert DEPENDENT == [item.old for item in report.having(Outcome.UNREADABLE)]


def test_moving_leaves_every_other_line_as_it_was(env: Path, tmp_path: Path) -> None:
    """Comments, order, spaces and permissions stay; all lines of a moved variable go."""
    storage = storage_in(tmp_path)
    twice = TEXT.replace("EMPTY=\n", "EMPTY=\nexport URL=https://${USER}:${API_KEY}@example.org/\n")
    env.write_text(twice, encoding="utf-8")
    migration = Migration(DotenvSource(env), storage, names={"URL": "url", "EMPTY": "empty"})
    migration.run()
    migration.confirm()
    assert {"url": "https://ada:s3cret@example.org/", "empty": ""} == items_of(storage)
    lines = [line for line in TEXT.splitlines() if not line.startswith(("URL", "EMPTY"))]
    assert "\n".join(lines) + "\n" == env.read_text(encoding="utf-8")
    assert 0o640 == stat.S_IMODE(env.stat().st_mode)
    assert [] == [name for name in os.listdir(tmp_path) if name.endswith(".new")]


@pytest.mark.parametrize(
    "text",
    [
        "A=s3cret\nB=1\nA=last\n",
        "A=s3cret\nA\nexport A=last\n",
        "A=${HOME}\nB=1\nA=last\n",
        "A=last\nA=s3cret\nA=last\n",
    ],
)
def test_a_value_that_a_later_line_hides_stays(tmp_path: Path, text: str) -> None:
    """It was never copied, so it is never erased; what was copied can be undone."""
    path = tmp_path / ".env"
    path.write_text(text)
    storage = storage_in(tmp_path)
    migration = Migration(DotenvSource(path), storage)
    migration.run()
    with pytest.raises(UnsupportedOption, match=r"line \d: this hides") as caught:
        migration.confirm()
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"
    assert text == path.read_text()
    migration.undo()
    assert {} == items_of(storage)


def test_what_others_refer_to_stays_and_can_still_be_undone(env: Path, tmp_path: Path) -> None:
    """Taking it out would change the value of what stays."""
    storage = storage_in(tmp_path)
    migration = Migration(DotenvSource(env), storage, names=["API_KEY"])
    migration.run()
    with pytest.raises(UnsupportedOption):
        migration.confirm()
    assert TEXT == env.read_text(encoding="utf-8")
    migration.undo()
    assert {} == items_of(storage)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"GOOD=1\nWORSE='s3cret\n", SecretDamaged),
        (b"GOOD=\xff\n", SecretDamaged),
    ],
)
def test_a_damaged_file_is_not_half_read(
    tmp_path: Path, content: bytes, error: type[Exception]
) -> None:
    """The line is named, what stands in it is not."""
    path = tmp_path / ".env"
    path.write_bytes(content)
    with pytest.raises(error) as caught:
        DotenvSource(path).names()
    assert "s3cret" not in str(caught.value)


def test_a_missing_file_is_not_an_empty_one(tmp_path: Path) -> None:
    """A wrong path is an error."""
    with pytest.raises(StoreUnavailable):
        DotenvSource(tmp_path / ".env").names()
    with pytest.raises(UnsupportedOption):
        DotenvSource(tmp_path).names()


def test_a_link_stays_one_and_line_ends_stay(tmp_path: Path) -> None:
    """The file behind the link is replaced."""
    path, link = tmp_path / "shared.env", tmp_path / ".env"
    path.write_bytes(b"A=1\r\nB=2\r\n")
    link.symlink_to(path)
    DotenvSource(link).remove("A")
    assert link.is_symlink()
    assert b"B=2\r\n" == path.read_bytes()
    DotenvSource(link).remove("A", "never there")
    assert b"B=2\r\n" == path.read_bytes()
