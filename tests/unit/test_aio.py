"""The asynchronous faces: the same answers as the synchronous ones, in asyncio and in trio."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from inspect import signature
from typing import Any

import anyio
import pytest

from tokenkeep import (
    AsyncSecureStorage,
    AsyncSession,
    AsyncTokenStorage,
    MemoryStore,
    Provider,
    SecureStorage,
    Session,
    State,
    TokenStorage,
)
from tokenkeep.errors import (
    LoginRequired,
    RefreshUnavailable,
    StoreUnavailable,
    UnsupportedOption,
)
from tokenkeep.item import Call, ItemName
from tokenkeep.oauth.dpop import DpopKey
from tokenkeep.testing import Fails, FaultyStore
from tokenkeep.testing.authorization_server import (
    AuthorizationServer,
    Delay,
    Endpoint,
    Policy,
    When,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with AuthorizationServer(policy=Policy(access_token_seconds=3600)) as server:
        yield server


def make_session(server: AuthorizationServer, **settings: object) -> AsyncSession:
    storage = AsyncSecureStorage("org.example.notes", MemoryStore())
    tokens = AsyncTokenStorage(storage, account="alice")
    return AsyncSession(Provider(server.issuer, client_id="notes"), tokens, **settings)  # type: ignore[arg-type]


async def test_storage_has_the_same_verbs() -> None:
    """Every verb of the storage answers as its synchronous twin does."""
    async with AsyncSecureStorage("org.example.notes", MemoryStore()) as storage:
        await storage.write("api_key", "s3cret")
        found = await storage.read("api_key")
        assert found is not None
        assert "s3cret" == found.reveal()
        assert await storage.read("nothing here") is None
        assert ["api_key"] == await storage.names()
        assert await storage.contains("api_key")
        assert ["api_key"] == list(await storage.read_all())
        assert await storage.delete("api_key")
        assert 0 == await storage.delete_all()


#: What other parts of the library work with, and an application reaches through `sync` if it must.
OF_THE_HOUSE = {
    SecureStorage: {
        *("store", "call", "clock", "state_directory"),
        *("timeout", "prompt_timeout", "interaction", "max_value_bytes", "marker"),
    },
    TokenStorage: {"kept"},
    Session: set(),
}
#: What only a loop needs.
OF_THE_LOOP = {"sync", "until_logout"}


@pytest.mark.parametrize("kind", OF_THE_HOUSE)
def test_both_faces_have_the_same_names_and_take_the_same_arguments(kind: type) -> None:
    """Whatever is added to one is added to the other, with the same defaults."""

    def names(of: object) -> set[str]:
        return {name for name in dir(of) if not name.startswith("_")}

    storages = SecureStorage("s", MemoryStore()), AsyncSecureStorage("s", MemoryStore())
    tokens = TokenStorage(storages[0]), AsyncTokenStorage(storages[1])
    provider = Provider("https://issuer.example", client_id="notes")
    sessions = Session(provider, tokens[0]), AsyncSession(provider, tokens[1])
    pairs: dict[type, Any] = {SecureStorage: storages, TokenStorage: tokens, Session: sessions}
    face, async_face = pairs[kind]
    assert names(face) - OF_THE_HOUSE[kind] == names(async_face) - OF_THE_LOOP
    compared = 0
    for name in ("__init__", *sorted(names(type(face)) & names(type(async_face)))):
        method, async_method = getattr(kind, name), getattr(type(async_face), name)
        if not callable(method):
            assert isinstance(method, property) == isinstance(async_method, property), name
            continue
        taken = [
            [(each.name, each.kind, each.default) for each in signature(of).parameters.values()]
            for of in (method, async_method)
        ]
        assert taken[0] == taken[1], name
        compared += 1
    assert compared >= 4


async def test_a_login_of_the_applications_own_can_be_bound(server: AuthorizationServer) -> None:
    """The key that `begin` asks for can be given in a loop too."""
    session = make_session(server)
    bound = Provider(server.issuer, client_id="notes", dpop=True)
    async_session = AsyncSession(bound, session.tokens)
    key = DpopKey.generate()
    response = {**server.login("notes"), "token_type": "DPoP"}
    with pytest.raises(UnsupportedOption, match="no key was given"):
        await async_session.begin(response)
    assert State.ACTIVE is await async_session.begin(response, dpop_key=key)
    token = async_session.fresh_token()
    assert token is not None
    assert token.dpop_key is not None
    assert 2 == len(async_session.live_tokens()), "the access and the refresh token"
    assert token is async_session.refresh_in_flight().result(5)


async def test_a_session_lives_and_ends(server: AuthorizationServer) -> None:
    """Begin, token, restore and logout are coroutines with the synchronous outcome."""
    session = make_session(server)
    assert await session.restore() is State.SIGNED_OUT
    assert await session.begin(server.login("notes")) is State.ACTIVE
    token = await session.access_token()
    assert server.accepts(token.reveal())
    report = await session.logout()
    assert report.is_complete
    assert not server.accepts(token.reveal())
    with pytest.raises(LoginRequired):
        await session.access_token()


async def test_a_fresh_token_needs_no_thread(server: AuthorizationServer) -> None:
    """A token in memory is handed out in the caller's own task."""
    session = make_session(server)
    await session.begin(server.login("notes"))
    before = threading.active_count()
    for _ in range(100):
        await session.access_token()
    assert before == threading.active_count()


