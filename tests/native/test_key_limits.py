"""What is read from /proc/keys, whose lines may hold anything that a name may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenkeep.backends.kernel_keyring import KernelKeyringOptions, facts_of
from tokenkeep.native.key_limits import descriptions

SHOWN = b"""\
01ec44b8 I--Q---     3 perm 1f3f0000     0 65534 keyring   _uid.0: empty
0f4710b9 IR-Q---     1 expd 3f010000     0     0 user      tokenkeep:session:item:5:org.x:two: 0
0f881e96 I--Q---     1  59s 3f010000  1000  1000 user      tokenkeep:session:item:5:org.x:a
b: 7: 12
2943f758 I------     1  2d3 0f0b0000     0    -1 big_key   other: 9
"""


def test_every_user_key_is_found_by_its_number(tmp_path: Path) -> None:
    """Names with line breaks are whole, and other kinds of keys are left out."""
    (tmp_path / "keys").write_bytes(SHOWN)
    assert {
        0x0F4710B9: b"tokenkeep:session:item:5:org.x:two: 0",
        0x0F881E96: b"tokenkeep:session:item:5:org.x:a\nb: 7: 12",
    } == descriptions(str(tmp_path / "keys"))


@pytest.mark.parametrize("content", [None, b""], ids=["no file", "an empty one"])
def test_hidden_file_tells_nothing(tmp_path: Path, content: bytes | None) -> None:
    """As containers hide it: not taken for "no keys", and the facts say what is missing."""
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    assert descriptions(str(tmp_path / "keys")) is None

    def notes(*, lists_dead: bool) -> str:
        options = KernelKeyringOptions()
        facts = facts_of(
            options, version=(6, 1), unused_seconds=None, limit=1, lists_dead=lists_dead
        )
        return "; ".join(facts.notes)

    assert "/proc/keys is hidden here" in notes(lists_dead=False)
    assert "/proc/keys" not in notes(lists_dead=True)
