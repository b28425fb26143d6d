"""Taking items out of a vault and into another, in one file under a passphrase.

The file is a magic, a header of named fields with a checksum behind its length, then one sealed
record per item and one that ends the file, each behind its length. A record is bound to its number
and to the file, so that none can be missing, exchanged or cut off. Sessions are not exported: a
refresh token that lives in two places is taken for a stolen one.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from itertools import islice

from tokenkeep import fields
from tokenkeep.crypto import Argon2Profile, Cipher, argon2id, random_bytes
from tokenkeep.database_item import require_no_key_lost
from tokenkeep.errors import (
    FormatUnsupported,
    NotAVault,
    SecretDamaged,
    StoreError,
    TokenkeepError,
    UnsupportedOption,
    VaultDamaged,
    WriteConflict,
    WrongKey,
)
from tokenkeep.installation import open_markers
from tokenkeep.item import ITEM, Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault import files, rows
from tokenkeep.vault.envelope import subject
from tokenkeep.vault.format import SALT_BYTES, open_file, seal_file
from tokenkeep.vault.keys import Keys
from tokenkeep.vault.passphrase import Passphrase
from tokenkeep.vault.vault import Vault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Connection
    from typing import Any

    Items = list[tuple[ItemName, Secret]]

EXPORT_MAGIC = b"tokenkeep export"
EXPORT_FORMAT = 1
_LABEL = b"tokenkeep export record"
#: As they lie: what looks for the next batch passes by what a damaged tree has in wrong order.
_EVERYTHING = "SELECT place_a, name, envelope FROM item NOT INDEXED"
_ID_BYTES = 16
_FORMAT_BYTES = 2
_COSTS = ("memory-kib", "passes", "lanes")
#: How long the fields of format 1 are.
_LENGTHS = {"id": _ID_BYTES, "salt": SALT_BYTES, **dict.fromkeys(_COSTS, 4)}
_BATCH = 200
#: Bounds what a damaged length can make us take into memory.
_MAX_HEADER_BYTES = 4096
_MAX_FILE_BYTES = 4 << 30
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_PIECE_BYTES = 1 << 20

SKIP = "skip"
REPLACE = "replace"
FAIL = "fail"


class TransferReport:
    """What an export or import did.

    Attributes:
        items: the names that were written.
        skipped: on import, the names that were there already and stayed; on export, the names of
            items that do not open.
        unnamed: on export, how many items' names do not open either.
    """

    __slots__ = ("items", "skipped", "unnamed")

    def __init__(self) -> None:
        self.items: list[ItemName] = []
        self.skipped: list[ItemName] = []
        self.unnamed = 0

    def __repr__(self) -> str:
        return f"TransferReport(items={len(self.items)}, skipped={len(self.skipped)})"


def export(
    vault: Vault,
    path: str,
    passphrase: Passphrase,
    call: Callable[[], Call],
    *,
    service: str | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> TransferReport:
    """Writes all items that open, of one service or of all, into a new file that only we can read.

    Args:
        service: whose items; if it has none, no file is written.
        call: gives every step its own deadline.

    Raises:
        UnsupportedOption: there is a file already.
        AccessDenied, StoreFull, StoreUnavailable: the file cannot be written; none is left.
    """
    path = os.path.abspath(path)
    if files.exists(path):
        raise _already_there(path)
    vault.opened(call())  # before anybody is asked for a passphrase
    report, export_id, salt = TransferReport(), random_bytes(_ID_BYTES), random_bytes(SALT_BYTES)
    profile = passphrase.profile
    cipher = Cipher(argon2id(passphrase.reveal(call()), salt, profile))
    header = seal_file(
        EXPORT_MAGIC,
        {
            "format": EXPORT_FORMAT.to_bytes(_FORMAT_BYTES, "big"),
            "id": export_id,
            "salt": salt,
            "memory-kib": profile.memory_kib.to_bytes(4, "big"),
            "passes": profile.passes.to_bytes(4, "big"),
            "lanes": profile.lanes.to_bytes(4, "big"),
        },
    )
    parts = [EXPORT_MAGIC, len(header).to_bytes(4, "big"), header]
    keys, rows = vault.look(call(), lambda engine, keys: (keys, engine.rows(call(), _EVERYTHING)))
    for seen, row in enumerate(rows, 1):
        packed = _packed(keys, row, service, report)
        if packed is not None:
            parts += _record(cipher, export_id, len(report.items), packed)
        if seen % _BATCH == 0 or seen == len(rows):
            progress(seen, len(rows))
    if service is not None and not report.items and not report.skipped:
        return report
    parts += _record(cipher, export_id, 0, Secret(len(report.items).to_bytes(8, "big")))
    _write(path, b"".join(parts))
    return report


def import_items(
    vault: Vault,
    path: str,
    passphrase: Passphrase,
    call: Call,
    *,
    existing: str = FAIL,
    create: bool = True,
    state_directory: str | None = None,
) -> TransferReport:
    """Writes the items of an export into the vault: all of them or none.

    They are this installation's own then, for `check_fresh_install` of their applications.

    Args:
        existing: what happens to items that the vault has already: SKIP, REPLACE or FAIL.
        create: make the vault if there is none and its options allow it.
        state_directory: where the applications' markers lie; the user's state directory if None.

    Raises:
        WriteConflict: an item is there already, and `existing` is FAIL; or REPLACE, and it is the
            key of a database, which would be lost; nothing changed.
        NotAVault: the file is no export.
        VaultDamaged: it is damaged or cut off; nothing changed.
        WrongKey: the passphrase is another one.
        UnsupportedOption: `existing` is something else, or what lies at the path is no file.
        StoreError: also, that they are this installation's could not be noted; nothing changed.
    """
    if existing not in (SKIP, REPLACE, FAIL):
        raise UnsupportedOption("existing items can be skipped, replaced, or make the import fail")
    items = _read(path, passphrase, call)
    markers = open_markers({name.service for name, _value in items}, state_directory)
    while True:
        call.check("importing into the vault")
        claimed: set[ItemName] = set()
        if markers:
            # What stays as it is may be another installation's: only what is written is claimed.
            writing, _staying = _chosen(
                items,
                existing,
                lambda name: vault.contains(name, call),
                lambda name: vault.read(name, call),
            )
            claimed = {name for name, _value in writing}
        with ExitStack() as claims:
            for service, marker in markers.items():
                if names := [name.name for name in claimed if name.service == service]:
                    claims.enter_context(marker.claimed(call, *names))
            try:
                return _put(vault, items, existing, claimed if markers else None, call, create)
            except _Unclaimed:
                pass  # somebody erased an item since we looked: once more


def _put(
    vault: Vault,
    items: Items,
    existing: str,
    claimed: set[ItemName] | None,
    call: Call,
    create: bool,
) -> TransferReport:
    """Writes what is to be written, all at once; raises _Unclaimed if that is not claimed."""
    report = TransferReport()

    def put(connection: Connection, keys: Keys) -> None:
        def read(name: ItemName) -> Secret | None:
            what = subject(name)
            sealed = rows.found_in(connection, keys, name, what)
            return None if sealed is None else keys.open_value(what, sealed)

        writing, report.skipped = _chosen(
            items, existing, lambda name: rows.is_there(connection, keys, name), read
        )
        report.items = [name for name, _value in writing]
        if claimed is not None and not claimed.issuperset(report.items):
            raise _Unclaimed
        for name, value in writing:
            rows.put(connection, keys, name, value)

    size = sum(value.size for _name, value in items)
    vault.transaction(call, put, create=create, size=size)
    return report


class _Unclaimed(TokenkeepError):
    """An item that is to be written was not said to be ours; never leaves this module."""


def _chosen(
    items: Items,
    existing: str,
    is_there: Callable[[ItemName], bool],
    read: Callable[[ItemName], Secret | None],
) -> tuple[Items, list[ItemName]]:
    """What is to be written, and the names that are there and stay; raises as `import_items`."""
    if existing == REPLACE:
        for name, value in items:
            _require_no_database_key(name, value, read)
        return items, []
    staying = [name for name, _value in items if is_there(name)]
    if staying and existing == FAIL:
        raise WriteConflict(
            "an item of the export is in the vault already", hint="skip or replace existing items"
        )
    kept = set(staying)
    return [each for each in items if each[0] not in kept], staying


def _require_no_database_key(
    name: ItemName, value: Secret, read: Callable[[ItemName], Secret | None]
) -> None:
    try:
        there = read(name)
    except SecretDamaged:
        return  # it opens nothing any more, and goes into quarantine
    require_no_key_lost(there, value, "skip existing items, or tokenkeep delete NAME first")


def _packed(
    keys: Keys, row: tuple[Any, ...], service: str | None, report: TransferReport
) -> Secret | None:
    """The record's content; None if the item is not to be exported, or cannot be."""
    place_a, sealed_name, sealed = row
    name = None
    try:
        name = keys.open_name(place_a, sealed_name)
        if name.kind != ITEM or service not in (None, name.service):
            return None
        value = keys.open_value(subject(name), sealed)
    except (SecretDamaged, TypeError):
        if name is None:
            report.unnamed += 1
        else:
            report.skipped.append(name)
        return None
    report.items.append(name)
    return Secret(
        fields.pack(
            {
                "service": name.service.encode("utf-8"),
                "name": name.name.encode("utf-8"),
                "value": value.reveal_bytes(),
            }
        )
    )


