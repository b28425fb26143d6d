"""WindowsCredentialStore: items as generic credentials of the signed-in user.

Windows changes one credential at once and knows nothing of several, so whoever writes or deletes is
alone: behind a lock file of the user's, which python-keyring does not know.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TypeVar

from tokenkeep.backends.windows import naming
from tokenkeep.backends.windows.options import WindowsOptions, WindowsPersistence
from tokenkeep.backends.windows.text import BYTES, TEXT, as_text, decoded
from tokenkeep.errors import StoreTimeout, StoreUnavailable, ValueTooLarge
from tokenkeep.fence import Fence, Hold
from tokenkeep.item import Call, ItemName, checked_name
from tokenkeep.native.bounded import bounded
from tokenkeep.native.wincred import ERRORS, MAX_BLOB_BYTES, Credential, CredentialManager
from tokenkeep.native.winerror import meaning, problem
from tokenkeep.secret import Secret
from tokenkeep.store import Isolation, Persistence, Protection, StoreFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.clock import Clock

T = TypeVar("T")

#: Between two tries where Windows is busy, in seconds.
_PAUSE_SECONDS = 0.02


class WindowsCredentialStore:
    """A `Store` over Credential Manager. Every call ends by its deadline, whatever Windows does.

    Args:
        options: how long items stay.
        clock: unused, as every call brings its own.
        manager: the calls into Windows.
        lock_path: the lock file of whoever changes items; in the user's state directory if None.
    """

    __slots__ = ("_lock_path", "_manager", "_options")

    def __init__(
        self,
        options: WindowsOptions | None = None,
        clock: Clock | None = None,
        manager: CredentialManager | None = None,
        lock_path: str | None = None,
    ) -> None:
        self._options = options if options is not None else WindowsOptions()
        self._manager = manager if manager is not None else CredentialManager()
        self._lock_path = lock_path

    @property
    def facts(self) -> StoreFacts:
        """What Windows promises for generic credentials."""
        persistence = self._options.persistence
        notes = [
            "every program of this user can read the items",
            "Windows encrypts them with the user's own key, which the sign-in opens",
            "an item has at most 2,560 bytes",
        ]
        if persistence is WindowsPersistence.ENTERPRISE:
            notes.append("the items go with a roaming profile to the user's other machines")
        return StoreFacts(
            backend="windows-credentials",
            protection=Protection.LOGIN,
            persistence=(
                Persistence.LOGIN
                if persistence is WindowsPersistence.SESSION
                else Persistence.UNTIL_DELETED
            ),
            isolation=Isolation.USER,
            may_prompt=False,
            survives_uninstall=True,
            # Encrypted files of the profile: a backup of it has them, and the key behind them, but
            # only this user of this machine can use it, unless the profile roams.
            in_backups=persistence is not WindowsPersistence.SESSION,
            syncs=persistence is WindowsPersistence.ENTERPRISE,
            readable_when_locked=True,
            max_value_bytes=MAX_BLOB_BYTES,
            locked_after_boot=False,  # nothing of the user's runs before the sign-in
            opens_elsewhere=None if persistence is WindowsPersistence.ENTERPRISE else False,
            notes=tuple(notes),
        )

    def read(self, name: ItemName, call: Call) -> Secret | None:
        """The item's value, also one that python-keyring wrote; None if there is none."""

        def look() -> Credential | None:
            found = next(self._found(name, call), None)
            # Another thread or process may be moving it, to where we had looked already. Without
            # the file nobody ever changed anything, and reading must not create it.
            if found is None and os.path.exists(self._lock()):
                with self._alone(call):
                    found = next(self._found(name, call), None)
            return found

        found = bounded(call, look, "reading in Credential Manager")
        return None if found is None else decoded(found)

    def write(self, name: ItemName, value: Secret, call: Call) -> None:
        """Keeps text where python-keyring finds it, if it can; else in a place of our own.

        Raises:
            ValueTooLarge: more than 2,560 bytes; nothing changed.
        """
        if value.size > MAX_BLOB_BYTES:
            raise ValueTooLarge(
                f"the value has {value.size} bytes, Windows takes {MAX_BLOB_BYTES}",
                hint="keep it in a vault: tokenkeep vault create",
            )
        text = as_text(value)

        def put() -> None:
            with self._alone(call):
                old = [each.target for each in self._found(name, call)]
                target = naming.own_target(name) if text is None else self._place(name, old, call)
                is_own = text is None or target == naming.own_target(name)
                new = Credential(
                    target,
                    naming.user_of(name, target),
                    BYTES if is_own else TEXT,
                    int(self._options.persistence),
                    value if is_own else text,
                )
                call.check("writing in Credential Manager")
                self._put(new, call)
                if text is not None:
                    text.wipe()
                # The one that counts goes last: until then it is the old value, whole.
                for each in reversed(old):
                    if each != target:
                        self._remove(each, call)

        bounded(call, put, "writing in Credential Manager")

    def delete(self, name: ItemName, call: Call) -> bool:
        """Erases the item wherever it lies; True if it existed."""

        def remove() -> bool:
            with self._alone(call):
                found = [each.target for each in self._found(name, call)]
                call.check("deleting in Credential Manager")
                # The one that counts goes last: no older value comes to light meanwhile.
                removed = [self._remove(target, call) for target in reversed(found)]
            return any(removed)

        return bounded(call, remove, "deleting in Credential Manager")

    def names(self, service: str, call: Call) -> list[ItemName]:
        """Every item of the service, of every kind, also python-keyring's; looks at no value.

        Credentials of the service without a user name are no items.
        """
        checked_name(service, "service")

        def look() -> list[Credential]:
            return self._ask(call, "listing in Credential Manager", self._manager.all) or []

        listed = bounded(call, look, "listing in Credential Manager")
        items = (naming.item_of(each, service) for each in listed)
        return sorted({item for item in items if item is not None})

    def __repr__(self) -> str:
        return f"WindowsCredentialStore({self._options!r})"

    def _found(self, name: ItemName, call: Call) -> Iterator[Credential]:
        """The credentials that are the item, the one that counts first."""
        for target in naming.targets(name):
            credential = self._at(target, call)
            if credential is None:
                continue
            if naming.holds(credential, name, target):
                yield credential
            elif credential.blob is not None:
                credential.blob.wipe()  # another item's, which nobody asked for

    def _place(self, name: ItemName, old: list[str], call: Call) -> str:
        """Where text goes: where it lies already, else where no other item lies."""
        for each in old:
            if naming.may_stay(name, each):
                return each
        target = naming.keyring_target(name)
        if naming.may_share(name) and self._at(target, call) is None:
            return target
        return naming.own_target(name)

    def _at(self, target: str, call: Call) -> Credential | None:
        return self._ask(call, "reading in Credential Manager", lambda: self._manager.read(target))

    def _put(self, credential: Credential, call: Call) -> None:
        """Keeps it under its target, in place of what lies there.

        Raises:
            StoreUnavailable: Windows says that it is not there, after it was asked to keep it.
        """
        doing = "writing in Credential Manager"
        if not self._ask(call, doing, lambda: (self._manager.write(credential), True)):
            raise StoreUnavailable(
                f"{doing} failed: Windows does not keep the target (ERROR_NOT_FOUND)",
                hint="keep it in a vault: tokenkeep vault create",
            )

    def _remove(self, target: str, call: Call) -> bool:
        return bool(
            self._ask(
                call,
                "deleting in Credential Manager",
                lambda: (self._manager.delete(target), True),
            )
        )

    def _ask(self, call: Call, doing: str, ask: Callable[[], tuple[int, T]]) -> T | None:
        """The answer; None if Windows says that there is nothing. Again while Windows is busy.

        Raises:
            StoreError: as the table of errors says.
        """
        while True:
            turn, remaining = self._manager.turn, call.remaining()
            if turn and not turn.acquire(timeout=-1 if remaining is None else remaining):
                raise StoreTimeout(f"{doing} did not finish in time")
            try:
                code, answer = ask()
            finally:
                if turn:
                    turn.release()
            if not code:
                return answer
            entry = meaning(ERRORS, code)
            found = problem(ERRORS, code, doing)
            if found is None:
                return None
            remaining = call.remaining()
            if not entry.is_busy or (remaining is not None and remaining <= _PAUSE_SECONDS):
                raise found
            call.clock.sleep(_PAUSE_SECONDS)

    def _alone(self, call: Call) -> Hold:
        """The right to change items, also from other threads and processes of ours."""
        return Fence(self._lock(), call.clock).hold("writing", call)

    def _lock(self) -> str:
        if self._lock_path is None:
            from tokenkeep.paths import state_directory

            self._lock_path = os.path.join(state_directory(), "windows-credentials.lock")
        return self._lock_path
