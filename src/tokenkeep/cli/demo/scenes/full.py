"""The vault refuses the write after a redemption: the session lives on in memory, and says so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tokenkeep.cli.demo.check import Check, contains, equal, exits
from tokenkeep.cli.demo.children import Child
from tokenkeep.cli.demo.server import CLIENT_ID
from tokenkeep.cli.demo.stage import APP, Stage
from tokenkeep.cli.demo.telling import Telling

TITLE = "the vault refuses the write"

_PROGRAM = "tokenkeep.cli.demo.memory_only"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the program, a second process and the server say."""

    states: list[str]
    reasons: list[str]
    is_accepted: bool
    holder: int
    exit_codes: dict[str, int]
    second: str
    second_requests: int
    is_same_token: bool
    token_requests: int
    is_alive: bool


def play(stage: Stage, telling: Telling) -> None:
    """Lets the program of `memory_only` refresh alice's session while its disk fills."""
    if not _can_limit_files():
        telling.skip("this system has no limit on the size of files (RLIMIT_FSIZE)")
        return
    server = stage.server
    server.hold_next_refresh()
    where = (stage.vault, stage.key, APP, server.issuer, CLIENT_ID, "alice", server.whole_lifetime)
    program = stage.start_python("-m", _PROGRAM, *where, talks=True)
    telling.event(f"a Python program, pid {program.pid}, restores alice's session and refreshes it")
    server.wait_until_held()
    said: list[dict[str, Any]] = []
    program.tell("full")
    _listen(program, said, "full")
    telling.event(
        "while the answer is on its way, the system begins to refuse its writes (RLIMIT_FSIZE)"
    )
    server.release()
    token = _listen(program, said, "token")["token"]
    telling.event(f"the program's session: {said[-2]['state']}: {said[-2]['reason']}")
    is_accepted = server.admin.accepts(token)
    before = server.admin.token_requests
    second = stage.run("token", "--account", "alice", "--min-ttl", server.whole_lifetime)
    second_requests = server.admin.token_requests - before
    program.tell("free")
    _listen(program, said, "free")
    telling.event("there is room again")
    _listen(program, said, "state", "saved at last")
    telling.event(f"the program's session: {said[-1]['state']}: {said[-1]['reason']}")
    ended = program.finish()
    third = stage.run("token", "--account", "alice")
    evidence = Evidence(
        [each["state"] for each in said if "reason" in each],
        [each["reason"] for each in said if "reason" in each],
        is_accepted,
        program.pid,
        {
            "second process": second.exit_code,
            "program": ended.exit_code,
            "third process": third.exit_code,
        },
        second.stderr,
        second_requests,
        third.stdout.decode() == token,
        server.admin.token_requests - before,
        len(server.login_of("alice")["refresh_tokens"]) == 1,
    )
    telling.check(*checks(evidence))


def checks(evidence: Evidence) -> list[Check]:
    """What has to be true of a session that could not be saved, and then could."""
    return [
        equal(
            "the program was told each turn",
            ["active", "memory only", "active"],
            evidence.states,
            "its session's states",
        ),
        contains(
            "with the reason",
            "not saved",
            evidence.reasons[1] if len(evidence.reasons) > 1 else "",
            "what it was told",
        ),
        equal("the token serves all the same", True, evidence.is_accepted, "the server accepts"),
        exits("a second process is put off", {"second process": 4}, evidence.exit_codes),
        contains("and told by whom", f"pid {evidence.holder} ", evidence.second, "stderr"),
        equal("without sending anything", 0, evidence.second_requests, "token requests"),
        equal(
            "once there is room, it is saved",
            "saved at last",
            evidence.reasons[-1] if evidence.reasons else "",
            "what the program was told",
        ),
        exits("and others go on with it", {"program": 0, "third process": 0}, evidence.exit_codes),
        equal(
            "with the very token, and no further request",
            (True, 0),
            (evidence.is_same_token, evidence.token_requests),
            "same token, token requests",
        ),
        equal("the login at the server lives", True, evidence.is_alive, "one live refresh token"),
    ]


def _listen(program: Child, said: list[dict[str, Any]], fact: str, reason: str = "") -> Any:
    """Listens until the program says a fact, for a reason if one is given; what it said."""
    while True:
        said.append(json.loads(program.line()))
        if fact in said[-1] and (not reason or said[-1].get("reason") == reason):
            return said[-1]


def _can_limit_files() -> bool:
    try:
        import resource
    except ImportError:
        return False
    return hasattr(resource, "RLIMIT_FSIZE")
