"""Eight callers meet one expired access token; the server punishes a refresh token sent twice."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field

from catalogue import say
from effort import Effort
from environments import clean
from measure import PeerFailed
from report import Row, failed, judged
from server import Server
from workers import HERE, Process

CALLERS = 8
MEASURE = "8 {} meet one expired token: token requests; callers served; sessions alive"


@dataclass(frozen=True)
class Client:
    """An OAuth client and how it is driven."""

    title: str
    environment: str
    module: str
    through: str
    shares: bool = False


CLIENTS = (
    Client(
        "tokenkeep, shared access tokens",
        "tokenkeep",
        "tokenkeep_client",
        "Session over the vault",
        shares=True,
    ),
    Client(
        "tokenkeep, tokens in memory",
        "tokenkeep",
        "tokenkeep_client",
        "Session over the vault: each process redeems for itself, in turn",
    ),
    Client(
        "Authlib",
        "Authlib",
        "authlib_client",
        "requests_client.OAuth2Session, update_token into a file",
    ),
    Client(
        "requests-oauthlib",
        "requests-oauthlib",
        "requests_oauthlib_client",
        "OAuth2Session, auto_refresh_url, token_updater into a file",
    ),
    Client(
        "google-auth",
        "google-auth",
        "google_auth_client",
        "Credentials with token_uri over http, to_json into a file; made for Google, whose "
        "refresh tokens may be sent twice",
    ),
    Client(
        "MSAL + msal-extensions",
        "msal-extensions",
        "msal_client",
        "oidc_authority with an HTTP client that turns https into http, PersistedTokenCache; "
        "made for Entra, whose refresh tokens may be sent twice",
    ),
)


@dataclass
class Seen:
    """What some herds of one client came to."""

    herds: int = 0
    requests: list[int] = field(default_factory=list)
    served: int = 0
    alive: int = 0
    worst_seconds: float = 0.0
    errors: set[str] = field(default_factory=set)


def herds(effort: Effort) -> list[Row]:
    """As threads with one client object, and as processes with what the client can share."""
    rows = []
    for kind, processes in (("threads of one process", 1), ("processes", CALLERS)):
        for client in CLIENTS:
            say(f"herd of 8 {kind}: {client.title}")
            measure = MEASURE.format(kind)
            seen = Seen()
            try:
                for _each in range(effort.herds):
                    _stampede(client, processes, seen)
            except PeerFailed as exc:
                rows.append(failed(measure, client.title, exc))
                continue
            rows.append(_row(measure, client, processes, seen))
    return rows


def _stampede(client: Client, processes: int, seen: Seen) -> None:
    with tempfile.TemporaryDirectory(prefix="tokenkeep-bench-") as place, ExitStack() as stack:
        server = stack.enter_context(Server(place))
        config = {"place": place, "issuer": server.issuer, "shares": client.shares}
        program = [str(HERE / "herd_worker.py"), client.module]
        workers = [
            stack.enter_context(Process(client.environment, program, clean(place)))
            for _each in range(processes)
        ]
        server.short()
        workers[0].ask(do="login", config={**config, "tokens": server.log_in()})
        server.long()
        for worker in workers:
            worker.send(do="prepare", config=config)
        for worker in workers:
            worker.answer()
        if not _is_alive(server, workers[0]):
            raise PeerFailed("the login was not kept, or is dead before the herd comes")
        before = server.admin.token_requests
        for worker in workers:
            worker.send(do="go", callers=CALLERS // processes)
        results = [each for worker in workers for each in worker.answer()["results"]]
        seen.herds += 1
        seen.requests.append(server.admin.token_requests - before)
        seen.served += sum(each["status"] == 200 for each in results)
        seen.worst_seconds = max(seen.worst_seconds, *(each["seconds"] for each in results))
        seen.errors.update(
            each.get("error") or f"HTTP {each['status']}"
            for each in results
            if each["status"] != 200
        )
        seen.alive += _is_alive(server, workers[0])


def _is_alive(server: Server, worker: Process) -> bool:
    kept = worker.ask(do="kept")["refresh_token"]
    return bool(kept) and server.admin.is_alive(kept)


def _row(measure: str, client: Client, processes: int, seen: Seen) -> Row:
    told = [client.through]
    told += sorted(seen.errors)[:2]
    requests = "/".join(str(each) for each in seen.requests)
    callers = seen.herds * CALLERS
    row = Row(
        measure,
        client.title,
        f"{requests}; {seen.served} of {callers}; {seen.alive} of {seen.herds}",
        remarks="; ".join(told),
        data={**vars(seen), "errors": sorted(seen.errors)},
    )
    if client.environment == "tokenkeep":
        allowed = 1 if client.shares else processes
        holds = set(seen.requests) == {allowed} and seen.served == callers
        rule = f"{allowed}, all, alive"
        row.target = judged(rule, holds and seen.alive == seen.herds)
    return row
