"""Two sign-outs: one overtakes a refresh in flight, one cannot reach the server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tokenkeep.cli.demo.check import Check, contains, equal, exits
from tokenkeep.cli.demo.scenes.restore import Search, nothing_found, search
from tokenkeep.cli.demo.stage import Stage
from tokenkeep.cli.demo.telling import Telling
from tokenkeep.testing.authorization_server import Endpoint

TITLE = "sign out while a refresh is in flight"
TITLE_OFFLINE = "sign out with the server offline"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What followed a sign-out that overtook a refresh."""

    exit_codes: dict[str, int]
    steps: dict[str, str]
    late_tokens: int
    printed: int
    is_record_gone: bool
    late_revocations: list[int | None]
    live_tokens: int


@dataclass(frozen=True, slots=True)
class EvidenceOffline:
    """What followed a sign-out without the server, and what all files hold in the end."""

    exit_codes: dict[str, int]
    steps: dict[str, str]
    details: str
    is_complete: bool
    is_record_gone: bool
    live_refresh_tokens: int
    search: Search


def play(stage: Stage, telling: Telling) -> None:
    """Signs alice out while another process refreshes her session."""
    server = stage.server
    server.hold_next_refresh()
    words = ("token", "--account", "alice", "--min-ttl", server.whole_lifetime)
    refreshing = stage.start(*words)
    server.wait_until_held()
    login = server.login_of("alice")
    late: list[str] = login["refresh_tokens"]
    telling.event("the server has redeemed and not answered yet")
    logout = stage.run("logout", "--account", "alice", "--json")
    during = stage.run("status", "--account", "alice")
    telling.event("now the answer comes, with new tokens")
    server.release()
    refreshed = refreshing.finish()
    stage.told(words, refreshed)
    afterwards = stage.run("status", "--account", "alice")
    alive = [*late, *server.login_of("alice")["refresh_tokens"]]
    evidence = Evidence(
        {
            "logout": logout.exit_code,
            "status": during.exit_code,
            "token": refreshed.exit_code,
            "status afterwards": afterwards.exit_code,
        },
        _outcomes(_report(logout.stdout)),
        len(late),
        len(refreshed.stdout),
        not stage.has_record("alice"),
        [
            each["status"]
            for each in server.requests(Endpoint.REVOKE)
            if each["parameters"].get("token") in late
        ],
        sum(server.admin.is_alive(each) for each in alive)
        + len(server.login_of("alice")["access_tokens"]),
    )
    telling.check(*checks(evidence))


def play_offline(stage: Stage, telling: Telling) -> None:
    """Signs bob out without the server; then looks at everything that is left."""
    server = stage.server
    server.go_offline()
    telling.event("the server closes its port")
    logout = stage.run("logout", "--account", "bob", "--json")
    status = stage.run("status", "--account", "bob")
    token = stage.run("token", "--account", "bob")
    server.go_online()
    telling.event("the server is back")
    report = _report(logout.stdout)
    evidence = EvidenceOffline(
        {"logout": logout.exit_code, "status": status.exit_code, "token": token.exit_code},
        _outcomes(report),
        "; ".join(step["detail"] for step in report.get("steps", []) if step["name"] == "revoke"),
        bool(report.get("complete")),
        not stage.has_record("bob"),
        len(server.login_of("bob")["refresh_tokens"]),
        search(stage.directory, server.secrets()),
    )
    telling.check(*checks_offline(evidence))


def checks(evidence: Evidence) -> list[Check]:
    """What has to be true of a sign-out that overtakes a refresh."""
    return [
        exits(
            "the session is over at once, the refresh still in flight",
            {"logout": 0, "status": 3},
            evidence.exit_codes,
        ),
        equal(
            "the report leaves the erasing to the refreshing process",
            ("done", "pending"),
            (evidence.steps.get("end"), evidence.steps.get("erase")),
            "steps end, erase",
        ),
        equal("a new refresh token was on its way", 1, evidence.late_tokens, "at the server"),
        exits("its process gets no session", {"token": 5}, evidence.exit_codes),
        equal("and prints no token", 0, evidence.printed, "bytes on its stdout"),
        exits("the session stays over", {"status afterwards": 3}, evidence.exit_codes),
        equal("its record is gone from the vault", True, evidence.is_record_gone, "gone"),
        equal(
            "the late token was revoked by name",
            [200],
            evidence.late_revocations,
            "the server's answers to that",
        ),
        equal("nothing of the login is alive there", 0, evidence.live_tokens, "live tokens"),
    ]


def checks_offline(evidence: EvidenceOffline) -> list[Check]:
    """What has to be true of a sign-out without the server."""
    return [
        exits(
            "signed out, and a new start finds nobody",
            {"logout": 0, "status": 3, "token": 5},
            evidence.exit_codes,
        ),
        equal(
            "everything here is done",
            ("done", "done"),
            (evidence.steps.get("end"), evidence.steps.get("erase")),
            "steps end, erase",
        ),
        equal("the record is gone from the vault", True, evidence.is_record_gone, "gone"),
        equal(
            "the report says what remains",
            ("failed", False),
            (evidence.steps.get("revoke"), evidence.is_complete),
            "step revoke, complete",
        ),
        contains("and why", "connection", evidence.details, "its detail"),
        equal(
            "which is true: the server still knows the login",
            1,
            evidence.live_refresh_tokens,
            "live refresh tokens there",
        ),
        nothing_found(evidence.search),
    ]


def _report(stdout: bytes) -> dict[str, Any]:
    return dict(json.loads(stdout or b"{}"))


def _outcomes(report: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["outcome"] for step in report.get("steps", [])}
