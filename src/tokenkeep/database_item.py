"""The item that holds a database's key: how it is told from every other item.

Nothing here does input or output.
"""

from __future__ import annotations

import os

from tokenkeep import fields
from tokenkeep.errors import WriteConflict
from tokenkeep.secret import Secret

#: SQLCipher's own sizes: a 256-bit key and the 16 bytes at the head of the file.
KEY_BYTES, SALT_BYTES = 32, 16


def packed(key: Secret, salt: bytes, path: str) -> Secret:
    """The item for a key, the database's salt, and where the database is."""
    return Secret(fields.pack({"key": key.reveal_bytes(), "salt": salt, "path": os.fsencode(path)}))


def unpacked(value: Secret) -> tuple[Secret, bytes, str] | None:
    """Key, salt and path; None if the item is anything else."""
    try:
        found = fields.unpack(value.reveal_bytes())
        key, salt, path = Secret(found["key"]), found["salt"], os.fsdecode(found["path"])
    except (ValueError, KeyError):
        return None
    return (key, salt, path) if (key.size, len(salt)) == (KEY_BYTES, SALT_BYTES) else None


def is_database_key(value: Secret) -> bool:
    """Whether an item is a database's key: only `rekey` replaces it without losing the database."""
    return unpacked(value) is not None


def require_no_key_lost(there: Secret | None, value: Secret, hint: str) -> None:
    """Ends what would put a value in the place of a database's key, unless it is that very key.

    Args:
        there: what the item holds; None if there is none.
        hint: what goes instead.

    Raises:
        WriteConflict: the item is the key of a database.
    """
    if there is not None and there != value and is_database_key(there):
        raise WriteConflict(
            "the item is the key of a database, which would never open again", hint=hint
        )
