"""FIDO2: a touch of a security key, proved by a secret that only this key can compute.

Enrolling makes a credential with the hmac-secret extension and keeps its id, its public key, a salt
and a hash of the key's answer to it. Verifying asks for a signature over a fresh challenge and for
the answer again: both have to be right. Nothing that is kept lets anybody answer without the key.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from tokenkeep import fields
from tokenkeep.crypto import checksum, random_bytes
from tokenkeep.errors import (
    NotEnrolled,
    PresenceDenied,
    PresenceError,
    PresenceLockedOut,
    PresenceUnavailable,
    SecretDamaged,
)
from tokenkeep.item import checked_name
from tokenkeep.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tokenkeep.item import Call
    from tokenkeep.native.fido2 import SecurityKeys
    from tokenkeep.storage import SecureStorage

_SALT_BYTES = 32
_LATE = "nobody touched the security key in time"

#: The names of CTAP 2.1, section 8.2, and of python-fido2's client.
ERRORS: dict[str, tuple[type[PresenceError], str]] = {
    "NO_DEVICE": (PresenceUnavailable, "no security key is plugged in"),
    "TIMEOUT": (PresenceDenied, _LATE),
    "USER_ACTION_TIMEOUT": (PresenceDenied, _LATE),
    "ACTION_TIMEOUT": (PresenceDenied, _LATE),
    "KEEPALIVE_CANCEL": (PresenceDenied, _LATE),
    "OPERATION_DENIED": (PresenceDenied, "declined at the security key"),
    "PIN_INVALID": (PresenceDenied, "the security key's PIN is wrong"),
    "PIN_AUTH_INVALID": (PresenceDenied, "the security key's PIN is wrong"),
    "PIN_BLOCKED": (PresenceLockedOut, "the security key is blocked after too many wrong PINs"),
    "PIN_AUTH_BLOCKED": (PresenceLockedOut, "pull the security key out and put it in again"),
    "UV_BLOCKED": (PresenceLockedOut, "the security key takes no more attempts for now"),
    "NO_CREDENTIALS": (NotEnrolled, "this is another security key than the enrolled one"),
    "DEVICE_INELIGIBLE": (NotEnrolled, "this is another security key than the enrolled one"),
    "PIN_NOT_SET": (NotEnrolled, "the security key has no PIN"),
    "PUAT_REQUIRED": (NotEnrolled, "the security key wants a PIN, which it is not asked for here"),
    "UNSUPPORTED_EXTENSION": (PresenceUnavailable, "the security key has no hmac-secret"),
    "CONFIGURATION_UNSUPPORTED": (PresenceUnavailable, "the security key cannot do this"),
    "BAD_REQUEST": (PresenceUnavailable, "the security key does not take the request"),
    "OTHER_ERROR": (PresenceUnavailable, "the security key failed, or was pulled out"),
}
_REASONS = {_LATE: "timed out", "declined at the security key": "cancelled"}


class Fido2:
    """A `Verifier` by security key.

    Args:
        storage: where the credential is kept. Never a gate of itself, and not the storage behind
            the gate: writing needs no proof there, so whoever has the gate could enrol.
        name: the credential's name there.
        relying_party: a domain of the application's.
        devices: gives the authenticators; those at USB if None.
        on_touch: called when the key waits for a touch.

    Raises:
        MissingExtra: fido2 is not installed.
    """

    name = "security key"

    def __init__(
        self,
        storage: SecureStorage,
        *,
        name: str = "presence security key",
        relying_party: str = "tokenkeep.localhost",
        devices: Callable[[], Iterable[Any]] | None = None,
        on_touch: Callable[[], None] = lambda: None,
    ) -> None:
        from tokenkeep.native.fido2 import SecurityKeys

        self._storage = storage
        self._item = checked_name(name, "name")
        self._keys: SecurityKeys = SecurityKeys(relying_party, devices, on_touch)

    def enrol(self, call: Call) -> None:
        """Makes a credential on the key that is touched, twice, in place of the one before.

        Raises:
            PresenceError: nobody touched a key, or it cannot do this.
            StoreError: the credential could not be kept.
        """
        salt = random_bytes(_SALT_BYTES)
        credential, public_key = _translated(lambda: self._keys.make(call))
        answer, is_signed = _translated(
            lambda: self._keys.answer(credential, public_key, salt, call)
        )
        if not is_signed:
            raise PresenceUnavailable("the security key does not sign as it should")
        kept = {
            "credential": credential,
            "public-key": public_key,
            "salt": salt,
            "answer": checksum(answer.reveal_bytes()),
        }
        self._storage.write(self._item, Secret(fields.pack(kept)))

    def verify(self, reason: str, call: Call) -> None:
        """Waits for a touch; raises as `Verifier.verify`."""
        value = self._storage.read(self._item)
        if value is None:
            raise NotEnrolled("no security key was enrolled", hint="Fido2.enrol(...)")
        kept: dict[str, bytes] = {}
        try:
            kept = fields.unpack(value.reveal_bytes())
        except ValueError:
            pass  # as what lacks a field
        if not {"credential", "public-key", "salt", "answer"} <= kept.keys():
            raise SecretDamaged("the enrolled security key is damaged", hint="enrol it again")
        answer, is_signed = _translated(
            lambda: self._keys.answer(kept["credential"], kept["public-key"], kept["salt"], call)
        )
        is_right = hmac.compare_digest(checksum(answer.reveal_bytes()), kept["answer"])
        if not (is_signed and is_right):
            raise PresenceDenied("the security key's answer is wrong", reason="failed")


def _translated(ask: Callable[[], Any]) -> Any:
    from tokenkeep.native.fido2 import KeyFailure

    problem: PresenceError
    try:
        return ask()
    except KeyFailure as exc:
        kind, message = ERRORS.get(
            exc.name, (PresenceUnavailable, f"the security key said {exc.name}")
        )
        if kind is PresenceDenied:
            problem = PresenceDenied(message, reason=_REASONS.get(message, "failed"))
        else:
            problem = kind(message)
    raise problem
