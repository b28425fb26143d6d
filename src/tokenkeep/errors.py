"""Every exception that tokenkeep raises.

The tree; each class says in one sentence what the caller should do.

TokenkeepError
├── StoreError
│   ├── StoreLocked            temporary
│   ├── StoreUnavailable
│   │   └── VaultKeyMissing
│   ├── StoreTimeout           temporary
│   ├── InteractionDenied
│   ├── AccessDenied
│   ├── SecretInvalidated
│   ├── SecretDamaged
│   │   ├── VaultDamaged
│   │   ├── NotAVault
│   │   ├── WrongKey
│   │   └── FormatUnsupported
│   ├── WriteConflict
│   ├── ValueTooLarge
│   ├── StoreFull
│   ├── InvalidName
│   └── UnsupportedOption
├── SessionError
│   ├── LoginRequired
│   ├── RefreshUnavailable     temporary
│   ├── SessionUncertain
│   ├── ProviderRefused
│   ├── LoginFailed
│   │   └── LoginCancelled
│   └── ProtocolViolation
├── PresenceError
│   ├── PresenceDenied
│   ├── PresenceUnavailable
│   ├── NotEnrolled
│   └── PresenceLockedOut      temporary
└── MissingExtra

No message, hint or attribute of any of them holds a secret.
"""

from __future__ import annotations


class TokenkeepError(Exception):
    """Something tokenkeep was asked for did not happen; nothing was erased because of it.

    Attributes:
        code: a stable word for programs.
        hint: one remedy for a person, usually a command; None where there is none.
    """

    code: str = "error"
    #: True where the same call may succeed later without anybody changing anything but time,
    #: a lock or a network.
    is_temporary: bool = False

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        super().__init__(message or self.code.replace("-", " "))
        self.hint = hint


class StoreError(TokenkeepError):
    """A store could not do what it was asked; see the subclass for the way out."""

    code = "store-error"


class StoreLocked(StoreError):
    """Unlock the device or the store, then retry; nothing is lost."""

    code = "store-locked"
    is_temporary = True


class StoreUnavailable(StoreError):
    """The store does not exist on this machine or is not reachable now; choose or start one."""

    code = "store-unavailable"


class VaultKeyMissing(StoreUnavailable):
    """The vault is there but none of the given keys is; bring the key back or restore it."""

    code = "vault-key-missing"


class StoreTimeout(StoreError):
    """The store did not answer in time; retry later or with a longer deadline."""

    code = "store-timeout"
    is_temporary = True


class InteractionDenied(StoreError):
    """A person said no, or prompting was not allowed; do not ask again at once."""

    code = "interaction-denied"


class AccessDenied(StoreError):
    """The platform refuses this program, or permissions are unsafe; mend them as hinted."""

    code = "access-denied"


class SecretInvalidated(StoreError):
    """The key behind the secret is gone for good; erase it and sign in again."""

    code = "secret-invalidated"


class SecretDamaged(StoreError):
    """The stored bytes do not open though the key is there; restore a backup or write anew."""

    code = "secret-damaged"


class VaultDamaged(SecretDamaged):
    """The vault's own files are damaged; keep them and restore a backup."""

    code = "vault-damaged"


class NotAVault(SecretDamaged):
    """Something else lies at the vault's path and was left untouched; choose another path."""

    code = "not-a-vault"


class WrongKey(SecretDamaged):
    """The key or passphrase does not open this vault; give the right one."""

    code = "wrong-key"


class FormatUnsupported(SecretDamaged):
    """A newer tokenkeep wrote this; upgrade tokenkeep."""

    code = "format-unsupported"


class WriteConflict(StoreError):
    """Somebody else wrote first; read again and decide anew."""

    code = "write-conflict"


class ValueTooLarge(StoreError):
    """The value exceeds the limit; store less, raise the limit, or use a vault."""

    code = "value-too-large"


class StoreFull(StoreError):
    """The disk or the store's quota is full; make room, then retry; nothing was lost."""

    code = "store-full"


