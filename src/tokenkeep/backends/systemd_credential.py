"""A vault key slot whose key systemd hands to a service as a credential.

The service manager decrypts it when the service starts and puts it where only that service can
read it: `$CREDENTIALS_DIRECTORY/NAME` (systemd.exec(5), LoadCredentialEncrypted=).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from tokenkeep.crypto import checksum, derive
from tokenkeep.errors import (
    AccessDenied,
    InvalidName,
    StoreError,
    StoreUnavailable,
    VaultKeyMissing,
    WrongKey,
)
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.vault import files
from tokenkeep.vault.format import Slot

#: The kind of such a slot.
SYSTEMD_SLOT = "systemd-credential"
#: A random key; what is shorter was made for something else.
LEAST_BYTES = 32
#: systemd's own bound is 1 MiB; no key is anywhere near this.
MOST_BYTES = 65536
_NAME = "systemd-credential"


class SystemdCredential:
    """A key among the credentials that systemd gave this service.

    Args:
        name: the credential's name, as in the unit file.
        sealed_to_tpm: whoever made the credential says that only this machine's TPM opens it
            (`systemd-creds encrypt --with-key=tpm2`). It cannot be seen from here.

    Raises:
        InvalidName: systemd takes no such name; a path is none.
    """

    __slots__ = ("name", "protection")

    kind = SYSTEMD_SLOT
    may_prompt = False
    readable_when_locked = True
    locked_after_boot = False
    opens_elsewhere = False  # it was encrypted for this machine, by its host key or its TPM
    name: str
    protection: str

    def __init__(self, name: str, sealed_to_tpm: bool = False) -> None:
        put = object.__setattr__
        put(self, "name", name)
        put(self, "protection", "HARDWARE" if sealed_to_tpm else "FILE_PERMISSIONS")
        # systemd: credential_name_valid(); a separator would lead out of the directory.
        if (
            name in ("", ".", "..")
            or len(name) > 255
            or not (name.isascii() and name.isprintable())
            or any(each in name for each in "/\\:")
        ):
            raise InvalidName(
                "a credential's name is ASCII, without a slash or a colon",
                hint="give the name that LoadCredentialEncrypted= has in the unit",
            )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a SystemdCredential cannot be changed")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SystemdCredential):
            return NotImplemented
        return (self.name, self.protection) == (other.name, other.protection)

    def __hash__(self) -> int:
        return hash((self.name, self.protection))

    def __repr__(self) -> str:
        return f"SystemdCredential({self.name!r})"

    def remember(self, slot_id: bytes, vault_id: bytes, call: Call) -> dict[str, bytes]:
        """The credential's name: see `Key.remember`."""
        return {_NAME: self.name.encode("ascii")}

    def opener(self, vault_id: bytes, call: Call) -> Callable[[Slot], Secret | None]:
        """What gives the wrapping key of this credential's slots: see `Key.opener`.

        Raises (what is returned):
            VaultKeyMissing: this process was given no such credential.
            AccessDenied: others can reach it, or we cannot.
            StoreUnavailable: reading it failed.
            WrongKey: it is too short to be a key, or too long.
        """
        read: list[Secret] = []

        def kek(slot: Slot) -> Secret | None:
            if slot.kind != SYSTEMD_SLOT or credential_of(slot) != self.name:
                return None
            if not read:
                read.append(self._read())
            return derive(read[0], b"tk systemd", slot.salt)

        return kek

    def _read(self) -> Secret:
        """The hash of the credential, which a key of any length is."""
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        unit = f"LoadCredentialEncrypted={self.name}:/etc/credstore.encrypted/{self.name}"
        if not directory:
            raise VaultKeyMissing(
                "systemd gave this process no credentials", hint=f"in the service's unit: {unit}"
            )
        path = os.path.join(directory, self.name)
        content: Secret | None = None
        problem: StoreError | None = None
        try:
            content = Secret(files.read_shared(path, MOST_BYTES))
        except FileNotFoundError:
            problem = VaultKeyMissing(
                f"systemd gave this service no credential {self.name}",
                hint=f"in the service's unit: {unit}",
            )
        except OSError as exc:
            reason = f"the credential {self.name} cannot be read: {exc.strerror}"
            if exc.errno in (errno.EACCES, errno.EPERM):
                problem = AccessDenied(reason, hint="run as the user that the unit names")
            else:
                problem = StoreUnavailable(reason)
        if content is None:
            assert problem is not None
            raise problem
        if not LEAST_BYTES <= content.size <= MOST_BYTES:
            raise WrongKey(
                f"the credential {self.name} has {content.size} bytes, and a key has at least"
                f" {LEAST_BYTES}",
                hint="tokenkeep vault new-key --stdout makes one",
            )
        return Secret(checksum(content.reveal_bytes()))


def credential_of(slot: Slot) -> str:
    """The name of the credential that opens a slot."""
    return slot.extra.get(_NAME, b"").decode("ascii", "replace")
