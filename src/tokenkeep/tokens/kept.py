"""KeptRecord: one account's session record in the store, its log and its fence.

The record lies in the application's storage; whether it lives is for the session log to say. Every
write and every erasure of a record happens under the account's fence, and a writer looks at the
log before and after. The room for sessions works with it; an application has `TokenStorage`.

An empty value is no record: it is what is left of one where the store deletes only what a person
agrees to, as KeePassXC does.
"""

from __future__ import annotations

import os

from tokenkeep.errors import (
    InteractionDenied,
    RefreshUnavailable,
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    UnsupportedOption,
    WriteConflict,
)
from tokenkeep.fence import Fence
from tokenkeep.item import SESSION, Call, Interaction, ItemName, checked_name
from tokenkeep.secret import Secret
from tokenkeep.sessionlog import SessionLog
from tokenkeep.tokens.record import Moment, Record, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from tokenkeep.fence import Hold
    from tokenkeep.sessionlog import LogState
    from tokenkeep.storage import SecureStorage

    FreshInstall = Literal["clear", "keep"] | Callable[[str], bool]

#: How long a sign-out may take from its last word in the log to having read the tokens that it
#: revokes: nobody else erases them before, or they would live on at the provider.
_CAPTURE_SECONDS = 10.0
#: How long a login or a sign-out waits for whoever is inside the fence: one bounded token request.
FENCE_SECONDS = 15.0


class Left:
    """What erasing left in the store."""

    NOTHING = "nothing"
    EMPTY = "an empty item"
    SESSION = "a session that lives"