def _record(cipher: Cipher, export_id: bytes, number: int, content: Secret) -> list[bytes]:
    sealed = cipher.seal(content, _associated(export_id, number))
    return [len(sealed).to_bytes(4, "big"), sealed]


def _associated(export_id: bytes, number: int) -> bytes:
    """Number 0 is the end's."""
    return fields.join(_LABEL, export_id, number.to_bytes(8, "big"))


def _write(path: str, data: bytes) -> None:
    aside = f"{path}.{random_bytes(6).hex()}.new"
    problem: StoreError | None = None
    try:
        files.write_new(aside, data)
        files.link_new(aside, path)
        files.sync_directory(os.path.dirname(path))
    except FileExistsError:  # somebody else's, made meanwhile
        problem = _already_there(path)
    except OSError as exc:
        problem = files.translated(exc, "the export")
    finally:
        files.remove(aside)
    if problem is not None:
        raise problem


def _read(path: str, passphrase: Passphrase, call: Call) -> Items:
    data: bytes = b""
    problem: StoreError | None = None
    try:
        # Never blocking: nobody may ever write into a pipe that stands in the file's place.
        with open(path, "rb", opener=lambda path, how: os.open(path, how | _NO_WAIT)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnsupportedOption(
                    f"an export is a file: {path}", hint="write what comes here into a file first"
                )
            # Piece by piece: asked for the most there may be, Python takes that much memory first.
            pieces = iter(lambda: file.read(_PIECE_BYTES), b"")
            data = b"".join(islice(pieces, _MAX_FILE_BYTES // _PIECE_BYTES))
    except OSError as exc:
        problem = files.translated(exc, "the export")
    if problem is not None:
        raise problem
    known, at = _header(data)
    profile = Argon2Profile(*(int.from_bytes(known[name], "big") for name in _COSTS))
    if not profile.is_acceptable():
        raise VaultDamaged("the export asks for impossible costs", hint="export again")
    export_id, salt = known["id"], known["salt"]
    cipher = Cipher(argon2id(passphrase.reveal(call), salt, profile))
    items: Items = []
    while True:
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        sealed = data[at + 4 : end]
        if end > len(data):
            break
        content = cipher.open(sealed, _associated(export_id, len(items) + 1))
        if content is None:
            count = cipher.open(sealed, _associated(export_id, 0))
            if count is None and not items:
                raise WrongKey(
                    "the passphrase does not open this export", hint="give the right one"
                )
            is_end = count is not None and count.reveal_bytes() == len(items).to_bytes(8, "big")
            if is_end and end == len(data):
                return items
            break
        items.append(_unpacked(content))
        at = end
    raise VaultDamaged("the export is damaged or cut off", hint="export again")


def _header(data: bytes) -> tuple[dict[str, bytes], int]:
    start = len(EXPORT_MAGIC)
    if not data.startswith(EXPORT_MAGIC):
        raise NotAVault("this is not a tokenkeep export", hint="give the file of an export")
    size = int.from_bytes(data[start : start + 4], "big")
    known = None
    if size <= _MAX_HEADER_BYTES:
        known = open_file(EXPORT_MAGIC, data[start + 4 : start + 4 + size])
    if known is None or len(known.get("format", b"")) != _FORMAT_BYTES:
        raise VaultDamaged("the export is damaged", hint="export again")
    if int.from_bytes(known["format"], "big") > EXPORT_FORMAT:
        raise FormatUnsupported(
            "a newer version of tokenkeep wrote this export",
            hint="pip install --upgrade tokenkeep",
        )
    if any(len(known.get(name, b"")) != length for name, length in _LENGTHS.items()):
        raise VaultDamaged("the export is damaged", hint="export again")
    return known, start + 4 + size


def _unpacked(content: Secret) -> tuple[ItemName, Secret]:
    known: dict[str, bytes] = {}
    try:
        known = fields.unpack(content.reveal_bytes())
        value = Secret(known.pop("value"))
        return ItemName(known["service"].decode("utf-8"), known["name"].decode("utf-8")), value
    except (ValueError, KeyError, StoreError):
        pass  # raised below: this frame may hold the value
    del known
    raise VaultDamaged("the export holds something that is no item", hint="export again")


def _already_there(path: str) -> UnsupportedOption:
    return UnsupportedOption(f"there is a file already: {path}", hint="choose another path")
