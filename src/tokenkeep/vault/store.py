"""The verbs of a store over a vault: what every store that keeps its items in one has in common."""

from __future__ import annotations

from tokenkeep.errors import ValueTooLarge
from tokenkeep.item import checked_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tokenkeep.errors import SecretDamaged
    from tokenkeep.item import Call, ItemName
    from tokenkeep.secret import Secret
    from tokenkeep.vault.vault import Vault

#: SQLite keeps a value of this size in memory several times while it is written.
MAX_VALUE_BYTES = 16 * 1024 * 1024


class StoreOverVault:
    """Every verb and ability of a store, by its vault; a subclass brings that and the facts."""

    __slots__ = ()

    @property
    def _vault(self) -> Vault:
        """The vault; opened by its first use, not by asking for it here."""
        raise NotImplementedError

    def _begin(self, call: Call, doing: str) -> None:
        """What comes before each verb; a subclass may have to find its vault first."""
        call.check(doing)

    def read(self, name: ItemName, call: Call) -> Secret | None:
        """The item's value; None if it is absent, or there is no vault yet."""
        self._begin(call, "reading in the vault")
        return self._vault.read(name, call)

    def write(self, name: ItemName, value: Secret, call: Call) -> None:
        """Keeps the value, durable on return; the first write makes the vault if it may."""
        if value.size > MAX_VALUE_BYTES:
            raise _too_large(value)
        self._begin(call, "writing in the vault")
        self._vault.write(name, value, call)

    def delete(self, name: ItemName, call: Call) -> bool:
        """Erases the item and its quarantine; True if it existed."""
        self._begin(call, "deleting in the vault")
        return self._vault.delete(name, call)

    def names(self, service: str, call: Call) -> list[ItemName]:
        """Every item of the service, of every kind, sorted; opens names, no values.

        Raises:
            SecretDamaged: a name does not open; `erase` erases it all the same.
        """
        checked_name(service, "service")
        self._begin(call, "listing in the vault")
        return self._vault.names(service, call)

    def inspect(self, service: str, call: Call) -> tuple[list[ItemName], int]:
        """The items whose names open, sorted, and how many more there are."""
        checked_name(service, "service")
        self._begin(call, "listing in the vault")
        unnamed: list[SecretDamaged] = []
        return self._vault.names(service, call, unnamed), len(unnamed)

    def replace(
        self, name: ItemName, expected: Secret | None, value: Secret | None, call: Call
    ) -> None:
        """Writes or deletes if the item is still `expected`, in one transaction."""
        if value is not None and value.size > MAX_VALUE_BYTES:
            raise _too_large(value)
        self._begin(call, "writing in the vault")
        self._vault.replace(name, expected, value, call)

    def contains(self, name: ItemName, call: Call) -> bool:
        """Whether the item is there, also if it would not open."""
        self._begin(call, "looking in the vault")
        return self._vault.contains(name, call)

    def version(self, call: Call) -> object:
        """Differs after every change made by anybody."""
        self._begin(call, "looking in the vault")
        return self._vault.version(call)

    def changes(self, service: str, since: object, call: Call) -> tuple[object, list[ItemName]]:
        """Which items were written, added or removed since; opens no value."""
        from tokenkeep.vault.tracking import changes

        checked_name(service, "service")
        self._begin(call, "looking in the vault")
        if self._vault.version(call) is None:  # there is no vault yet
            return None, []
        seen: Any = since
        return changes(self._vault, service, seen, call)

    def erase(self, service: str, call: Call) -> bool:
        """Erases the service's items and rewrites the vault without the old bytes.

        Returns:
            True if that is pending, as `Erasing.erase` says.
        """
        checked_name(service, "service")
        self._begin(call, "erasing in the vault")
        from tokenkeep.vault.erasing import erase

        return erase(self._vault, service, call)

    def shred(self, call: Call) -> bool:
        """Rewrites the vault without the bytes of what was deleted or replaced.

        Returns:
            True if that is pending, as `Erasing.erase` says.
        """
        self._begin(call, "erasing in the vault")
        from tokenkeep.vault.erasing import shred

        return shred(self._vault, call)

    def reset(self, service: str, call: Call) -> str | None:
        """Erases the service's items; sets the whole vault aside if nothing can open it any more.

        Returns:
            Where the vault lies that was set aside; None if the items were erased in it.

        Raises:
            StoreLocked, StoreTimeout, StoreUnavailable, AccessDenied, InteractionDenied, NotAVault,
            FormatUnsupported: one of its keys may open the vault again; nothing changed.
        """
        from tokenkeep.vault.erasing import erase
        from tokenkeep.vault.reset import require_lost, set_aside

        checked_name(service, "service")
        self._begin(call, "resetting the vault")
        lost = require_lost(self._vault, call)
        if lost is not None:
            return set_aside(self._vault, lost, call)
        # One that was moved away while it was open is not erased, and must not seem so.
        if self._vault.is_open:
            erase(self._vault, service, call)
        return None

    def close(self) -> None:
        """Closes the database and forgets the keys; another call opens it again."""
        self._vault.close()


def _too_large(value: Secret) -> ValueTooLarge:
    return ValueTooLarge(
        f"the value has {value.size} bytes, a vault takes {MAX_VALUE_BYTES}",
        hint="store less, or split it",
    )