class KeptRecord:
    """Where one account's session is kept; see `TokenStorage` for the arguments.

    Raises:
        InvalidName: the account or a name cannot be stored.
    """

    def __init__(
        self,
        storage: SecureStorage,
        account: str,
        name: str | None,
        previous_name: str | None,
        fresh_install: FreshInstall,
    ) -> None:
        self.storage = storage
        self.account = checked_name(account, "account")
        self.log = SessionLog(storage.state_directory, storage.service, account)
        self.fence = Fence(self.log.fence_path, storage.clock)
        self._name = ItemName(storage.service, name if name is not None else account, SESSION)
        self._previous = (
            ItemName(storage.service, previous_name, SESSION)
            if previous_name is not None and previous_name != self._name.name
            else None
        )
        self._fresh_install = fresh_install

    def now(self) -> Moment:
        """The present, on both clocks."""
        clock = self.storage.clock
        return Moment(clock.wall(), clock.monotonic(), clock.boot_id())

    def hold(self, purpose: str, timeout: float = FENCE_SECONDS) -> Hold:
        """The account's fence.

        Raises:
            RefreshUnavailable: not to be had in time; names the holder.
        """
        hold = self.fence.acquire(purpose, timeout)
        if hold is None:
            holder = self.fence.holder()
            raise RefreshUnavailable(
                f"another process is busy with this session: {holder or 'unknown'}", holder=holder
            )
        return hold

    def has_ended(self, session_id: str) -> bool:
        """Whether the log has ended the session, for who has a token that must not be lost.

        A log that cannot be read now has not said so: the next look will tell.
        """
        try:
            return self.log.read().session_id != session_id
        except StoreError:
            return False

    def load(self, state: LogState | None = None) -> Record | None:
        """The live record; None if there is none, or the log does not know it. Changes nothing.

        Raises:
            StoreError: the store cannot tell.
        """
        if state is None:
            record, state = self.seen()
        else:
            record = self.stored()
        return record if record is not None and state.session_id == record.session_id else None

    def seen(self) -> tuple[Record | None, LogState]:
        """The record as it lies in the store, dead or alive, and what the log says after that.

        Where nobody is signed in by the log's word, a store that cannot tell has nothing to add.

        Raises:
            StoreError: neither can tell.
        """
        try:
            record = self.stored()
        except StoreError:
            state = self.log.read()
            if state.is_over:
                return None, state
            raise
        return record, self.log.read()

    def stored(self) -> Record | None:
        """The record as it lies in the store, dead or alive."""
        found = self._found()
        return None if found is None else found[2]

    def settle(self, timeout: float = FENCE_SECONDS) -> Record | None:
        """Brings the stored record in order, under the fence: rename, fresh install, leftovers.

        Returns the live record. A record that the log has ended is erased, unless whoever signed
        out a moment ago is about to do it; one without a log is
        treated as `fresh_install` says; one under its previous name is moved, in an order that a
        crash at any step leaves resumable.

        Raises:
            RefreshUnavailable: the fence could not be had.
            StoreError: the store cannot tell; nothing was erased.
        """
        with self.hold("restore", timeout):
            record, state = self.stored(), self.log.read()
            if record is not None and not state.exists and self._keeps_after_fresh_install():
                self.log.adopt(record.session_id, self.now().wall)
                # A person may have been asked, and somebody have signed out or erased meanwhile.
                record, state = self.stored(), self.log.read()
            if record is None:
                return None
            if state.session_id != record.session_id:
                if not self._is_being_signed_out(state):
                    self.erase_dead()
                return None
            self._rename(record)
            return record

    def needs_settling(self, record: Record | None, state: LogState) -> bool:
        """Whether `settle` has anything to do: most starts have not, and need no fence."""
        if record is not None and state.session_id != record.session_id:
            return not self._is_being_signed_out(state)
        return self._left_behind() is not None

    def write(self, record: Record) -> None:
        """Keeps a record in place of whatever lies there of ours. Under the fence.

        Raises:
            UnsupportedOption: another account's lies there; nothing changed.
            StoreError: nobody can tell whose lies there, or it could not be written.
        """
        self.require_ours()
        self.storage.store.write(self._name, encode(record), self.storage.call())

    def require_ours(self) -> None:
        """Ends what would put a record in the place of another account's.

        What does not open any more is nobody's: a store sets it aside.

        Raises:
            UnsupportedOption: another account's lies under the name.
            StoreError: nobody can tell now.
        """
        try:
            value = self._read(self._name)
            record = None if value is None else decode(value)
        except (SecretDamaged, SecretInvalidated):
            return
        if record is not None and self._is_anothers(record):
            raise UnsupportedOption(
                "another account's session lies under this name",
                hint="give the account's record a name of its own",
            )

    def replace(self, expected: Record, record: Record) -> None:
        """Keeps a record in place of the same session's and generation's. Under the fence.

        Raises:
            WriteConflict: something else lies there now; nothing changed.
        """
        store, call = self.storage.store, self.storage.call()
        found = self._found()
        if found is None or not _is_same(found[2], expected):
            raise WriteConflict("the session's record was changed by somebody else")
        name, value, _ = found
        replace = getattr(store, "replace", None)
        if replace is not None:
            replace(name, value, encode(record), call)
        else:  # the fence is what excludes other writers of a store without transactions
            store.write(name, encode(record), call)

    def put(self, record: Record) -> None:
        """Keeps a record of the session that lives, unless a newer one of it lies there.

        Under the fence.

        Raises:
            WriteConflict: a newer one lies there; nothing changed.
        """
        try:
            found = self.stored()
        except SecretDamaged:
            found = None
        if found is None or found.session_id != record.session_id:
            self.write(record)
        elif found.generation > record.generation:
            raise WriteConflict("a newer record of the session lies there")
        else:
            self.replace(found, record)

    def erase_dead(self) -> str:
        """Erases what lies under the account's names unless it lives. Under the fence.

        What says that it is another account's is left alone.

        Returns:
            What is `Left` of ours; a live record's word goes before that of an empty item.

        Raises:
            StoreError: it could not be erased; it stays dead by the log's word.
        """
        return self._erase(self.log.read().session_id)

    def erase(self) -> str:
        """Erases the account's record, dead or alive: for a log that cannot be written.

        Returns:
            What is `Left`.

        Raises:
            StoreError: it could not be erased.
        """
        return self._erase(None)

    def shred(self) -> bool:
        """Makes the bytes of an erased record be gone from the store's files, where it can.

        Returns whether they are; otherwise the store's next writer finishes.
        """
        return shred(self.storage)

    def _erase(self, live: str | None) -> str:
        """Erases what is the account's, but for a live record; what is `Left` of it."""
        left = []
        for name in (self._name, self._previous):
            if name is None:
                continue
            record = self._spared(name, live)
            if record is None:
                left.append(self._delete(name))
            elif record.session_id == live:
                left.append(Left.SESSION)
        return next((each for each in (Left.SESSION, Left.EMPTY) if each in left), Left.NOTHING)

    def _spared(self, name: ItemName, live: str | None) -> Record | None:
        """What must not be erased under a name: a live record, or another account's."""
        if live is None and name.name == self.account:
            return None  # whatever it is: a store may erase what it cannot read
        try:
            value = self._read(name)
            record = None if value is None else decode(value)
        except (SecretDamaged, SecretInvalidated):
            if live is not None:
                raise
            return None  # whosever it was, nobody can use it any more
        if record is None or record.session_id == live or self._is_anothers(record):
            return record
        return None

    def _is_anothers(self, record: Record) -> bool:
        """Whether a record under one of our names says that it is another account's.

        It is neither ours to read nor to erase: whether it lives, that account's log says.
        """
        return record.account not in ("", self.account)

    def _lying_under(self, name: ItemName) -> tuple[ItemName, Secret, Record] | None:
        """The account's record under a name, and as it lies there."""
        value = self._read(name)
        if value is None:
            return None
        record = decode(value)
        return None if self._is_anothers(record) else (name, value, record)

    def _left_behind(self) -> tuple[ItemName, Secret, Record] | None:
        """The account's record under its previous name; what does not open there is left alone."""
        if self._previous is None:
            return None
        try:
            return self._lying_under(self._previous)
        except SecretDamaged:
            return None

    def _found(self) -> tuple[ItemName, Secret, Record] | None:
        """The record that counts, where it lies and as it lies there.

        Of two, the live one counts, and of two live ones the newer: an older version of the
        application may go on under the name it knows.
        """
        current = self._lying_under(self._name)
        if self._previous is None:
            return current
        if current is None:
            return self._lying_under(self._previous)
        before = self._left_behind()
        if before is None:
            return current
        live = self.log.read().session_id
        return max(
            (current, before), key=lambda each: (each[2].session_id == live, each[2].generation)
        )

    def _is_being_signed_out(self, state: LogState) -> bool:
        age = self.storage.clock.wall() - state.at
        return state.end_reason == "logout" and 0 <= age < _CAPTURE_SECONDS

    def _keeps_after_fresh_install(self) -> bool:
        policy = self._fresh_install
        if callable(policy):
            return policy(self.account)
        return policy == "keep"

    def _rename(self, record: Record) -> None:
        if self._previous is None or self._left_behind() is None:
            return
        if not self._has_current(record):
            self.write(record)
            if not self._has_current(record):
                self._delete(self._name)  # or it would count instead of the good one
                raise WriteConflict("the renamed session record did not read back")
        self._delete(self._previous)

    def _has_current(self, record: Record) -> bool:
        kept = self._read(self._name)
        return kept is not None and kept == encode(record)

    def _read(self, name: ItemName) -> Secret | None:
        value = self.storage.store.read(name, self.storage.call())
        return value if value is not None and value.size else None

    def _delete(self, name: ItemName) -> str:
        """Deletes an item, or has it keep nothing where only a person may have it deleted."""
        store, call = self.storage.store, self.storage.call()
        try:
            store.delete(name, call)
            return Left.NOTHING
        except InteractionDenied as exc:
            denied = exc.with_traceback(None)
        try:
            # Without a question: the person may have said no a moment ago.
            store.write(name, Secret(b""), Call(call.remaining(), Interaction.NEVER, call.clock))
        except StoreError:
            raise denied from None
        return Left.EMPTY


def shred(storage: SecureStorage) -> bool:
    """As `KeptRecord.shred`, for whatever was erased there."""
    does = getattr(storage.store, "shred", None)  # `Erasing`, without the contract
    try:
        return does is None or not does(storage.call())
    except StoreError:
        return False


def new_session_id() -> str:
    """128 random bits, in hexadecimal."""
    return os.urandom(16).hex()


def _is_same(one: Record, other: Record) -> bool:
    return (one.session_id, one.generation) == (other.session_id, other.generation)
