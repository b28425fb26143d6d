"""Two logins: one through a browser, one by a code that is entered on another device."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tokenkeep.cli.demo.check import Check, equal, exits
from tokenkeep.cli.demo.children import Child, StoryError
from tokenkeep.cli.demo.server import CLIENT_ID
from tokenkeep.cli.demo.stage import Stage
from tokenkeep.cli.demo.telling import Telling
from tokenkeep.testing.authorization_server import Endpoint

TITLE = "sign in: alice through a browser, bob by a code on another device"

_USER_CODE = re.compile(r"\b[B-Z]{4}-[B-Z]{4}\b")
#: Address, code and time are three lines; what comes before them is warnings.
_MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the server saw of the two logins."""

    exit_codes: dict[str, int]
    challenge_methods: list[str]
    code_exchanges: int
    verified_exchanges: int
    is_code_approved: bool
    live_refresh_tokens: dict[str, int]


def play(stage: Stage, telling: Telling) -> None:
    """Signs both accounts in."""
    server = stage.server
    telling.event(f"an authorization server, pid {server.pid}, answers at {server.issuer}")
    telling.event("BROWSER is a program that follows redirects and approves")
    browser = sign_in(stage, "alice")
    words = ("login", *_provider(stage), "--account", "bob", "--device", "--timeout", "20")
    device = stage.start(*words)
    said, code = _read_code(device)
    telling.event(f"the command shows the code {code}; bob enters it elsewhere")
    is_approved = server.admin.approve_device(code, user="bob")
    by_device = device.finish()
    stage.told(words, replace(by_device, stderr=said + by_device.stderr))
    exchanges = [
        each["parameters"]
        for each in server.requests(Endpoint.TOKEN)
        if each["parameters"].get("grant_type") == "authorization_code"
    ]
    evidence = Evidence(
        {"login": browser, "login --device": by_device.exit_code},
        [
            each["parameters"].get("code_challenge_method", "none")
            for each in server.requests(Endpoint.AUTHORIZE)
        ],
        len(exchanges),
        sum("code_verifier" in each for each in exchanges),
        is_approved,
        {user: len(server.login_of(user)["refresh_tokens"]) for user in ("alice", "bob")},
    )
    telling.check(*checks(evidence))


def checks(evidence: Evidence) -> list[Check]:
    """What has to be true after the two logins."""
    return [
        exits(
            "both commands say that they signed in",
            {"login": 0, "login --device": 0},
            evidence.exit_codes,
        ),
        equal(
            "the browser was sent with a PKCE challenge",
            ["S256"],
            evidence.challenge_methods,
            "challenge methods the server saw",
        ),
        equal(
            "the code was exchanged once, with its verifier",
            (1, 1),
            (evidence.code_exchanges, evidence.verified_exchanges),
            "exchanges and verifiers the server saw",
        ),
        equal(
            "the server knew the code that was shown", True, evidence.is_code_approved, "approved"
        ),
        equal(
            "each has one live refresh token at the server",
            {"alice": 1, "bob": 1},
            evidence.live_refresh_tokens,
            "the server's count",
        ),
    ]


def sign_in(stage: Stage, account: str, *more: str) -> int:
    """Signs an account in through the driven browser; the exit code.

    Raises:
        StoryError: the server knows nothing of it though the command says so.
    """
    stage.server.change(user=account)
    ran = stage.run("login", *_provider(stage), "--account", account, *more, "--timeout", "20")
    if ran.exit_code == 0 and stage.server.login_of(account)["revoked"]:
        raise StoryError(f"{account} signed in, and the server knows only an ended login")
    return ran.exit_code


def _read_code(device: Child) -> tuple[str, str]:
    """What the command said up to the line with the code, and the code."""
    said = ""
    for _ in range(_MOST_LINES):
        line = device.error_line()
        said += f"{line}\n"
        found = _USER_CODE.search(line)
        if found is not None:
            return said, found[0]
    raise StoryError("the command showed no code")


def _provider(stage: Stage) -> tuple[str, ...]:
    return ("--issuer", stage.server.issuer, "--client-id", CLIENT_ID)
