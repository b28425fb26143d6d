"""A process is killed between redemption and write: what the next one says, and the ways on."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass

from tokenkeep.cli.demo.check import Check, contains, equal, exits
from tokenkeep.cli.demo.scenes.login import sign_in
from tokenkeep.cli.demo.stage import Stage
from tokenkeep.cli.demo.telling import Telling

TITLE = "SIGKILL between redemption and write, at a strict server"
TITLE_OF_GRACE = "the same at a server that answers a repeated refresh token again"

#: Promised by carol's provider, and told to `login`.
_REPLAY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Kill:
    """One process that was killed while the server's answer was on its way."""

    exit_code: int
    rotations: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What followed the kill at a strict server."""

    kill: Kill
    exit_codes: dict[str, int]
    state: str
    is_accepted: bool
    refusal: str
    requests_unasked: int
    confirmed: str
    reuse_detected: int
    state_after: str
    is_alive: bool


@dataclass(frozen=True, slots=True)
class EvidenceOfGrace:
    """What followed the kill where the provider promised a replay window."""

    kill: Kill
    exit_codes: dict[str, int]
    is_accepted: bool
    requests: int
    rotations: int
    reuse_detected: int


def play(stage: Stage, telling: Telling) -> None:
    """Kills alice's process, and goes every way on."""
    server = stage.server
    killed = _kill(stage, telling, "alice")
    status = stage.run("status", "--account", "alice", "--json")
    before = server.admin.counts()
    valid = stage.run("token", "--account", "alice")
    is_accepted = server.admin.accepts(valid.stdout.decode())
    refused = stage.run("token", "--account", "alice", "--min-ttl", server.whole_lifetime)
    unasked = server.admin.token_requests - before["token"]
    telling.event("a person agrees to one more attempt; this server takes it for theft")
    confirmed = stage.run("token", "--account", "alice", "--retry-uncertain")
    after = stage.run("status", "--account", "alice", "--json")
    reuse = server.admin.reuse_detected - before["reuse_detected"]
    login = sign_in(stage, "alice")
    again = stage.run("token", "--account", "alice")
    evidence = Evidence(
        killed,
        {
            "status": status.exit_code,
            "token": valid.exit_code,
            "token --min-ttl": refused.exit_code,
            "token --retry-uncertain": confirmed.exit_code,
            "login": login,
            "token again": again.exit_code,
        },
        _state(status.stdout),
        is_accepted,
        refused.stderr,
        unasked,
        confirmed.stderr,
        reuse,
        _state(after.stdout),
        server.admin.accepts(again.stdout.decode()),
    )
    telling.check(*checks(evidence))


def play_with_grace(stage: Stage, telling: Telling) -> None:
    """Kills carol's process, whose provider promised to repeat its answer."""
    server = stage.server
    server.change(grace_seconds=float(_REPLAY_SECONDS))
    login = sign_in(stage, "carol", "--replay-window", str(_REPLAY_SECONDS))
    killed = _kill(stage, telling, "carol")
    before, known = server.admin.counts(), server.login_of("carol")
    status = stage.run("status", "--account", "carol")
    token = stage.run("token", "--account", "carol", "--min-ttl", server.whole_lifetime)
    after = server.admin.counts()
    evidence = EvidenceOfGrace(
        killed,
        {"login": login, "status": status.exit_code, "token": token.exit_code},
        server.admin.accepts(token.stdout.decode()),
        after["token"] - before["token"],
        server.login_of("carol")["generation"] - known["generation"],
        after["reuse_detected"] - before["reuse_detected"],
    )
    server.change(grace_seconds=0.0)
    telling.check(*checks_of_grace(evidence))


def checks(evidence: Evidence) -> list[Check]:
    """What has to be true after a kill at a strict server."""
    return [
        *_checks_of_kill(evidence.kill),
        exits(
            "the next start is uncertain, and says so",
            {"status": 5, "token --min-ttl": 5},
            evidence.exit_codes,
        ),
        equal("that is a state of its own", "uncertain", evidence.state, "state"),
        equal(
            "the access token that is still valid serves on",
            (0, True),
            (evidence.exit_codes.get("token"), evidence.is_accepted),
            "exit code, accepted",
        ),
        contains("the way on is named", "--retry-uncertain", evidence.refusal, "stderr"),
        equal("nothing was sent unasked", 0, evidence.requests_unasked, "token requests"),
        contains("the confirmed attempt was refused", "reused", evidence.confirmed, "stderr"),
        equal("as reuse, by the server's own count", 1, evidence.reuse_detected, "reuse"),
        exits("so a login is required", {"token --retry-uncertain": 5}, evidence.exit_codes),
        equal("and the state says that", "login required", evidence.state_after, "state"),
        exits("a login mends it", {"login": 0, "token again": 0}, evidence.exit_codes),
        equal("with a good token", True, evidence.is_alive, "the server accepts"),
    ]


def checks_of_grace(evidence: EvidenceOfGrace) -> list[Check]:
    """What has to be true after a kill inside a replay window."""
    return [
        *_checks_of_kill(evidence.kill),
        exits(
            "the next start goes on by itself",
            {"login": 0, "status": 0, "token": 0},
            evidence.exit_codes,
        ),
        equal("with a good token", True, evidence.is_accepted, "the server accepts"),
        equal(
            "by sending the same refresh token once more",
            (1, 0),
            (evidence.requests, evidence.rotations),
            "token requests, further rotations",
        ),
        equal("which was no reuse", 0, evidence.reuse_detected, "reuse the server saw"),
    ]


def _checks_of_kill(killed: Kill) -> list[Check]:
    return [
        equal("the process was killed", -signal.SIGKILL, killed.exit_code, "its exit code"),
        equal(
            "after the server had spent its refresh token", 1, killed.rotations, "rotations there"
        ),
    ]


def _kill(stage: Stage, telling: Telling, account: str) -> Kill:
    """Starts a refresh of the account and kills the process while the answer is on its way."""
    server = stage.server
    before = server.login_of(account)["generation"]
    server.hold_next_refresh()
    words = ("token", "--account", account, "--min-ttl", server.whole_lifetime)
    child = stage.start(*words)
    server.wait_until_held()
    rotations = server.login_of(account)["generation"] - before
    telling.event(f"the server has redeemed and not answered yet: kill -9 {child.pid}")
    ran = child.kill()
    server.release()
    stage.told(words, ran)
    return Kill(ran.exit_code, rotations)


def _state(document: bytes) -> str:
    return str(json.loads(document or b"{}").get("state"))
