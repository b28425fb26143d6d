"""`SecureStorage` and `TokenStorage` for event loops."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import anyio

# For calls, which load nothing.
from tokenkeep import health, installation, paths, unlock, watch  # noqa: F401
from tokenkeep.aio.threads import in_thread, threaded
from tokenkeep.errors import StoreTimeout, StoreUnavailable
from tokenkeep.item import Interaction
from tokenkeep.select import preload
from tokenkeep.storage import MAX_VALUE_BYTES, SecureStorage
from tokenkeep.store import StoreFacts
from tokenkeep.tokens.storage import TokenStorage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenkeep.clock import Clock
    from tokenkeep.store import Require
    from tokenkeep.tokens.kept import FreshInstall
    from tokenkeep.watch import Change

preload()
paths.state_directory()  # loads more than itself where this is not Linux

#: A wait for a locked store occupies a thread for so many seconds at a time.
_WAIT_SLICE = 2.0
_RESTART_PAUSE = 0.25


class AsyncSecureStorage:
    """`SecureStorage` for event loops: the same arguments, names and errors."""

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
        self.sync = SecureStorage(
            service,
            *options,
            require=require,
            timeout=timeout,
            interaction=interaction,
            prompt_timeout=prompt_timeout,
            max_value_bytes=max_value_bytes,
            clock=clock,
            state_directory=state_directory,
        )

    @property
    def service(self) -> str:
        """The application's reverse-domain id."""
        return self.sync.service

    @property
    def facts(self) -> StoreFacts:
        """What protects the items; blocks for as long as the first look at the store takes."""
        return self.sync.facts

    read = threaded(SecureStorage.read)
    write = threaded(SecureStorage.write)
    delete = threaded(SecureStorage.delete)
    names = threaded(SecureStorage.names)
    contains = threaded(SecureStorage.contains)
    read_all = threaded(SecureStorage.read_all)
    delete_all = threaded(SecureStorage.delete_all)
    reset = threaded(SecureStorage.reset)
    check = threaded(SecureStorage.check)
    close = threaded(SecureStorage.close)

    async def listen(
        self, callback: Callable[[Change], object], interval: float = 1.0
    ) -> Callable[[], None]:
        """Calls back with every `Change` of the items; see `SecureStorage.listen`.

        Callbacks come on other threads than the event loop's. A caller that is cancelled listens to
        nothing.
        """
        begun: list[Callable[[], None]] = []
        is_over = False

        def begin() -> None:
            begun.append(self.sync.listen(callback, interval))
            if is_over:
                begun[0]()

        try:
            await in_thread(begin)
        except anyio.get_cancelled_exc_class():
            is_over = True  # before the look: whichever of the two comes later ends it
            for stop in begun:
                with anyio.CancelScope(shield=True):
                    await in_thread(stop)
            raise
        return begun[0]

    async def wait_until_unlocked(self, timeout: float | None) -> bool:
        """Waits until the items can be read; see `SecureStorage.wait_until_unlocked`.

        A caller that is cancelled leaves a worker thread waiting for two seconds at most.
        """
        clock = self.sync.clock
        deadline = None if timeout is None else clock.monotonic() + timeout
        was_locked = False
        while True:
            left = None if deadline is None else max(0.0, deadline - clock.monotonic())
            is_last = left is not None and left <= _WAIT_SLICE
            turn = left if is_last else _WAIT_SLICE
            try:
                if await in_thread(functools.partial(self.sync.wait_until_unlocked, turn)):
                    return True
                was_locked = True
            except StoreTimeout:
                if is_last and not was_locked:
                    raise
            except StoreUnavailable:
                if is_last or not was_locked:
                    raise
                await anyio.sleep(_RESTART_PAUSE)  # a daemon that went away may come back
            if is_last:
                return False

    async def __aenter__(self) -> AsyncSecureStorage:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        with anyio.CancelScope(shield=True):  # in a scope that was cancelled nothing would close
            await self.close()

    def __repr__(self) -> str:
        # Also of a half-made one: a traceback with locals calls repr on what there is.
        return f"Async{getattr(self, 'sync', 'SecureStorage')!r}"


class AsyncTokenStorage:
    """`TokenStorage` for event loops, over either face of the storage."""

    def __init__(
        self,
        storage: SecureStorage | AsyncSecureStorage,
        *,
        account: str = "default",
        name: str | None = None,
        previous_name: str | None = None,
        fresh_install: FreshInstall = "clear",
    ) -> None:
        self.storage = storage
        self.sync = TokenStorage(
            storage.sync if isinstance(storage, AsyncSecureStorage) else storage,
            account=account,
            name=name,
            previous_name=previous_name,
            fresh_install=fresh_install,
        )

    @property
    def account(self) -> str:
        """Whose session it is."""
        return self.sync.account

    save_refresh_token = threaded(TokenStorage.save_refresh_token)
    read_refresh_token = threaded(TokenStorage.read_refresh_token)
    clear_session = threaded(TokenStorage.clear_session)
