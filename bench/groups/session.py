"""tokenkeep's own targets for sessions: `tokenkeep token`, the hot path, the big herd."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack

from catalogue import SERVICE, TOKENKEEP, Place, say
from effort import Effort
from environments import clean, program_of
from measure import Command, PeerFailed, interleave, last_line, run
from report import Row, failed, judged, number
from server import Server
from workers import HERE, Process

from groups.start import COLD_RATIO, bare, whole_process

TOKEN = "cold token, whole process: CPU ms; ratio to `python -c pass`"
HOT = "fresh access token in memory: microseconds a call"
NOTICED = "another process signs out: the next call"
BIG = "12 processes x 8 threads and 3 event loops x 50 tasks: rounds as they should be"
ONE_THREAD_MICROSECONDS = 10.0
EIGHT_THREADS_MICROSECONDS = 30.0
THREADS, PROCESSES, LOOPS, TASKS = 8, 12, 3, 50


def token(effort: Effort) -> list[Row]:
    """`tokenkeep token` of a login whose shared access token is fresh."""
    say("cold tokenkeep token")
    with tempfile.TemporaryDirectory(prefix="tokenkeep-bench-") as path:
        place = Place(path, clean(path))
        try:
            with Server(path) as server:
                server.long(waits=False)
                expected = _log_in_as_the_command_does(place, server)
                row = _token(effort, place, expected)
                requests = server.admin.token_requests
        except PeerFailed as exc:
            return [failed(TOKEN, "tokenkeep", exc)]
    if requests:
        row.remarks += f"; it redeemed {requests} times"
    return [row]


def _token(effort: Effort, place: Place, expected: str) -> Row:
    tokenkeep = program_of("tokenkeep", "tokenkeep")
    command = Command("token", [tokenkeep, "--app", SERVICE, "token"], place.variables, expected)
    idle = bare(TOKENKEEP, place)
    interleave([command, idle], effort.process_rounds, effort.seconds_per_command)
    if command.failure:
        raise PeerFailed(command.failure)
    row = whole_process(TOKEN, "tokenkeep", command, idle, "tokenkeep token, shared access token")
    row.target = judged(f"<= {COLD_RATIO} x", command.median <= COLD_RATIO * idle.median)
    return row


def _log_in_as_the_command_does(place: Place, server: Server) -> str:
    """Begin a session in the vault that the command line uses; the access token."""
    made = run([program_of("tokenkeep", "tokenkeep"), "vault", "create"], place.variables)
    if made.exit_code != 0:
        raise PeerFailed(f"vault create, exit {made.exit_code}: {last_line(made.errors)}")
    answer = server.log_in()
    given = json.dumps({"issuer": server.issuer, "service": SERVICE, "tokens": answer})
    program = [program_of("tokenkeep", "python"), str(HERE / "begin.py")]
    begun = run(program, place.variables, given)
    if begun.exit_code != 0:
        raise PeerFailed(f"begin, exit {begun.exit_code}: {last_line(begun.errors)}")
    return str(answer["access_token"])


def hot(effort: Effort) -> list[Row]:
    """`access_token()` with a fresh token in memory, and that it still notices a sign-out."""
    say("hot access_token()")
    with tempfile.TemporaryDirectory(prefix="tokenkeep-bench-") as path, ExitStack() as stack:
        server = stack.enter_context(Server(path))
        config = {"place": path, "issuer": server.issuer, "shares": False}
        client = [str(HERE / "herd_worker.py"), "tokenkeep_client"]
        server.long(waits=False)
        other = stack.enter_context(Process("tokenkeep", client, clean(path)))
        other.ask(do="login", config={**config, "tokens": server.log_in()})
        other.ask(do="prepare", config={**config, "shares": True})
        process = stack.enter_context(Process("tokenkeep", [str(HERE / "hot.py")], clean(path)))
        try:
            taken = process.ask(config=config, calls=effort.hot_calls, threads=THREADS)
            other.ask(do="logout")
            noticed = process.ask()["noticed"]
        except PeerFailed as exc:
            return [failed(HOT, "tokenkeep", exc)]
    one = taken["one"]["per_call"] / 1000
    many, waits = (taken["many"][key] / 1000 for key in ("per_call", "as_a_thread_sees_it"))
    rows = [Row(HOT, "tokenkeep, 1 thread", number(one), data=taken)]
    rows[0].target = judged(f"<= {ONE_THREAD_MICROSECONDS:.0f} us", one <= ONE_THREAD_MICROSECONDS)
    rows.append(
        Row(
            HOT,
            f"tokenkeep, {THREADS} threads",
            number(waits),
            target=judged(
                f"<= {EIGHT_THREADS_MICROSECONDS:.0f} us", waits <= EIGHT_THREADS_MICROSECONDS
            ),
            remarks=f"a call as its thread sees it, while {THREADS - 1} others have their "
            f"turn; all the time divided by all the calls: {number(many)}",
        )
    )
    told = "raises LoginRequired" if noticed else "still gives the token"
    rows.append(Row(NOTICED, "tokenkeep", told, target=judged("noticed", noticed)))
    return rows


def big_herd(effort: Effort) -> list[Row]:
    """Every round another account's expired token, everybody at once, from everywhere."""
    rows = []
    for title, shares, allowed in (
        ("tokenkeep, shared access tokens", True, 1),
        ("tokenkeep, tokens in memory", False, PROCESSES + 1),
    ):
        say(f"big herd: {title}")
        try:
            rows.append(_rounds(effort, title, shares, allowed))
        except PeerFailed as exc:
            rows.append(failed(BIG, title, exc))
    return rows