async def test_a_hundred_tasks_cause_one_request(server: AuthorizationServer) -> None:
    """However many tasks meet one stale token, it is redeemed once."""
    session = make_session(server)
    await session.begin(server.login("notes"))
    server.faults.add(Endpoint.TOKEN, Delay(When.AFTER, 0.2))
    before = server.token_requests
    tokens: list[str] = []

    async def ask() -> None:
        tokens.append((await session.access_token(min_ttl=3601)).reveal())

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(ask)
    assert 1 == server.token_requests - before
    assert 1 == len(set(tokens))
    assert 100 == len(tokens)


async def test_cancelled_caller_does_not_lose_the_rotated_token(
    server: AuthorizationServer,
) -> None:
    """The refresh belongs to no caller: it is finished and saved though nobody waits any more."""
    session = make_session(server)
    await session.begin(server.login("notes"))
    server.faults.add(Endpoint.TOKEN, Delay(When.AFTER, 0.3))
    with anyio.move_on_after(0.1) as scope:
        await session.access_token(min_ttl=3601)
    assert scope.cancelled_caught
    token = await session.access_token(min_ttl=3601)
    assert 2 == token.generation
    assert server.accepts(token.reveal())
    assert 0 == server.reuse_detected


async def test_a_caller_who_times_out_leaves_the_refresh_alone(
    server: AuthorizationServer,
) -> None:
    """A caller's own deadline is an error of its own, and the refresh goes on."""
    session = make_session(server)
    await session.begin(server.login("notes"))
    server.faults.add(Endpoint.TOKEN, Delay(When.AFTER, 0.3))
    with pytest.raises(RefreshUnavailable):
        await session.access_token(min_ttl=3601, timeout=0.05)
    assert 2 == (await session.access_token(min_ttl=3601)).generation


async def test_storage_closes_where_its_block_is_cancelled() -> None:
    """What was opened for the block is let go of at its end, however it ends."""
    storage, others = AsyncSecureStorage("org.example.notes", MemoryStore()), watchers()
    with anyio.CancelScope() as scope:
        async with storage:
            await storage.listen(lambda _change: None)
            scope.cancel()
            await anyio.sleep_forever()
    with pytest.raises(StoreUnavailable):
        await storage.names()
    assert watchers() <= others


