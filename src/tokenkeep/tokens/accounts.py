"""Whose sessions an application has here, whatever the records are named."""

from __future__ import annotations

from tokenkeep.errors import FormatUnsupported, SecretDamaged
from tokenkeep.item import SESSION
from tokenkeep.tokens.record import decode
from tokenkeep.tokens.storage import TokenStorage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.item import ItemName
    from tokenkeep.storage import SecureStorage


def stored_accounts(storage: SecureStorage) -> list[TokenStorage]:
    """Every account that has a record, dead or alive, each under the name it lies under.

    Raises:
        StoreError: the store cannot tell.
    """
    names = storage.store.names(storage.service, storage.call())
    return [
        TokenStorage(storage, account=_account(storage, name), name=name.name)
        for name in sorted(names)
        if name.kind == SESSION
    ]


def _account(storage: SecureStorage, name: ItemName) -> str:
    try:
        value = storage.store.read(name, storage.call())
        account = decode(value).account if value is not None and value.size else ""
    except (SecretDamaged, FormatUnsupported):
        account = ""
    return account or name.name  # most records are named after their account
