"""Twelve processes meet one expired token at once: one of them redeems, all of them are served."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tokenkeep.cli.demo.check import Check, equal
from tokenkeep.cli.demo.children import Child
from tokenkeep.cli.demo.stage import Stage
from tokenkeep.cli.demo.telling import Telling

TITLE = "12 processes meet one expired token"

PROCESSES = 12
#: How long the answer is kept back at most for the others to come to the fence.
_GATHER_SECONDS = 15.0
#: The same where nobody can look at other processes' files.
_BLIND_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the processes and the server say; `waiting` is None where nobody can tell."""

    waiting: int | None
    exit_codes: list[int]
    distinct_tokens: int
    is_accepted: bool
    is_new: bool
    token_requests: int
    reuse_detected: int


def play(stage: Stage, telling: Telling) -> None:
    """Lets alice's token expire, then starts the processes."""
    server = stage.server
    lifetime, long = server.policy.access_token_seconds, server.whole_lifetime
    server.change(access_token_seconds=1.0)
    expired = stage.run("token", "--account", "alice", "--min-ttl", long).stdout
    server.change(access_token_seconds=lifetime)
    server.wait_until_refused(expired.decode())
    telling.event("the server gave a token for one second, and refuses it by now")
    before = server.admin.counts()
    server.hold_next_refresh()
    herd = [stage.start("token", "--account", "alice") for _ in range(PROCESSES)]
    server.wait_until_held()
    waiting = _gather(stage, herd)
    telling.event("one process has asked, its answer is kept back while the others arrive; now go")
    server.release()
    ended = [child.finish() for child in herd]
    telling.command(f"tokenkeep token --account alice   ({PROCESSES} times at once)")
    after = server.admin.counts()
    tokens = {ran.stdout for ran in ended}
    evidence = Evidence(
        waiting,
        [ran.exit_code for ran in ended],
        len(tokens),
        all(server.admin.accepts(token.decode()) for token in tokens),
        expired not in tokens,
        after["token"] - before["token"],
        after["reuse_detected"] - before["reuse_detected"],
    )
    telling.check(*checks(evidence))


def checks(evidence: Evidence) -> list[Check]:
    """What has to be true of a herd."""
    served = evidence.exit_codes.count(0)
    found = [
        equal("every process was served", PROCESSES, served, "exit 0"),
        equal("with exactly one token request", 1, evidence.token_requests, "the server counted"),
        equal("all have the same token", 1, evidence.distinct_tokens, "distinct tokens"),
        equal(
            "a new one that the server accepts",
            (True, True),
            (evidence.is_new, evidence.is_accepted),
            "new, accepted",
        ),
        equal(
            "no refresh token was sent twice", 0, evidence.reuse_detected, "reuse the server saw"
        ),
    ]
    if evidence.waiting is not None:
        found.insert(
            0,
            equal(
                "they met: all stood at the account's fence together",
                PROCESSES,
                evidence.waiting,
                "processes with the lock file open",
            ),
        )
    return found


def _gather(stage: Stage, herd: list[Child]) -> int | None:
    deadline = time.monotonic() + _GATHER_SECONDS
    while True:
        count = stage.count_at_fence("alice", [child.pid for child in herd])
        if count is None:
            time.sleep(_BLIND_SECONDS)
            return None
        if count == PROCESSES or time.monotonic() > deadline:
            return count
        time.sleep(0.05)
