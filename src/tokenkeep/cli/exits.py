"""The exit code of every error: the one table, and the mistakes that only a command line has."""

from __future__ import annotations

from tokenkeep import errors

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
NOT_NOW = 4
LOGIN = 5
UNAVAILABLE = 6
DAMAGED = 7
#: 128 and the signal's number, as shells do.
INTERRUPTED = 130

#: A class without an entry of its own has its parent's.
CODES: dict[type[errors.TokenkeepError], int] = {
    errors.TokenkeepError: FAILED,
    errors.StoreError: FAILED,
    errors.StoreLocked: NOT_NOW,
    errors.StoreUnavailable: UNAVAILABLE,
    errors.VaultKeyMissing: UNAVAILABLE,
    errors.StoreTimeout: NOT_NOW,
    errors.InteractionDenied: NOT_NOW,
    errors.AccessDenied: NOT_NOW,
    errors.SecretInvalidated: DAMAGED,
    errors.SecretDamaged: DAMAGED,
    errors.VaultDamaged: DAMAGED,
    errors.NotAVault: DAMAGED,
    errors.WrongKey: DAMAGED,
    errors.FormatUnsupported: DAMAGED,
    errors.WriteConflict: FAILED,
    errors.ValueTooLarge: FAILED,
    errors.StoreFull: FAILED,
    errors.InvalidName: FAILED,
    errors.UnsupportedOption: USAGE,
    errors.SessionError: FAILED,
    errors.LoginRequired: LOGIN,
    errors.RefreshUnavailable: NOT_NOW,
    errors.SessionUncertain: LOGIN,
    errors.ProviderRefused: FAILED,
    errors.LoginFailed: FAILED,
    errors.LoginCancelled: FAILED,
    errors.ProtocolViolation: FAILED,
    errors.PresenceError: FAILED,
    errors.PresenceDenied: NOT_NOW,
    errors.PresenceUnavailable: UNAVAILABLE,
    errors.NotEnrolled: FAILED,
    errors.PresenceLockedOut: NOT_NOW,
    errors.MissingExtra: USAGE,
}

#: What helps against an error that came without a remedy of its own. The library cannot name the
#: command's options, and a call that had no time was made anywhere.
REMEDIES: dict[type[errors.TokenkeepError], str] = {
    errors.StoreTimeout: "tokenkeep --timeout SECONDS VERB",
    errors.RefreshUnavailable: "try again later: the session is kept",
}


class CommandError(Exception):
    """A command ended without doing what it was asked, for a reason that no library error has."""

    code = FAILED

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.hints = hints


class UsageError(CommandError):
    """The command line itself cannot be right."""

    code = USAGE


class NotFound(CommandError):
    """There is no such item, or nobody is signed in."""

    code = NOT_FOUND


def hints(exc: errors.TokenkeepError) -> list[str]:
    """The remedies for an error of the library, a line each."""
    if exc.hint is not None:
        return [exc.hint]
    return [hint for kind, hint in REMEDIES.items() if isinstance(exc, kind)]


def exit_code(exc: errors.TokenkeepError) -> int:
    """The exit code of an error of the library."""
    for kind in type(exc).__mro__:
        if kind in CODES:
            return CODES[kind]
    return FAILED
