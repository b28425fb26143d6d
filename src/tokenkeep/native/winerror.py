"""Windows' error codes: what an entry of a table says, and the error that it becomes.

Each binding to Windows has its own table, made of `Meaning`. Nothing here does input or output.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenkeep.errors import StoreError, StoreTimeout, StoreUnavailable

#: An HRESULT with this facility is a Win32 code in its lower half (winerror.h).
_WIN32_FACILITY = 0x8007


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one code says.

    Args:
        name: what the platform's header calls it.
        error: the error it becomes; None if it says that something is absent.
        says: one clause for a person.
        hint: the remedy.
        is_busy: worth another try within the deadline.
    """

    name: str
    error: type[StoreError] | None
    says: str = ""
    hint: str | None = None
    is_busy: bool = False


Table = dict[int, Meaning]


def busy(name: str, says: str) -> Meaning:
    """A code that another try, a little later, may not meet; `StoreTimeout` at the deadline."""
    return Meaning(name, StoreTimeout, says, is_busy=True)


def meaning(table: Table, code: int) -> Meaning:
    """The entry of a code: as a Win32 code, as an HRESULT of any kind, signed or not.

    A code that no table knows means that the store cannot be used now: nothing is known of the
    item, and nothing is erased.
    """
    code &= 0xFFFFFFFF
    if code >> 16 == _WIN32_FACILITY:
        code &= 0xFFFF
    known = table.get(code)
    if known is not None:
        return known
    shown = str(code) if code < 0x10000 else f"0x{code:08X}"
    return Meaning(f"error {shown}", StoreUnavailable, "Windows did not say more")


def problem(table: Table, code: int, doing: str) -> StoreError | None:
    """The error that a code becomes; None if it says that something is absent."""
    entry = meaning(table, code)
    if entry.error is None:
        return None
    says = f": {entry.says}" if entry.says else ""
    return entry.error(f"{doing} failed{says} ({entry.name})", hint=entry.hint)