def _rounds(effort: Effort, title: str, shares: bool, allowed: int) -> Row:
    good, worst, told = 0, 0.0, set()
    with tempfile.TemporaryDirectory(prefix="tokenkeep-bench-") as path, ExitStack() as stack:
        server = stack.enter_context(Server(path))
        config = {"place": path, "issuer": server.issuer, "shares": shares}
        accounts = [f"account-{number_}" for number_ in range(effort.rounds)]
        server.short()
        client = [str(HERE / "herd_worker.py"), "tokenkeep_client"]
        keeper = stack.enter_context(Process("tokenkeep", client, clean(path)))
        for account in accounts:
            tokens = server.log_in()
            keeper.ask(do="login", config={**config, "account": account, "tokens": tokens})
        server.long()
        program = [str(HERE / "crowd.py")]
        crowds = [
            stack.enter_context(Process("tokenkeep", program, clean(path)))
            for _each in range(PROCESSES + 1)
        ]
        orders = [{"threads": THREADS}] * PROCESSES + [{"loops": LOOPS, "tasks": TASKS}]
        for account in accounts:
            this = {**config, "account": account}
            for crowd in crowds:
                crowd.send(do="prepare", config=this)
            for crowd in crowds:
                crowd.answer()
            before = server.admin.token_requests
            for crowd, order in zip(crowds, orders, strict=True):
                crowd.send(do="go", **order)
            answers = [crowd.answer() for crowd in crowds]
            requests = server.admin.token_requests - before
            keeper.ask(do="prepare", config=this)
            kept = keeper.ask(do="kept")["refresh_token"]
            problems = _problems(server, answers, requests, allowed, kept)
            good += not problems
            told.update(problems)
            worst = max(worst, *(answer["worst"] for answer in answers))
    row = Row(BIG, title, f"{good} of {effort.rounds}")
    row.remarks = "; ".join([f"longest wait {worst:.2f} s", *sorted(told)[:3]])
    row.target = judged(f"requests {allowed}, all, alive", good == effort.rounds)
    row.data = {"worst": worst, "problems": sorted(told)}
    return row


def _problems(
    server: Server, answers: list[dict], requests: int, allowed: int, kept: str
) -> list[str]:
    """What is not as it should be after a round."""
    found = []
    tokens = [token for answer in answers for token in answer["tokens"]]
    errors = [error for answer in answers for error in answer["errors"]]
    if requests != allowed:
        found.append(f"{requests} token requests")
    if len(tokens) != PROCESSES * THREADS + LOOPS * TASKS or errors:
        found.append(f"{len(tokens)} callers served, {', '.join(sorted(set(errors)))}")
    if not all(server.admin.accepts(token) for token in set(tokens)):
        found.append("a token that the server does not accept")
    if not kept or not server.admin.is_alive(kept):
        found.append("the session is dead")
    return found
