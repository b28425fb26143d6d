"""SecureStorage: an application's secrets by name, in the store that was chosen for it.

It adds to a store what is the same for all of them: names within one service, text as a
convenience, a size limit, a deadline for every call into the store, listeners and health. It keeps
no value in memory.
"""

from __future__ import annotations

from tokenkeep.clock import SystemClock
from tokenkeep.errors import (
    SecretDamaged,
    StoreError,
    StoreUnavailable,
    UnsupportedOption,
    ValueTooLarge,
)
from tokenkeep.item import ITEM, Call, Interaction, ItemName, checked_name
from tokenkeep.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tokenkeep.clock import Clock
    from tokenkeep.health import HealthReport
    from tokenkeep.installation import Marker
    from tokenkeep.store import Require, Store, StoreFacts
    from tokenkeep.watch import Change, Watcher

#: Generous for a token or a key, small enough that a mistake (a file, a dump) is noticed.
MAX_VALUE_BYTES = 65_536


class Erased(int):
    """How many items `delete_all` erased, and what it could not finish.

    Attributes:
        sessions_ended: how many accounts were signed in until then, by what their logs said.
        pending: old bytes remain in the store's files for now, because another process reads them,
            or for want of room or time; the next writer who can erases them.
        set_aside: where `reset` put what nothing could open any more; None if it erased.
    """

    sessions_ended: int
    pending: bool
    set_aside: str | None

    def __new__(
        cls,
        items: int,
        sessions_ended: int = 0,
        pending: bool = False,
        set_aside: str | None = None,
    ) -> Erased:
        """The number, with the facts beside it."""
        self = super().__new__(cls, items)
        self.sessions_ended = sessions_ended
        self.pending = pending
        self.set_aside = set_aside
        return self