async def test_session_closes_where_its_block_is_cancelled(server: AuthorizationServer) -> None:
    """An unsaved session gets its last chance to be saved at the end of the block, too."""
    storage = AsyncSecureStorage("org.example.notes", store := FaultyStore(MemoryStore()))
    session = AsyncSession(
        Provider(server.issuer, client_id="notes"), AsyncTokenStorage(storage, account="alice")
    )
    with anyio.CancelScope() as scope:
        async with session:
            store.faults = dict.fromkeys(("write", "replace"), Fails(StoreUnavailable("away")))
            assert State.MEMORY_ONLY is await session.begin(server.login("notes"))
            store.faults = {}
            scope.cancel()
            await anyio.sleep_forever()
    assert State.ACTIVE is session.state


async def test_cancelled_caller_listens_to_nothing() -> None:
    """Nobody else could end what it had begun: cancelled while the thread works or just behind."""
    store, others = SlowStore(), watchers()
    storage = AsyncSecureStorage("org.example.notes", store)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(storage.listen, print, 60.0)
            await anyio.to_thread.run_sync(store.is_asked.wait)
            scope.cancel()
    store.may_answer.set()
    with anyio.fail_after(10):
        while not (store.has_answered.is_set() and watchers() <= others):
            await anyio.sleep(0.01)
    await storage.close()


def watchers() -> set[threading.Thread]:
    """The threads that look for changes; other tests may have left some."""
    return {each for each in threading.enumerate() if each.name == "tokenkeep-watch"}


class SlowStore(MemoryStore):
    """Answers what there is when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.may_answer = threading.Event(), threading.Event()
        self.has_answered = threading.Event()

    def names(self, service: str, call: Call) -> list[ItemName]:
        """The names, once they may be said."""
        self.is_asked.set()
        self.may_answer.wait()
        self.has_answered.set()
        return super().names(service, call)


async def test_logout_cancels_authorised_work(server: AuthorizationServer) -> None:
    """Work in `until_logout` ends with the session, as a login that is required."""
    session = make_session(server)
    await session.begin(server.login("notes"))
    started = anyio.Event()
    endings: list[str] = []

    async def work() -> None:
        try:
            async with session.until_logout():
                started.set()
                await anyio.sleep(30)
        except LoginRequired as exc:
            endings.append(exc.reason)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(work)
            await started.wait()
            await session.logout()
    assert ["ended elsewhere"] == endings


async def test_listeners_are_called_in_the_loop(server: AuthorizationServer) -> None:
    """A listener runs in the loop that registered it, whichever thread made the change."""
    session = make_session(server)
    heard: list[tuple[State, int]] = []
    stop = session.on_change(lambda change: heard.append((change.state, threading.get_ident())))
    await session.begin(server.login("notes"))
    with anyio.fail_after(5):
        while not heard:
            await anyio.sleep(0.01)
    stop()
    assert [(State.ACTIVE, threading.get_ident())] == heard


def test_several_loops_and_threads_share_one_refresh(server: AuthorizationServer) -> None:
    """One session serves three event loops and a thread: one request, one token."""
    session = make_session(server)
    session.sync.begin(server.login("notes"))
    server.faults.add(Endpoint.TOKEN, Delay(When.AFTER, 0.2))
    before, found = server.token_requests, []

    async def fifty() -> None:
        async def ask() -> None:
            found.append((await session.access_token(min_ttl=3601)).generation)

        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(ask())

    threads = [threading.Thread(target=lambda: asyncio.run(fifty())) for _ in range(3)]
    threads.append(
        threading.Thread(
            target=lambda: found.append(session.sync.access_token(min_ttl=3601).generation)
        )
    )
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 == server.token_requests - before
    assert [2] * 151 == found


def test_the_first_call_loads_nothing_into_a_running_loop() -> None:
    """What a loop needs of anyio is there once the faces are imported."""
    code = (
        "import asyncio, sys; from tokenkeep import AsyncSecureStorage, MemoryOptions\n"
        "async def main():\n"
        "    storage = AsyncSecureStorage('s', MemoryOptions())\n"
        "    before = set(sys.modules)\n"
        "    await storage.read('a')\n"
        "    loaded = {name for name in set(sys.modules) - before if name.startswith('anyio')}\n"
        "    assert not loaded, loaded\n"
        "asyncio.run(main())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
