"""Bringing a vault of an older format to this version's; opening never does that."""

from __future__ import annotations

from tokenkeep.errors import FormatUnsupported, StoreUnavailable, VaultDamaged
from tokenkeep.item import Call
from tokenkeep.vault import files, rows
from tokenkeep.vault.engine import Engine
from tokenkeep.vault.format import FORMAT, MAX_HEADER_BYTES, Header, header_fields
from tokenkeep.vault.header_file import replace_header
from tokenkeep.vault.vault import Vault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from sqlite3 import Connection

    #: Turns the header's fields, and inside a transaction the database, of one format into the
    #: next one's; `generation` stays. May be run again after a crash: the database may have been
    #: done already, and written to since by others, who go by the header.
    Step = Callable[[dict[str, bytes], Connection], dict[str, bytes]]

#: From which format, by which step. Format 1 is the first one: there is nothing to upgrade from.
STEPS: Mapping[int, Step] = {}


def upgrade(
    vault: Vault,
    call: Call,
    steps: Mapping[int, Step] = STEPS,
    step: Callable[[str], None] = lambda _name: None,
) -> tuple[int, int]:
    """Upgrades the vault step by step; needs no key. The formats before and after.

    Raises:
        StoreUnavailable: there is no vault.
        FormatUnsupported: it is newer than this version, or too old to have a step.
        NotAVault, VaultDamaged, AccessDenied: it cannot be read.
        StoreTimeout: others used it all the time.
    """
    if not files.require_vault_directory(vault.path):
        raise StoreUnavailable(f"there is no vault: {vault.path}", hint="tokenkeep vault create")
    before = _format_of(_fields(vault.path))
    while (found := _format_of(_fields(vault.path))) < FORMAT:
        change = steps.get(found)
        if change is None:
            raise FormatUnsupported(
                f"this version does not know the vault's format {found}",
                hint="upgrade with an earlier version of tokenkeep first",
            )
        _take_step(vault, change, found, call, step)
    return before, Header.of(_fields(vault.path)).format


def _take_step(
    vault: Vault, change: Step, found: int, call: Call, step: Callable[[str], None]
) -> None:
    engine = Engine.made(vault.path, _fields(vault.path).get("vault-id", b""), call)

    def alone(connection: Connection) -> None:
        known = _fields(vault.path)
        if _format_of(known) != found:
            return  # somebody else did it while we waited
        step("database")
        connection.execute("BEGIN IMMEDIATE")
        changed = change(dict(known), connection)
        # As with every change of the header: one generation more, and the database never ahead.
        generation = int.from_bytes(changed["generation"], "big")
        (there,) = connection.execute("SELECT generation FROM state WHERE one = 1").fetchone()
        if there > generation:
            raise VaultDamaged(
                "the vault's header is older than its database",
                hint="restore both from one backup",
            )
        connection.execute("UPDATE state SET generation = ?", (generation,))
        connection.execute("COMMIT")
        newer = {**changed, "generation": (generation + 1).to_bytes(8, "big")}
        step("header")
        replace_header(engine, encode_fields(newer))
        step("state")
        rows.announce(connection, generation + 1)

    try:
        engine.locked(call, alone)
    finally:
        engine.close()


def encode_fields(known: dict[str, bytes]) -> bytes:
    """A header file of any format from its fields."""
    from tokenkeep.vault.format import HEADER_MAGIC, seal_file

    return seal_file(HEADER_MAGIC, known)


def _fields(directory: str) -> dict[str, bytes]:
    return header_fields(files.read_header(directory, MAX_HEADER_BYTES))


def _format_of(known: dict[str, bytes]) -> int:
    return int.from_bytes(known.get("format", b""), "big")