class SecureStorage:
    """The secrets of one service. Safe beside other threads, forks and processes.

    Making one touches no disk and no service; the store opens at the first call. Every call into
    the store has a deadline: a method raises `StoreTimeout` when the store did not answer within
    `timeout` seconds. Methods that make one call per item give each its own.

    Args:
        service: the application's reverse-domain id.
        *options: the options of the stores that may be used, or a ready store; the platform's own
            store if there are none. Of several, the most preferred one that this platform has and
            that satisfies `require` is taken; nothing else is ever used.
        require: the least the store must offer; enforced before the first read or write.
        timeout: seconds for one call into the store; None waits without end.
        interaction: whether the store may show a prompt to a person.
        prompt_timeout: seconds that the person has for a prompt of the Secret Service's or of
            Android's, which are not counted in `timeout`; None if they are. Apple's keychain does
            not say when it asks: there it takes the place of `timeout` where prompts are allowed.
        max_value_bytes: larger values are refused; a store's own limit may be lower.
        clock: the source of now.
        state_directory: where session logs lie; the user's state directory if None.

    Raises:
        InvalidName: the service cannot be a name.
        StoreUnavailable: at the first call: there is none, or none satisfies `require`.
        MissingExtra: then or at once: the store that would be used needs a package.
        UnsupportedOption: something is no store's options, or a timeout is negative or NaN.
    """

    # Defaults, so that `setdefault` on the instance can decide between two threads.
    _store: Store | None = None
    _watcher: Watcher | None = None
    _marker: Marker | None = None

    def __init__(
        self,
        service: str,
        *options: object,
        require: Require | None = None,
        timeout: float | None = 5.0,
        interaction: str = Interaction.NEVER,
        prompt_timeout: float | None = None,
        max_value_bytes: int = MAX_VALUE_BYTES,
        clock: Clock | None = None,
        state_directory: str | None = None,
    ) -> None:
        self.service = service  # first: a traceback with locals calls repr on what there is
        checked_name(service, "service")
        self.timeout = timeout
        self.interaction = interaction
        self.prompt_timeout = prompt_timeout
        self.max_value_bytes = max_value_bytes
        self.clock: Clock = clock if clock is not None else SystemClock()
        self._options = options
        self._require = require
        self._state_directory = state_directory
        self._is_closed = False
        for seconds in (timeout, prompt_timeout):
            if seconds is not None and not seconds >= 0:  # nor what is no number
                raise UnsupportedOption(
                    "a timeout is seconds from 0 on", hint="None waits for ever"
                )
        if options and require is None:
            self._choose()

    @property
    def store(self) -> Store:
        """The store that was chosen.

        Raises:
            StoreUnavailable: none satisfies `require`, or the storage was closed.
        """
        return self._store or self._choose()

    @property
    def facts(self) -> StoreFacts:
        """What protects the items here and now."""
        return self.store.facts

    @property
    def state_directory(self) -> str:
        """Where the session logs of this storage lie."""
        if self._state_directory is None:
            from tokenkeep.paths import state_directory

            self._state_directory = state_directory()
        return self._state_directory

    @property
    def marker(self) -> Marker:
        """What says whether `check_fresh_install` is through, and whose items are whose until then.

        `write` minds it; whoever writes into the store directly has to.
        """
        if self._marker is None:
            from tokenkeep.installation import Marker

            self._marker = Marker(self.state_directory, self.service)
        return self._marker

    def call(self, timeout: float | None = None) -> Call:
        """A fresh deadline, `timeout` seconds from now; this storage's own if None."""
        seconds = self.timeout if timeout is None else timeout
        return Call(seconds, self.interaction, self.clock, self.prompt_timeout)

    def read(self, name: str) -> Secret | None:
        """The secret under a name; None if there is none.

        Raises:
            InvalidName: this cannot be a name.
            SecretInvalidated, SecretDamaged: it is there but cannot be opened.
            StoreLocked, StoreUnavailable, StoreTimeout, InteractionDenied, AccessDenied: we do
                not know whether it is there.
        """
        store = self._store or self._choose()
        return store.read(ItemName(self.service, name), self.call())

    def write(self, name: str, value: Secret | str | bytes | bytearray) -> None:
        """Keeps a secret under a name, in place of what was there; durable on return.

        Raises:
            ValueTooLarge, StoreFull: nothing changed.
            InvalidName, StoreLocked, StoreUnavailable, StoreTimeout, InteractionDenied,
            AccessDenied: as in `read`.
            TypeError, ValueError: it is neither text nor bytes, or no valid Unicode.
        """
        try:
            value = value if isinstance(value, Secret) else Secret(value)
        except (TypeError, ValueError):
            del value  # this frame is in the traceback
            raise
        item = ItemName(self.service, name)
        if value.size > self.max_value_bytes:
            raise ValueTooLarge(
                f"the value has {value.size} bytes, at most {self.max_value_bytes} are allowed",
                hint=self._way_to_keep(value.size),
            )
        store = self._store or self._choose()
        call = self.call()
        marker = self._marker or self._marker_if_any()
        if marker is not None and marker.may_be_open():
            with marker.claimed(call, name):
                store.write(item, value, call)
        else:
            store.write(item, value, call)
        if self._watcher is not None:
            self._watcher.wrote(name, value)

    def delete(self, name: str) -> bool:
        """Erases the secret under a name; True if there was one.

        Raises:
            As in `read`; a secret that does not open is erased all the same.
        """
        store = self._store or self._choose()
        existed = store.delete(ItemName(self.service, name), self.call())
        if self._watcher is not None:
            self._watcher.deleted(name)
        return existed

    def names(self) -> list[str]:
        """The names of the application's items, sorted; opens no value."""
        return [item.name for item in self._items()]

    def contains(self, name: str) -> bool:
        """Whether there is an item under a name, also if it would not open; opens no value."""
        store: Any = self.store
        item = ItemName(self.service, name)
        if hasattr(store, "contains"):  # `Indexed`, without importing the contract
            found: bool = store.contains(item, self.call())
            return found
        return item in store.names(self.service, self.call())

    def read_all(self) -> dict[str, Secret]:
        """Every item by name.

        Raises:
            As in `read`, at the first item that cannot be read; `check` tells which.
        """
        from tokenkeep.turns import in_turns  # a read of one item needs none

        found = {}
        for item in in_turns(self._items()):
            value = self.store.read(item, self.call())
            if value is not None:  # deleted meanwhile
                found[item.name] = value
        return found

    def delete_all(self) -> Erased:
        """Ends every session of the service and erases all its items, also those that do not open.

        Logs end first, so that no refresh in another process brings a session back; a log that
        cannot be written is raised after everything else was erased. The providers are not told:
        `Session.logout` of each account does that.

        Returns:
            The number of items erased, of those whose names opened.
        """
        ended, problem = self._end_sessions()
        store: Any = self.store
        found: list[ItemName] = []
        pending = False
        if hasattr(store, "erase"):  # `Erasing`, without importing the contract
            found = self._names_that_open()
            pending = store.erase(self.service, self.call())
        else:
            found = store.names(self.service, self.call())
            for item in found:
                store.delete(item, self.call())
        names = [item.name for item in found if item.kind == ITEM]
        if self._watcher is not None:
            self._watcher.deleted(*names)
        if problem is not None:
            raise problem
        return Erased(len(names), ended, pending)

    def reset(self) -> Erased:
        """Begins anew: the one way out where the key behind the items is gone for good.

        Does what `delete_all` does. Where nothing can open the store any more
        (`SecretInvalidated`, `VaultKeyMissing`, `WrongKey`, `VaultDamaged`, of several keys for
        each), what lies there is set aside whole, with other applications' items in it, and the
        next write begins a new one. Nothing calls this by itself.

        Raises:
            StoreLocked, StoreTimeout, AccessDenied, InteractionDenied, StoreUnavailable: the store
                may open again; nothing was erased, but sessions have ended.
        """
        store: Any = self.store
        if not hasattr(store, "reset"):  # `Resettable`, without importing the contract
            return self.delete_all()
        ended, problem = self._end_sessions()
        try:
            names = [item.name for item in self._names_that_open() if item.kind == ITEM]
        except StoreError:
            names = []  # what does not open is not counted
        set_aside = store.reset(self.service, self.call())
        if self._watcher is not None:
            self._watcher.deleted(*names)
        if problem is not None:
            raise problem
        return Erased(0 if set_aside else len(names), ended, set_aside=set_aside)

    def check(self) -> HealthReport:
        """The health of every item, our own records included; reads all, changes nothing.

        A store that stops answering is not asked for every item: `HealthReport.not_looked_at`.
        """
        from tokenkeep.health import check

        return check(self.store, self.service, self.call)

    def wait_until_unlocked(self, timeout: float | None) -> bool:
        """Waits until the items can be read: True once they can, False if still locked by then.

        Never prompts, whatever `interaction` allows: somebody unlocks the device or the store. A
        store that is not locked is True at once. Nothing here says that an item exists or opens.

        Args:
            timeout: seconds; None waits without end.

        Raises:
            StoreTimeout: the store has not answered at all.
            StoreUnavailable: it is not there, or went away and has not come back.
            AccessDenied: unlocking would not help.
        """
        from tokenkeep.unlock import wait_until_unlocked

        call = Call(timeout, Interaction.NEVER, self.clock)
        return wait_until_unlocked(self.store, self.service, call)

    def listen(
        self, callback: Callable[[Change], object], interval: float = 1.0
    ) -> Callable[[], None]:
        """Calls back with every `Change` of the items, until the returned function is called.

        Changes made through this object are told at once, in the thread that made them; those made
        elsewhere within `interval` seconds, from a thread of ours. What the callback raises is
        logged by its type and dropped. A forked child is not listening.

        Raises:
            As `read_all` without what concerns a single item.
        """
        watcher = self._watcher
        if watcher is None:
            from tokenkeep.watch import Watcher

            made = Watcher(self.store, self.service, self.call)
            watcher = vars(self).setdefault("_watcher", made)
        return watcher.add(callback, interval)

    def close(self) -> None:
        """Stops the listeners and closes the store, unless it was passed in; twice is fine."""
        self._is_closed = True
        watcher = vars(self).pop("_watcher", None)
        if watcher is not None:
            watcher.stop()
        store = vars(self).pop("_store", None)
        if store is not None and not any(store is option for option in self._options):
            _close(store)

    def __enter__(self) -> SecureStorage:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SecureStorage({self.service!r})"

    def _choose(self) -> Store:
        if self._is_closed:
            raise StoreUnavailable("this storage was closed")
        from tokenkeep.select import open_store

        chosen = open_store(self._options, self._require, self.clock)
        store: Store = vars(self).setdefault("_store", chosen)
        if store is not chosen:  # another thread was quicker
            _close(chosen)
        return store

    def _way_to_keep(self, size: int) -> str:
        """What helps with a value above our own limit: not to raise it where the store has one."""
        try:
            limit = self.facts.max_value_bytes
        except StoreError:
            limit = None  # it may take that much, for all we know
        return "store less" if limit and limit < size else "store less, or raise max_value_bytes"

    def _marker_if_any(self) -> Marker | None:
        """The marker; None without a state directory, in which nobody can have begun one."""
        try:
            return self.marker
        except StoreUnavailable:
            return None

    def _end_sessions(self) -> tuple[int, StoreError | None]:
        """How many sessions ended, and what kept a log from being written."""
        from tokenkeep.sessionlog import end_all

        try:
            now = self.clock.wall()
            return end_all(self.state_directory, self.service, reason="logout", now=now), None
        except StoreError as exc:
            return 0, exc.with_traceback(None)

    def _names_that_open(self) -> list[ItemName]:
        """The items of every kind, but for those whose very names are damaged."""
        store: Any = self.store
        try:
            found: list[ItemName] = store.names(self.service, self.call())
        except SecretDamaged:
            inspect = getattr(store, "inspect", None)  # `Inspectable`, without the contract
            found = [] if inspect is None else inspect(self.service, self.call())[0]
        return found

    def _items(self) -> list[ItemName]:
        found = self.store.names(self.service, self.call())
        return [item for item in found if item.kind == ITEM]


def _close(store: Any) -> None:
    close = getattr(store, "close", None)
    if close is not None:
        close()
