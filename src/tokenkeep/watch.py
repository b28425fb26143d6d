"""Watcher: tells listeners which items of a service changed, here and in other processes.

It remembers a keyed digest of each value, never a value. A round that fails (locked, timed out)
changes nothing of what it knows: an item that cannot be seen is not an item that was removed.
"""

from __future__ import annotations

import hmac
import logging
import os
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokenkeep.errors import SecretDamaged, SecretInvalidated, StoreError
from tokenkeep.item import ITEM
from tokenkeep.store import Tracking, Versioned
from tokenkeep.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenkeep.item import Call
    from tokenkeep.secret import Secret
    from tokenkeep.store import Store

#: A round that hangs in a store must not hang whoever stops listening; the thread is a daemon.
_JOIN_SECONDS = 5.0

_log = logging.getLogger("tokenkeep")


@dataclass(frozen=True, slots=True)
class Change:
    """The names of the items that were added, removed or given another value."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


class Watcher:
    """The listeners of one storage and the thread that looks for changes made elsewhere."""

    def __init__(self, store: Store, service: str, call: Callable[[], Call]) -> None:
        self._store = store
        self._service = service
        self._call = call
        self._key = secrets.token_bytes(32)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._listeners: dict[object, tuple[Callable[[Change], object], float]] = {}
        self._seen: dict[str, bytes] | None = None
        self._version: object = None
        self._tracked: object = None
        self._touched: set[str] = set()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, callback: Callable[[Change], object], interval: float) -> Callable[[], None]:
        """Begins to tell a listener; what it returns ends that.

        Raises:
            StoreError: the items cannot be listed now.
        """
        self._after_fork()
        if self._seen is None:
            look = self._look({})
            with self._lock:
                if self._seen is None:
                    self._seen, self._version, self._tracked = look
        token = object()
        with self._lock:
            self._listeners[token] = (callback, interval)
            if self._thread is None:
                self._wake = threading.Event()
                self._thread = threading.Thread(
                    target=self._poll, args=(self._wake,), name="tokenkeep-watch", daemon=True
                )
                self._thread.start()
        self._wake.set()  # the new interval may be shorter

        def stop() -> None:
            self._after_fork()  # what held the lock may not exist here
            with self._lock:
                self._listeners.pop(token, None)
                idle = not self._listeners
            if idle:
                self.stop()

        return stop

    def wrote(self, name: str, value: Secret) -> None:
        """Tells that this process wrote an item."""
        if self._pid != os.getpid():
            return
        try:
            digest = self._digest(value)
        except ValueError:
            return  # wiped since it was written: the next look tells of it
        with self._lock:
            if self._seen is None:
                return
            self._touched.add(name)
            before, self._seen[name] = self._seen.get(name), digest
        if before is None:
            self._tell(Change(added=(name,)))
        elif before != digest:
            self._tell(Change(changed=(name,)))

    def deleted(self, *names: str) -> None:
        """Tells that this process deleted items."""
        if self._pid != os.getpid():
            return
        with self._lock:
            if self._seen is None:
                return
            self._touched.update(names)
            gone = [name for name in names if self._seen.pop(name, None) is not None]
        if gone:
            self._tell(Change(removed=tuple(gone)))

    def stop(self) -> None:
        """Ends the thread; waits for it unless a listener itself is calling."""
        self._after_fork()
        with self._lock:
            thread, self._thread = self._thread, None
            self._listeners.clear()
            self._seen, self._version, self._tracked = None, None, None
            self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_SECONDS)

    def poll(self) -> None:
        """One look for changes made elsewhere."""
        with self._lock:
            if self._seen is None:
                return
            before, known = dict(self._seen), self._version
            self._touched.clear()
        try:
            if known is not None and self._peek() == known:
                return
            after, version, tracked = self._look(before)
        except StoreError as exc:
            _log.debug("watch: %s", exc.code)
            return
        change = self._merge(before, after, version, tracked)
        if change:
            self._tell(change)

    def _merge(
        self, before: dict[str, bytes], after: dict[str, bytes], version: object, tracked: object
    ) -> Change:
        with self._lock:
            if self._seen is None:  # stopped meanwhile
                return Change()
            # What this process changed while we looked was told already, and we may have seen
            # either state of it; the next round compares it again.
            ours = set(self._touched)
            kept = {name: digest for name, digest in self._seen.items() if name in ours}
            for name in ours:
                before.pop(name, None)
                after.pop(name, None)
            self._seen = {**after, **kept}
            if ours:
                self._version = None
            else:
                self._version, self._tracked = version, tracked
        common = after.keys() & before.keys()
        return Change(
            added=tuple(sorted(after.keys() - before.keys())),
            removed=tuple(sorted(before.keys() - after.keys())),
            changed=tuple(sorted(name for name in common if after[name] != before[name])),
        )

    def _poll(self, wake: threading.Event) -> None:
        while True:
            with self._lock:
                if self._wake is not wake or not self._listeners:
                    return
                interval = min(interval for _callback, interval in self._listeners.values())
            if wake.wait(interval):
                wake.clear()
                continue
            self.poll()

    def _peek(self) -> object:
        if isinstance(self._store, Versioned):
            return self._store.version(self._call())
        return None

    def _look(self, before: dict[str, bytes]) -> tuple[dict[str, bytes], object, object]:
        """What is seen, and what `version` and `changes` gave with it, to be given next time."""
        # The version is read first: a change in between makes the next round look again.
        version = self._peek()
        since = tracked = self._tracked if before else None
        if isinstance(self._store, Tracking):
            tracked, items = self._store.changes(self._service, since, self._call())
        else:
            items = self._store.names(self._service, self._call())
        seen = {} if since is None else dict(before)
        for item in in_turns(items):
            if item.kind != ITEM:
                continue
            seen.pop(item.name, None)
            try:
                value = self._store.read(item, self._call())
            except (SecretDamaged, SecretInvalidated) as exc:
                seen[item.name] = exc.code.encode()
                continue
            except StoreError:
                if not before:
                    raise
                seen[item.name] = before.get(item.name, b"")
                version, tracked = None, since  # the next round looks again
                continue
            if value is not None:
                with value:
                    seen[item.name] = self._digest(value)
        return seen, version, tracked

    def _digest(self, value: Secret) -> bytes:
        return hmac.digest(self._key, value.reveal_bytes(), "sha256")

    def _tell(self, change: Change) -> None:
        with self._lock:
            callbacks = [callback for callback, _interval in self._listeners.values()]
        for callback in callbacks:
            try:
                callback(change)
            except Exception as exc:
                _log.warning("a listener failed: %s", type(exc).__name__)

    def _after_fork(self) -> None:
        """Starts anew in a forked child: the thread is not here, and it may have held the lock."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._listeners, self._thread, self._seen = {}, None, None
