"""Reads everything in a vault and says what does not open; changes nothing."""

from __future__ import annotations

import os

from tokenkeep.errors import (
    AccessDenied,
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    TokenkeepError,
    VaultDamaged,
    VaultKeyMissing,
)
from tokenkeep.item import Call, ItemName
from tokenkeep.vault import files
from tokenkeep.vault.engine import Engine
from tokenkeep.vault.envelope import subject
from tokenkeep.vault.format import Header
from tokenkeep.vault.keys import Keys
from tokenkeep.vault.quarantine import columns_of
from tokenkeep.vault.rows import following, generation_of
from tokenkeep.vault.vault import Vault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_BATCH = 200
#: What SQLite reports of a damaged database; more lines say nothing new.
_MAX_LINES = 20
#: What is a finding; everything else keeps us from knowing, and is raised.
_REPORTED = (SecretDamaged, SecretInvalidated, AccessDenied, VaultKeyMissing)


class Finding:
    """One thing that is wrong.

    Attributes:
        where: a file of the vault, or two that disagree; "key", perhaps with a slot's id; "item"
            and where its place begins.
        name: the item's name, if that opens.
        error: what using it raises.
    """

    __slots__ = ("error", "name", "where")

    def __init__(self, where: str, error: TokenkeepError, name: ItemName | None = None) -> None:
        self.where = where
        self.error = error
        self.name = name

    def __repr__(self) -> str:
        return f"Finding({self.where!r}, {self.error!r}, {self.name!r})"


class CheckReport:
    """What a check found.

    Attributes:
        items: how many items open.
        quarantined: how many replaced items that did not open are kept aside.
        findings: what is wrong; empty if all is well.
        is_rekeying: a rekey was begun and not finished.
    """

    __slots__ = ("findings", "is_rekeying", "items", "quarantined")

    def __init__(self) -> None:
        self.items = 0
        self.quarantined = 0
        self.findings: list[Finding] = []
        self.is_rekeying = False

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def __repr__(self) -> str:
        return f"CheckReport(items={self.items}, findings={self.findings!r})"


def check(
    vault: Vault,
    call: Callable[[], Call],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> CheckReport:
    """Opens every item, walks every page of the database, looks at every file and slot.

    Args:
        call: gives every batch its own deadline.
        progress: told how many of how many items were read.

    Raises:
        StoreUnavailable: there is no vault.
        StoreTimeout, InteractionDenied: we cannot know. Damage is reported, not raised.
    """
    report = CheckReport()
    header = _part(report, files.HEADER, lambda: vault.header(with_database=False))
    if header is not None:
        _look_at_header(report, header)
        _look_at_files(report, vault.path)
        if _opens(report, vault, call):
            _part(report, files.DATABASE, lambda: _walk_pages(report, vault, call))
            _part(report, files.DATABASE, lambda: _open_all(report, vault, call, progress))
            _part(report, files.DATABASE, lambda: _open_quarantine(report, vault, call))
    elif report.is_well:
        vault.opened(call())  # raises that there is none
    return report


def _opens(report: CheckReport, vault: Vault, call: Callable[[], Call]) -> bool:
    """Whether the vault opens; else with a finding about what keeps it from us."""

    def database_is_there() -> bool:
        files.require_database(vault.path)
        return True

    if not _part(report, files.DATABASE, database_is_there):
        return False
    unlocked = _part(report, "key", lambda: vault.unlocked(call()))
    if unlocked is None:
        return False

    def generation() -> int:
        engine: Engine = unlocked[0]
        looked = "SELECT generation, EXISTS (SELECT 1 FROM item) FROM state WHERE one = 1"
        return generation_of(engine.row(call(), looked))

    if _part(report, files.DATABASE, generation) is None:
        return False
    # What is left to fail is that the two disagree, and nobody can tell which of them is wrong.
    both = f"{files.HEADER} and {files.DATABASE}"
    return _part(report, both, lambda: vault.opened(call())) is not None


def _part(report: CheckReport, where: str, look: Callable[[], Any]) -> Any:
    """What `look` gives; None with a finding if it meets damage."""
    try:
        return look()
    except StoreError as exc:
        if exc.is_temporary or not isinstance(exc, _REPORTED):
            raise
        finding = Finding(where, exc.with_traceback(None))
        if repr(finding) not in map(repr, report.findings):
            report.findings.append(finding)
    return None


def _look_at_header(report: CheckReport, header: Header) -> None:
    report.is_rekeying = header.is_rekeying
    for slot in header.slots:
        if slot.is_damaged:
            report.findings.append(
                Finding(f"key {slot.id.hex()}", VaultDamaged("the key slot is damaged"))
            )


def _look_at_files(report: CheckReport, directory: str) -> None:
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)

        def look(path: str = path) -> None:
            files.require_private(path, os.lstat(path), 0o600)

        _part(report, name, look)


def _walk_pages(report: CheckReport, vault: Vault, call: Callable[[], Call]) -> None:
    engine, _keys = vault.unlocked(call())
    lines = engine.rows(call(), f"PRAGMA integrity_check({_MAX_LINES})")
    if lines != [("ok",)]:
        report.findings.append(
            Finding(
                files.DATABASE,
                VaultDamaged(
                    f"the database is damaged in {len(lines)} places",
                    hint="tokenkeep vault export, then import into a new vault",
                ),
            )
        )


def _open_all(
    report: CheckReport,
    vault: Vault,
    call: Callable[[], Call],
    progress: Callable[[int, int], None],
) -> None:
    ((total,),), _keys = _rows(vault, call, "SELECT count(*) FROM item")
    seen, after = 0, b""
    start: bytes | float = float("-inf")  # before whatever damage can have put at a place
    while True:
        batch, keys = _rows(
            vault,
            call,
            "SELECT place_a, place_b, name, envelope FROM item WHERE place_a > ?"
            " ORDER BY place_a LIMIT ?",
            (start, _BATCH),
        )
        if not batch:
            return
        for row in batch:
            _open_row(report, keys, row)
        seen, after = seen + len(batch), following(after, batch[-1][0])
        start = after
        progress(seen, max(seen, total))


def _open_quarantine(report: CheckReport, vault: Vault, call: Callable[[], Call]) -> None:
    found, keys = _rows(vault, call, "SELECT number, kept FROM quarantine")
    for number, sealed in found:
        report.quarantined += 1

        def look(sealed: Any = sealed) -> None:
            columns_of(keys.open_quarantined(sealed))

        _part(report, f"quarantine {number}", look)


def _rows(
    vault: Vault, call: Callable[[], Call], statement: str, values: tuple[object, ...] = ()
) -> tuple[list[Any], Keys]:
    """All rows of a query, and the keys that hold for them."""
    return vault.look(call(), lambda engine, keys: (engine.rows(call(), statement, values), keys))


def _open_row(report: CheckReport, keys: Keys, row: tuple[Any, ...]) -> None:
    place_a, place_b, sealed_name, sealed = row
    name = None
    try:
        if not all(isinstance(each, bytes) for each in row):
            raise SecretDamaged("an item's entry is damaged")
        name = keys.open_name(place_a, sealed_name)
        what = subject(name)
        if not any(
            finder.place(name.service, what) == (place_a, place_b) for finder in keys.finders()
        ):
            raise SecretDamaged("the item's entry is damaged")
        keys.open_value(what, sealed)
        report.items += 1
    except SecretDamaged as exc:
        report.findings.append(Finding(f"item {_short(place_a)}", exc.with_traceback(None), name))


def _short(place: Any) -> str:
    return place[:8].hex() if isinstance(place, bytes) else "?"
