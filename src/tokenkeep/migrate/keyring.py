"""The `keyring` library as the source: what it keeps for a service, in whichever of its backends.

It lists nothing: the user names are given, or found by their attributes where its backend is the
Secret Service. It has no deadlines and prompts as it likes, so every call is made on a thread that
we wait for as long as the deadline says, and not at all while the Secret Service is locked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, TypeVar

from tokenkeep.backends.secret_service import SecretServiceStore
from tokenkeep.errors import (
    AccessDenied,
    MissingExtra,
    StoreError,
    StoreLocked,
    StoreUnavailable,
    UnsupportedOption,
)
from tokenkeep.item import Call, Interaction, ItemName
from tokenkeep.native.bounded import bounded
from tokenkeep.native.dbus.errors import UNLOCK_HINT
from tokenkeep.secret import Secret

T = TypeVar("T")


class KeyringSource:
    """The passwords of one service, by user name.

    Args:
        service: what the application called itself to `keyring`.
        usernames: whose passwords; where `keyring` uses the Secret Service, all if None.
        call: gives every call its deadline, and says whether it may prompt.
        backend: the backend; the one `keyring` is configured to use if None.

    Raises:
        MissingExtra: keyring is not installed.
    """

    def __init__(
        self,
        service: str,
        usernames: Iterable[str] | None = None,
        *,
        call: Callable[[], Call] = Call,
        backend: Any = None,
    ) -> None:
        self._library = _library()
        self._service = service
        self._usernames = None if usernames is None else sorted(set(usernames))
        self._call = call
        self._given = backend

    @property
    def identity(self) -> str:
        """The service: a backend may change its place."""
        return f"keyring {self._service}"

    def names(self) -> list[str]:
        """The user names.

        Raises:
            UnsupportedOption: none were given, and the backend cannot list.
        """
        if self._usernames is not None:
            return self._usernames
        return self._done(self._listed)

    def read(self, name: str) -> Secret | None:
        """A user's password."""

        def read() -> Secret | None:
            found = self._backend().get_password(self._service, name)
            return None if found is None else Secret(found)

        return self._done(read)

    def sees(self, record: ItemName) -> bool | None:
        """No if the service is another one; else keyring, which finds no records, cannot tell."""
        return None if record.service == self._service else False

    def remove(self, *names: str) -> None:
        """Deletes users' passwords, one after the other."""
        for name in names:
            self._done(lambda name=name: self._delete(name))  # type: ignore[misc]

    def _delete(self, name: str) -> None:
        backend = self._backend()
        if backend.get_password(self._service, name) is None:
            return
        backend.delete_password(self._service, name)
        if backend.get_password(self._service, name) is not None:
            raise AccessDenied("keyring kept a password that was to be deleted")

    def _backend(self) -> Any:
        backend = self._given or self._library.get_keyring()
        kind = type(backend).__module__
        if kind in ("keyring.backends.null", "keyring.backends.fail"):
            raise StoreUnavailable(
                "keyring has no backend here", hint="python -m keyring --list-backends"
            )
        return backend

    def _secret_service(self) -> Any:
        """The Secret Service's backend, alone or among others; None if it takes no part."""
        backend = self._backend()
        among = getattr(backend, "backends", [backend])
        each = (one for one in among if type(one).__module__ == "keyring.backends.SecretService")
        return next(each, None)

    def _listed(self) -> list[str]:
        backend = self._secret_service()
        if backend is None:
            raise UnsupportedOption(
                "keyring does not list what it has", hint="name the users: --name USER"
            )
        import secretstorage

        scheme = backend.schemes[backend.scheme]
        connection = secretstorage.dbus_init()
        try:
            found = secretstorage.search_items(connection, {scheme["service"]: self._service})
            attributes = [item.get_attributes() for item in found]
        finally:
            connection.close()
        return sorted(
            {each[scheme["username"]] for each in attributes if scheme["username"] in each}
        )

    def _is_locked(self, call: Call) -> bool:
        """Whether keyring would ask, and wait without end; asks for nothing itself."""
        if self._secret_service() is None:
            return False
        store = SecretServiceStore()  # which opens what needs nobody: KWallet's open wallets
        try:
            store.names(self._service, Call(call.remaining(), Interaction.NEVER, call.clock))
        except StoreLocked:
            return True
        finally:
            store.close()
        return False

    def _done(self, work: Callable[[], T]) -> T:
        call = self._call()
        problem: StoreError
        try:
            if not bounded(call, lambda: self._is_locked(call), "keyring"):
                return bounded(call, work, "keyring")
            if call.interaction != Interaction.ALLOWED:
                raise StoreLocked("the keyring is locked", hint=UNLOCK_HINT)
            return call.while_asking(lambda asked: bounded(asked, work, "keyring"))
        except StoreError:
            raise
        except Exception as exc:
            # What comes from a backend may be of any kind, and hold anything.
            problem = self._translated(exc)
        raise problem

    def _translated(self, exc: Exception) -> StoreError:
        errors = self._library.errors
        if isinstance(exc, errors.KeyringLocked):
            return StoreLocked("the keyring is locked", hint="unlock it, then try again")
        if isinstance(exc, errors.NoKeyringError):
            return StoreUnavailable(
                "keyring has no backend here", hint="python -m keyring --list-backends"
            )
        if isinstance(exc, errors.PasswordDeleteError):
            return AccessDenied("keyring did not delete a password")
        return StoreUnavailable(f"keyring failed: {type(exc).__name__}")


def _library() -> ModuleType:
    try:
        import keyring
        import keyring.errors
    except ImportError:
        keyring = None  # type: ignore[assignment]
    if keyring is None:
        raise MissingExtra("reading what keyring keeps needs keyring", extra="keyring")
    return keyring
