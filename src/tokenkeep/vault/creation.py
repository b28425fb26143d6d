"""Making a vault: aside in a directory of its own, published by a rename.

Killed at any step, this leaves either nothing at the vault's path or a good vault; what was built
aside is removed by the next creator. The key file is durable before the vault is published and
names the vault only afterwards, so that a creation that never ended can be begun again.
"""

from __future__ import annotations

import os

from tokenkeep.crypto import KEY_BYTES, random_bytes
from tokenkeep.errors import StoreError, StoreUnavailable, WrongKey
from tokenkeep.secret import Secret
from tokenkeep.vault import files, keys, mounts, room, slots, sqlite
from tokenkeep.vault.format import KEY_ID_BYTES, VAULT_ID_BYTES, Header, Slot
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.leftovers import forget_unused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenkeep.item import Call
    from tokenkeep.vault.slots import Key

_ASIDE = ".new-"
#: What an abandoned creation is taken to be: no creation takes this long.
_ABANDONED_SECONDS = 3600


def create(
    path: str,
    with_keys: tuple[Key, ...],
    call: Call,
    step: Callable[[str], None] = lambda _name: None,
) -> bool:
    """Makes a vault that each of the keys opens; False if another creator was quicker.

    Args:
        step: told before each step; what it raises is a crash there.

    Raises:
        StoreUnavailable: a key file belongs to another vault; or a network file system.
        AccessDenied, StoreFull: it cannot be made; nothing is left at the path.
        WrongKey: a key file is none.
    """
    missing = files.missing_parents(path)
    try:
        return _created(path, with_keys, call, step)
    finally:
        files.remove_empty(missing)  # none of them is, once there is a vault


def _created(
    path: str, with_keys: tuple[Key, ...], call: Call, step: Callable[[str], None]
) -> bool:
    parent = os.path.dirname(path)
    try:
        os.makedirs(parent, mode=0o700, exist_ok=True)
    except OSError as exc:
        raise files.translated(exc, "the vault") from None
    mounts.require_local(parent)
    step("keys")
    for key in with_keys:
        if isinstance(key, KeyFile):
            _key, named, _extra = key.make()
            if named and files.exists(path):
                return False  # another creator was quicker
            if named:
                raise StoreUnavailable(
                    f"the key file belongs to another vault: {key.path}",
                    hint="give the vault's own path, or another key file",
                )
            key.require_nameable()
    aside = f"{path}{_ASIDE}{random_bytes(6).hex()}"
    vault_id = random_bytes(VAULT_ID_BYTES)
    made: list[Slot] = []
    problem: StoreError | None = None
    is_ours = False
    try:
        step("aside")
        # Once more: a creator who failed meanwhile has taken them away with what it left empty.
        os.makedirs(parent, mode=0o700, exist_ok=True)
        os.mkdir(aside, 0o700)
        _fill(aside, vault_id, with_keys, made, call, step)
        step("publish")
        is_ours = files.publish_directory(aside, path)
        step("published")
        files.sync_directory(parent)
    except WrongKey:
        # Another creator published its vault, and let the key file name it, since we looked.
        if not files.exists(path):
            raise
    except OSError as exc:
        problem = files.translated(exc, "the vault")
    except sqlite.Error as exc:
        problem = sqlite.translated(exc)
    finally:
        if not is_ours:
            forget_unused(with_keys, made, vault_id, call)
            _remove_tree(aside)
    if problem is not None:
        raise problem
    if not is_ours:
        return False
    step("name")
    name_vault(with_keys, vault_id)
    _sweep(path)
    return True


def name_vault(with_keys: tuple[Key, ...], vault_id: bytes) -> None:
    """Lets the key files name their vault."""
    for key in with_keys:
        if isinstance(key, KeyFile):
            key.name_vault(vault_id)


def _fill(
    aside: str,
    vault_id: bytes,
    with_keys: tuple[Key, ...],
    made: list[Slot],
    call: Call,
    step: Callable[[str], None],
) -> None:
    """Builds the vault aside.

    Args:
        made: takes each slot as soon as there is one, for whatever ends this.
    """
    key_id, root = random_bytes(KEY_ID_BYTES), Secret(random_bytes(KEY_BYTES))
    # What opens any slot has none of its own, unless nothing else is given: then that is an error.
    for key in [key for key in with_keys if key.kind != slots.ANY_SLOT] or with_keys:
        step("slot")
        made.append(slots.new_slot(key, "", root, vault_id, call)[0])
    header = Header(
        vault_id=vault_id,
        generation=1,
        current_key=key_id,
        wrapped_keys={
            key_id: keys.wrap_key(root, vault_id, key_id, Secret(random_bytes(KEY_BYTES)))
        },
        slots=tuple(made),
    )
    step("database")
    database = os.path.join(aside, files.DATABASE)
    files.write_new(database, b"")  # SQLite would make it readable as the umask says
    sqlite.create(database, vault_id, header.generation)
    step("lock")
    files.write_new(os.path.join(aside, files.LOCK), b"")
    step("header")
    files.write_new(os.path.join(aside, files.HEADER), header.encode())
    room.keep(aside)
    files.sync_directory(aside)


def _sweep(path: str) -> None:
    """Removes what killed creators left beside the vault."""
    import time

    parent, prefix = os.path.dirname(path), os.path.basename(path) + _ASIDE
    try:
        for name in os.listdir(parent):
            if name.startswith(prefix):
                left = os.path.join(parent, name)
                if time.time() - os.lstat(left).st_mtime > _ABANDONED_SECONDS:
                    _remove_tree(left)
    except OSError:
        return


def _remove_tree(path: str) -> None:
    try:
        for name in os.listdir(path):
            os.unlink(os.path.join(path, name))
        os.rmdir(path)
    except OSError:
        return
