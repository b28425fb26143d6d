"""A session on every failing path: the tokens are what must not show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leaks.cases import SECRET, Case
from tokenkeep.aio.session import AsyncSession
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.errors import StoreFull, StoreLocked
from tokenkeep.oauth.provider import Provider
from tokenkeep.session.session import Session
from tokenkeep.storage import SecureStorage
from tokenkeep.testing.authorization_server import (
    AuthorizationServer,
    Drop,
    Endpoint,
    Fault,
    Html,
    HugeBody,
    OAuthError,
    RedirectTo,
    Status,
    TruncatedJson,
    When,
    WithFields,
    WithoutFields,
)
from tokenkeep.testing.faulty import Fails, FaultyStore
from tokenkeep.tokens.storage import TokenStorage

GOOD = {"access_token": SECRET, "refresh_token": SECRET, "token_type": "Bearer", "expires_in": 0}
UNUSABLE: dict[str, Any] = {
    "no mapping": SECRET,
    "no access token": {"refresh_token": SECRET},
    "wrong types": {"access_token": [SECRET], "refresh_token": {"a": SECRET}},
    "control characters": GOOD | {"access_token": SECRET + "\n"},
    "negative expiry": GOOD | {"expires_in": -5},
    "other token type": GOOD | {"token_type": SECRET},
    "unknown field that is no JSON": GOOD | {"device_secret": {SECRET}},
    "an ID token that is none": GOOD | {"id_token": SECRET},
}
#: What the token endpoint does with a refresh token that it has never seen.
FAULTS: dict[str, list[Fault]] = {
    "refused": [],
    "dropped": [Drop(When.BEFORE)],
    "503": [Status(503)],
    "500": [Status(500)],
    "HTML": [Html(when=When.AFTER)],
    "huge": [HugeBody()],
    "truncated": [OAuthError("invalid_grant"), TruncatedJson()],
    "redirect": [RedirectTo("https://elsewhere.example/")],
    "invalid_client": [OAuthError("invalid_client")],
    "invalid_scope": [OAuthError("invalid_scope")],
    "fields that are wrong": [WithFields({"error": 5}), WithoutFields(("error",))],
}


def session_in(directory: Path, issuer: str, store: Any = None, **settings: Any) -> Session:
    storage = SecureStorage(
        "org.example.leaks", store or MemoryStore(), state_directory=str(directory)
    )
    provider = Provider(issuer, client_id="notes", timeout=2.0)
    return Session(provider, TokenStorage(storage), **settings)


def begin(answer: Any) -> Callable[[Path], object]:
    def run(directory: Path) -> object:
        with AuthorizationServer() as server:
            return session_in(directory, server.issuer).begin(answer, nonce=SECRET)

    return run


def begin_async(answer: Any) -> Callable[[Path], object]:
    def run(directory: Path) -> object:
        with AuthorizationServer() as server:
            tokens = session_in(directory, server.issuer).tokens
            session = AsyncSession(Provider(server.issuer, client_id="notes"), tokens)
            return asyncio.run(session.begin(answer, nonce=SECRET))

    return run


def refresh(faults: list[Fault], *, asynchronous: bool = False) -> Callable[[Path], object]:
    def run(directory: Path) -> object:
        with AuthorizationServer() as server:
            session = session_in(directory, server.issuer, share_access_tokens=True)
            session.begin(GOOD)
            if faults:
                server.faults.add(Endpoint.TOKEN, *faults, times=None)
            if not asynchronous:
                return session.access_token()
            loose = AsyncSession(session.provider, session.tokens)
            return asyncio.run(loose.access_token())

    return run


def refresh_offline(directory: Path) -> object:
    with AuthorizationServer() as server:
        session = session_in(directory, server.issuer)
        session.begin(GOOD)
        server.stop()
        return session.access_token()


def refresh_with_store(fails: Exception) -> Callable[[Path], object]:
    def run(directory: Path) -> object:
        store = FaultyStore(MemoryStore())
        with AuthorizationServer() as server:
            session = session_in(directory, server.issuer, store)
            session.begin(GOOD)
            store.faults = {verb: Fails(fails) for verb in ("write", "replace")}
            return session.access_token()

    return run


def rejected(directory: Path) -> object:
    with AuthorizationServer() as server:
        session = session_in(directory, server.issuer)
        session.begin(GOOD | {"expires_in": 3600})
        return session.token_after_401(session.access_token())


def failing_logout(directory: Path) -> object:
    with AuthorizationServer() as server:
        session = session_in(directory, server.issuer)
        session.begin(GOOD)
        server.faults.add(Endpoint.REVOKE, Status(500), times=None)
        report = session.logout()
        assert SECRET not in repr(report)
        raise RuntimeError(str(report))


CASES = [
    *(Case(f"session begin: {name}", begin(answer)) for name, answer in UNUSABLE.items()),
    *(Case(f"async session begin: {name}", begin_async(it)) for name, it in UNUSABLE.items()),
    *(Case(f"session refresh: {name}", refresh(faults)) for name, faults in FAULTS.items()),
    *(
        Case(f"async session refresh: {name}", refresh(faults, asynchronous=True))
        for name, faults in FAULTS.items()
    ),
    Case("session refresh: offline", refresh_offline),
    Case("session refresh: the store is locked", refresh_with_store(StoreLocked())),
    Case("session refresh: the store is full", refresh_with_store(StoreFull())),
    Case("session after a 401", rejected),
    Case("session logout that the provider refuses", failing_logout),
]
