"""The key file: a random key in a file, which opens a vault for whoever can read it."""

from __future__ import annotations

import os

from tokenkeep.crypto import (
    KEY_BYTES,
    derive,
    random_bytes,
)
from tokenkeep.errors import (
    AccessDenied,
    TokenkeepError,
    VaultKeyMissing,
    WrongKey,
)
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.vault import files
from tokenkeep.vault.format import (
    KEY_FILE_SLOT,
    Slot,
    decode_key_file,
    encode_key_file,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


_MAX_KEY_FILE_BYTES = 4096


class KeyFile:
    """A file with a random key: whoever can read it can open the vault.

    Args:
        path: where it lies, or is made together with the vault.
        readable_by_group: accept a file that its group may read, or that another user owns, as
            container platforms mount them; and one that cannot be replaced by its like, so that it
            never names its vault.
    """

    __slots__ = ("path", "readable_by_group")

    kind = KEY_FILE_SLOT
    protection = "FILE_PERMISSIONS"
    may_prompt = False
    readable_when_locked = True
    locked_after_boot = False
    opens_elsewhere = True
    path: str
    readable_by_group: bool

    def __init__(self, path: str | os.PathLike[str], readable_by_group: bool = False) -> None:
        put = object.__setattr__
        put(self, "path", path)  # first: a traceback with locals calls repr on what there is
        put(self, "readable_by_group", readable_by_group)
        put(self, "path", files.absolute(path, "the key file"))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a KeyFile cannot be changed")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeyFile):
            return NotImplemented
        return (self.path, self.readable_by_group) == (other.path, other.readable_by_group)

    def __hash__(self) -> int:
        return hash((self.path, self.readable_by_group))

    def __repr__(self) -> str:
        return f"KeyFile({self.path!r}, readable_by_group={self.readable_by_group})"

    def read(self) -> tuple[Secret, bytes, dict[str, bytes]]:
        """The key, the id of the vault it belongs to (empty if none yet), and unknown fields.

        Raises:
            VaultKeyMissing: there is no file.
            AccessDenied: others can reach it.
            WrongKey: it is not a key file, or damaged.
        """
        content: Secret | None = None
        problem: TokenkeepError | None = None
        try:
            content = self._content()
        except FileNotFoundError:
            problem = VaultKeyMissing(
                f"the key file is not there: {self.path}", hint="bring the key file back"
            )
        except OSError as exc:
            problem = files.translated(exc, f"the key file {self.path}")
        if content is None:
            assert problem is not None
            raise problem
        return decode_key_file(content)

    def _content(self) -> Secret:
        if not self.readable_by_group:
            return Secret(files.read_private(self.path, _MAX_KEY_FILE_BYTES, 0o600))
        # Mounted secrets are reached through links (Kubernetes' ..data) and belong to root.
        return Secret(files.read_shared(self.path, _MAX_KEY_FILE_BYTES))

    def make(self) -> tuple[Secret, bytes, dict[str, bytes]]:
        """What `read` gives, after making the file if nothing is there.

        Raises:
            As `read`; AccessDenied, StoreFull, StoreUnavailable: it cannot be made.
        """
        directory = os.path.dirname(self.path)
        aside = _aside(self.path)
        content = encode_key_file(Secret(random_bytes(KEY_BYTES)), b"")
        problem = None
        missing = files.missing_parents(self.path)
        try:
            if not os.path.lexists(self.path):
                os.makedirs(directory, mode=0o700, exist_ok=True)
                files.write_new(aside, content)
                files.link_new(aside, self.path)
                files.sync_directory(directory)
        except FileExistsError:
            pass  # another creator was quicker: its key is the one
        except OSError as exc:
            problem = files.translated(exc, f"the key file {self.path}")
        finally:
            files.remove(aside)
            files.remove_empty(missing)
        if problem is not None:
            raise problem
        return self.read()

    def name_vault(self, vault_id: bytes) -> None:
        """Notes in the file which vault it opens, so that a lost vault is never taken for none.

        Raises:
            WrongKey: it names another vault.
            AccessDenied, StoreFull, StoreUnavailable: it cannot be written, and that is not
                accepted.
        """
        key, named, extra = self.read()
        if named == vault_id:
            return
        if named:
            raise WrongKey(
                f"the key file belongs to another vault: {self.path}",
                hint="give this vault's own key file",
            )
        content, problem = encode_key_file(key, vault_id, extra), None
        try:
            path = os.path.realpath(self.path)  # in the place of the file, not of a link to it
            # The vault's creator and its first writer may both be at it.
            files.replace_file(path, content, _aside(path), keeps_access=True)
        except OSError as exc:
            problem = files.translated(exc, f"the key file {self.path}")
        if problem is None or self.readable_by_group:
            return
        # On Windows several at once may keep each other from it for long: one of them is enough.
        if self.read()[1] != vault_id:
            raise problem

    def require_nameable(self) -> None:
        """Ends an attempt to use a file that could never name its vault, unless that is accepted.

        Raises:
            AccessDenied: its directory cannot be written.
        """
        if not self.readable_by_group and not os.access(os.path.dirname(self.path), os.W_OK):
            raise AccessDenied(
                f"the key file cannot be made to name its vault: {self.path}",
                hint="make its directory writable, or give KeyFile(..., readable_by_group=True)",
            )

    def remember(self, slot_id: bytes, vault_id: bytes, call: Call) -> dict[str, bytes]:
        """Nothing: see `Key.remember`."""
        return {}

    def opener(self, vault_id: bytes, call: Call) -> Callable[[Slot], Secret | None]:
        """What gives a slot's wrapping key; raises as `read`, and WrongKey for another vault's."""
        key, named, _extra = self.read()
        if named and named != vault_id:
            raise WrongKey(
                f"the key file belongs to another vault: {self.path}",
                hint="give this vault's own key file",
            )

        def kek(slot: Slot) -> Secret:
            return derive(key, b"tk key file", slot.salt)

        return kek


def _aside(path: str) -> str:
    return f"{path}.{random_bytes(6).hex()}.new"
