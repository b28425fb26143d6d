"""The authorization server as a process of its own, its remote control and its browser."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from support.wire import ask, authorization_url, refresh
from tokenkeep.testing.authorization_server import (
    Admin,
    AdminRefused,
    AuthorizationServer,
    Client,
    Drop,
    Endpoint,
    Grace,
    Hold,
    Policy,
    RevocationReach,
    Status,
    When,
)
from tokenkeep.testing.authorization_server.policy import policy_from_json, policy_to_json

MODULE = "tokenkeep.testing.authorization_server"


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """The server's process and its first line; its input closes at the end."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", MODULE, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


class _Client(BaseHTTPRequestHandler):
    """The loopback port of an application that waits for its redirect."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"you may close this window")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextlib.contextmanager
def waiting_client() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Handler", (_Client,), {"asked": asked})
    with HTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}/callback", asked
        finally:
            http.shutdown()
            thread.join()


# The process.


def test_the_process_says_who_it_is_and_ends_with_its_input() -> None:
    """One JSON line, then it serves until nobody holds its standard input any more."""
    with started("--policy", '{"grace_seconds": 10}') as (process, first):
        assert process.pid == first["pid"]
        admin = Admin(first["issuer"])
        token = admin.login()["refresh_token"]
        answers = [refresh(first["issuer"], token).json["refresh_token"] for _ in range(2)]
        assert answers[0] == answers[1]
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
        output, errors = process.communicate(timeout=10)
        assert (0, "", "") == (process.returncode, output, errors)


def test_the_process_ends_at_sigterm() -> None:
    """Politely and with 0."""
    with started() as (process, _):
        process.terminate()
        assert 0 == process.wait(timeout=10)


def test_the_process_goes_offline_and_back_on_orders_from_its_input() -> None:
    """Logout without a server, then the same server again, its memory intact."""
    with started() as (process, first):
        assert process.stdin is not None
        assert process.stdout is not None
        admin = Admin(first["issuer"])
        token = admin.login()["refresh_token"]
        process.stdin.write("offline\n")
        process.stdin.flush()
        assert {"online": False} == json.loads(process.stdout.readline())
        with pytest.raises(OSError, match="refused"):
            admin.counts()
        process.stdin.write("online\nnonsense\n")
        process.stdin.flush()
        assert {"online": True} == json.loads(process.stdout.readline())
        assert "error" in json.loads(process.stdout.readline())
        assert admin.is_alive(token)


@pytest.mark.parametrize("policy", ["[]", "{", '{"speed": 1}', '{"grace": "endless"}'])
def test_a_policy_that_is_none_is_a_usage_error(policy: str) -> None:
    """Exit 2, as argparse does it."""
    command = [sys.executable, "-m", MODULE, "--policy", policy]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL
    )
    assert (2, "") == (ended.returncode, ended.stdout)
    assert "--policy" in ended.stderr


def test_a_policy_survives_the_way_to_another_process() -> None:
    """Every field, through real JSON."""
    policy = Policy(
        clients=(Client("notes"), Client("web", secret="s")),
        grace=Grace.BRANCHING,
        grace_seconds=2.5,
        withheld_scopes=frozenset({"admin"}),
        extra_fields={"tenant": 7},
        revocation_reach=RevocationReach.CLIENT_AND_USER,
        device_interval=None,
    )
    assert policy == policy_from_json(json.loads(json.dumps(policy_to_json(policy))))


# The remote control.


def test_admin_sees_and_directs_everything() -> None:
    """What a test can do in process, another process can do through `Admin`."""
    with AuthorizationServer() as server:
        admin = Admin(server.issuer)
        tokens = admin.login("notes", user="bob", scope="notes", nonce=None)
        assert (True, True) == (
            admin.is_alive(tokens["refresh_token"]),
            admin.accepts(tokens["access_token"]),
        )
        admin.add_fault(Endpoint.TOKEN, Status(503, retry_after_seconds=1), times=2, skip=1)
        assert [200, 503] == [
            refresh(server.issuer, tokens["refresh_token"]).status for _ in range(2)
        ]
        admin.clear_faults()
        assert 400 == refresh(server.issuer, tokens["refresh_token"]).status
        assert (3, 1) == (admin.token_requests, admin.reuse_detected)
        assert server.token_requests == admin.counts()["token"]
        assert [True] == [family["revoked"] for family in admin.grants()]
        assert [[], []] == [admin.grants()[0][kind] for kind in ("refresh_tokens", "access_tokens")]
        seen = admin.requests()
        assert [200, 503, 400] == [each["status"] for each in seen]
        assert "notes" == seen[0]["parameters"]["client_id"]
        assert "/admin" not in {each["path"] for each in seen}


def test_admin_changes_time_policy_logins_and_devices() -> None:
    """The rest of its orders."""
    with AuthorizationServer() as server:
        admin = Admin(server.issuer)
        admin.set_policy(Policy(access_token_seconds=5, revocation_reach=RevocationReach.FAMILY))
        tokens = admin.login()
        assert 5 == tokens["expires_in"]
        admin.advance(5)
        assert not admin.accepts(tokens["access_token"])
        admin.revoke(tokens["refresh_token"])
        assert not admin.is_alive(tokens["refresh_token"])
        device = ask(f"{server.issuer}/device", {"client_id": "notes"}).json
        assert admin.deny_device(device["user_code"])
        assert admin.approve_device(device["user_code"], user="bob")
        assert not admin.approve_device("NONE-SUCH")


def test_admin_holds_and_releases_requests() -> None:
    """A crash in the middle can be staged from outside."""
    with AuthorizationServer() as server:
        admin = Admin(server.issuer)
        token = admin.login()["refresh_token"]
        admin.add_fault(Endpoint.TOKEN, Hold(When.AFTER), Drop(When.AFTER))
        assert not admin.wait_held(timeout=0.01)
        outcome: list[type[BaseException]] = []

        def lose_the_answer() -> None:
            try:
                refresh(server.issuer, token)
            except ConnectionError as exc:
                outcome.append(type(exc))

        caller = threading.Thread(target=lose_the_answer)
        caller.start()
        assert admin.wait_held()
        assert not admin.is_alive(token)
        admin.release()
        caller.join(10)
        assert 1 == len(outcome)


def test_admin_says_what_it_did_not_understand() -> None:
    """An order that means nothing is an error at the caller, and the server goes on."""
    with AuthorizationServer() as server:
        with pytest.raises(AdminRefused, match="no fault given"):
            Admin(server.issuer).add_fault(Endpoint.TOKEN)
        assert 0 == Admin(server.issuer).token_requests


def test_web_pages_cannot_give_orders() -> None:
    """A page in a real browser on this machine can neither send the type nor hide its origin."""
    with AuthorizationServer() as server:
        address = f"{server.issuer}/admin/counts"
        json_type = {"Content-Type": "application/json"}
        from_page = ask(address, {}, headers={**json_type, "Origin": "https://attacker.example"})
        assert [405, 405, 415] == [
            ask(address).status,
            from_page.status,
            ask(address, {}).status,
        ]
        assert 404 == ask(f"{server.issuer}/admin/nothing", {}, headers=json_type).status


# The browser.


def test_the_browser_goes_all_the_way_to_the_waiting_client() -> None:
    """Authorize, approve where a page asks, and deliver the redirect."""
    with waiting_client() as (redirect_uri, asked):
        for auto_approve in (True, False):
            with AuthorizationServer(Policy(auto_approve=auto_approve)) as server:
                url = authorization_url(server.issuer, redirect_uri=redirect_uri)
                assert 200 == server.drive_browser(url, user="bob")
        assert [True, True] == [each.startswith("/callback?code=") for each in asked]


def test_the_browser_is_a_command() -> None:
    """`BROWSER="python -m ...browser %s"` is all that a driven login needs."""
    with waiting_client() as (redirect_uri, asked), AuthorizationServer() as server:
        command = [sys.executable, "-W", "error", "-m", f"{MODULE}.browser"]
        ended = [
            subprocess.run(
                [*command, *arguments], capture_output=True, text=True, timeout=30, check=False
            )
            for arguments in (
                [authorization_url(server.issuer, redirect_uri=redirect_uri)],
                [authorization_url(server.issuer, redirect_uri="https://elsewhere.example/")],
                ["http://127.0.0.1:1/"],
                ["file:///etc/hostname"],
                [],
            )
        ]
        assert [0, 1, 1, 1, 2] == [each.returncode for each in ended]
        assert "" == ended[0].stdout + ended[0].stderr
        assert 1 == len(asked)
