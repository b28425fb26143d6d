"""The journal: durable lines, torn ones that never count, and nothing secret in it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from migrate.places import SERVICE, Drawer, storage_in
from tokenkeep.errors import FormatUnsupported, SecretDamaged
from tokenkeep.migrate.journal import Entry, Journal, Journals, Phase, _line
from tokenkeep.migrate.migration import Migration


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journals(str(tmp_path), SERVICE, "drawer").of("id")
    journal.append(("start", "id"), ("names", "all"), ("write", "pair", "value"))
    return journal


def test_it_says_the_last_word_on_each_item(journal: Journal) -> None:
    """What counts is what was said last since the start."""
    journal.append(("wrote", "pair", "value"), ("copied",))
    told = journal.read()
    assert (Phase.COPIED, "id", "all") == (told.phase, told.id, told.names)
    assert {"pair": Entry("wrote", "value")} == told.entries
    journal.append(("confirm",), ("removed", "pair", "value"))
    assert Phase.CONFIRMING is journal.read().phase
    journal.append(("undo",), ("restored", "pair", "value"))
    told = journal.read()
    assert (Phase.UNDOING, {"pair": Entry("restored", "value")}) == (told.phase, told.entries)
    journal.append(("confirmed",), ("start", "next"))
    assert (Phase.COPYING, "next", {}) == (
        journal.read().phase,
        journal.read().id,
        journal.read().entries,
    )


def test_a_line_torn_anywhere_never_counts_and_the_next_one_does(journal: Journal) -> None:
    """A crash in the middle of a line is as if it had not been begun."""
    path = Path(journal.path)
    before = path.read_bytes()
    whole = _line(("copied",))
    for size in range(len(whole)):
        path.write_bytes(before + whole[:size])
        assert Phase.COPYING is journal.read().phase
        journal.append(("confirm",))
        assert Phase.CONFIRMING is journal.read().phase


def test_any_damage_stops_everything(journal: Journal) -> None:
    """What is lost may have been the end: nobody goes on from there."""
    path = Path(journal.path)
    good = path.read_bytes()
    for at in range(good.rindex(b"\n", 0, -1)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises((SecretDamaged, FormatUnsupported)):
            journal.read()


def test_a_newer_version_s_word_is_not_guessed(journal: Journal) -> None:
    """An event of a later release is unsupported, not damage."""
    journal.append(("frobnicated", "pair"))
    with pytest.raises(FormatUnsupported):
        journal.read()


def test_it_holds_neither_names_nor_values_and_is_ours_alone(tmp_path: Path) -> None:
    """The file alone tells nobody what moved; the key to its hashes lies in the new place."""
    drawer, storage = Drawer(api_key="s3cret"), storage_in(tmp_path)
    Migration(drawer, storage, names={"api_key": "token"}).run()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert 2 == len(files)
    for path in files:
        assert 0o600 == stat.S_IMODE(path.stat().st_mode)
        for word in (b"api_key", b"token", b"s3cret"):
            assert word not in path.read_bytes().replace(b"tokenkeep", b"")


def test_a_link_in_its_place_is_refused(tmp_path: Path, journal: Journal) -> None:
    """A journal elsewhere is not ours."""
    path = Path(journal.path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SecretDamaged):
        journal.read()