class InvalidName(StoreError):
    """The service, account or item name cannot be stored; choose another."""

    code = "invalid-name"


class UnsupportedOption(StoreError):
    """The store cannot honour an option; drop it or choose another store."""

    code = "unsupported-option"


class SessionError(TokenkeepError):
    """A session could not do what it was asked; see the subclass for the way out."""

    code = "session-error"


class LoginRequired(SessionError):
    """There is no session to go on with; send the person to a login.

    Attributes:
        reason: "absent", "expired", "revoked", "reused", "invalidated" or "ended elsewhere".
    """

    code = "login-required"

    def __init__(
        self, message: str = "", *, reason: str = "absent", hint: str | None = None
    ) -> None:
        super().__init__(message or f"login required: {reason}", hint=hint)
        self.reason = reason


class RefreshUnavailable(SessionError):
    """The token could not be refreshed for now; the session is kept: retry later.

    Attributes:
        retry_after: seconds to wait before another attempt can help; None if unknown.
        holder: who is refreshing or keeps an unsaved session, such as "pid 4711 on host"; None
            if nobody is in the way.
    """

    code = "refresh-unavailable"
    is_temporary = True

    def __init__(
        self,
        message: str = "",
        *,
        retry_after: float | None = None,
        holder: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.holder = holder


class SessionUncertain(SessionError):
    """A redemption was interrupted after it was sent; confirm one more attempt or sign in again."""

    code = "session-uncertain"


class ProviderRefused(SessionError):
    """The provider rejects this client or request; mend the configuration, the session is kept.

    Attributes:
        error: the provider's error code, such as "invalid_client".
    """

    code = "provider-refused"

    def __init__(self, message: str = "", *, error: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.error = error


class LoginFailed(SessionError):
    """The login did not succeed and nothing was saved; start it again."""

    code = "login-failed"


class LoginCancelled(LoginFailed):
    """The person cancelled the login or did not finish it in time; nothing was saved."""

    code = "login-cancelled"


class ProtocolViolation(SessionError):
    """The provider's answer broke the protocol and was dropped; report it to the provider."""

    code = "protocol-violation"


class PresenceError(TokenkeepError):
    """Nobody proved to be at the device, so nothing was shown; see the subclass for the way out."""

    code = "presence-error"


class PresenceDenied(PresenceError):
    """The person cancelled, failed, or did not come in time; do not ask again at once.

    Attributes:
        reason: "cancelled", "failed" or "timed out".
    """

    code = "presence-denied"

    def __init__(
        self, message: str = "", *, reason: str = "cancelled", hint: str | None = None
    ) -> None:
        super().__init__(message or f"nobody confirmed: {reason}", hint=hint)
        self.reason = reason


class PresenceUnavailable(PresenceError):
    """This way of confirming does not exist here or cannot be used now; choose another one."""

    code = "presence-unavailable"


class NotEnrolled(PresenceError):
    """There is no finger, key or passphrase to compare with; enrol one first."""

    code = "not-enrolled"


class PresenceLockedOut(PresenceError):
    """Too many attempts failed, or the device is locked; wait, or unlock it, then retry.

    Attributes:
        retry_after: seconds to wait before another attempt can help; None if unknown.
    """

    code = "presence-locked-out"
    is_temporary = True

    def __init__(
        self, message: str = "", *, retry_after: float | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message or "too many attempts failed", hint=hint)
        self.retry_after = retry_after


class MissingExtra(TokenkeepError):
    """An optional dependency is not installed; install the extra named in the hint."""

    code = "missing-extra"

    def __init__(self, message: str = "", *, extra: str, hint: str | None = None) -> None:
        super().__init__(
            message or f"the {extra!r} extra is not installed",
            hint=hint or f"pip install 'tokenkeep[{extra}]'",
        )
        self.extra = extra

    def __reduce__(self) -> tuple[object, ...]:
        return _missing_extra, (str(self), self.extra, self.hint)


def _missing_extra(message: str, extra: str, hint: str) -> MissingExtra:
    return MissingExtra(message, extra=extra, hint=hint)
