"""A session on the command line: real processes, a real server, real HTTP."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from cli.conftest import Server, StartServer, sign_in
from cli.shell import Shell, kill
from support.driven_browser import BROWSER
from tokenkeep import KeyFile, Provider, SecureStorage, Session, State, TokenStorage, VaultOptions
from tokenkeep.testing.authorization_server import (
    Delay,
    Endpoint,
    Hold,
    When,
    WithFields,
)

pytestmark = pytest.mark.requires("terminal")


def test_a_first_session(shell_with_vault: Shell, start_server: StartServer) -> None:
    """Sign in by the browser, look, get a token, sign out."""
    server = start_server()
    shell_with_vault.variables |= {
        "BROWSER": BROWSER,
        "TOKENKEEP_ISSUER": server.issuer,
        "TOKENKEEP_CLIENT_ID": "notes",
    }
    shell_with_vault.plays(f"""
        $ tokenkeep status
        account: default
        state: signed out
        reason: no session is stored
        hint: tokenkeep login
        [3]
        $ tokenkeep token
        error: login required: absent
        hint: tokenkeep login
        [5]
        $ tokenkeep login
        waiting for the browser; if none opens, open
        {server.issuer}/authorize?...
        signed in as alice, account default
        $ tokenkeep status
        account: default
        state: active
        reason: signed in
        issuer: {server.issuer}
        client: notes
        subject: alice
        scope: openid offline_access
        generation: 1
        refreshes: yes
        access token seconds: ...
        $ tokenkeep token | wc -l
        0
        $ tokenkeep accounts
        default
        $ tokenkeep logout
        end: done
        cancel: not needed
        erase: done
        caches: not needed
        revoke: done (revoked at the provider)
        $ tokenkeep logout
        end: done
        cancel: not needed
        erase: done
        caches: not needed
        revoke: not needed (no session was stored)
        $ tokenkeep accounts
        $ tokenkeep token
        error: login required: absent
        hint: tokenkeep login
        [5]
    """)
    assert [] == [grant for grant in server.admin.grants() if not grant["revoked"]]


@pytest.mark.parametrize("end", ["", " &"])
def test_what_the_browser_says_is_not_among_our_data(
    shell_with_vault: Shell, start_server: StartServer, end: str
) -> None:
    """stdout holds what was asked for, whatever the browser writes on its own."""
    server = start_server()
    program = shell_with_vault.home / "browser"
    program.write_text('#!/bin/sh\necho HELLO "$1"\n' + BROWSER.replace("%s", '"$1"\n'))
    program.chmod(0o755)
    words = ("login", "--json", "--issuer", server.issuer, "--client-id", "notes")
    answer = shell_with_vault.tokenkeep(*words, BROWSER=f"{program} %s{end}")
    assert 0 == answer.code, answer.err
    assert "alice" == json.loads(answer.out)["subject"]
    assert f"HELLO {server.issuer}/authorize?" in answer.err


def test_a_fresh_token_needs_no_network(signed_in: tuple[Shell, Server]) -> None:
    """Printing the shared token asks nobody, and it is the same one in every process."""
    shell, server = signed_in
    before = server.admin.token_requests
    tokens = {shell.tokenkeep("token").out for _ in range(3)}
    as_json = json.loads(shell.tokenkeep("token", "--json").out)
    assert {as_json["access_token"].encode()} == tokens
    assert 200 < as_json["expires_in"] <= 300
    assert before == server.admin.token_requests
    assert server.admin.accepts(as_json["access_token"])


def test_a_token_is_refreshed_for_who_needs_it_longer(signed_in: tuple[Shell, Server]) -> None:
    """`--min-ttl` beyond what is left refreshes once, flag or environment."""
    shell, server = signed_in
    time.sleep(1.1)
    first = shell.tokenkeep("token").out
    assert first == shell.tokenkeep("token", "--min-ttl", "60").out
    second = shell.tokenkeep("token", "--min-ttl", "299.5").out
    assert first != second
    time.sleep(1.1)
    assert second != shell.tokenkeep("token", TOKENKEEP_MIN_TTL="299.5").out
    assert 3 == server.admin.token_requests


def test_patience_with_the_store_does_not_cut_a_refresh_short(
    signed_in: tuple[Shell, Server],
) -> None:
    """`--timeout` is for one call into the store, with every verb; a refresh has its own."""
    shell, server = signed_in
    server.admin.add_fault(Endpoint.TOKEN, Delay(When.BEFORE, 4.0))
    time.sleep(1.1)
    answer = shell.tokenkeep("--timeout", "3", "token", "--min-ttl", "299.5")
    assert (0, "") == (answer.code, answer.err)


def test_twelve_processes_meet_one_expired_token(
    shell_with_vault: Shell, start_server: StartServer
) -> None:
    """However many processes ask at once, the refresh token is redeemed once."""
    shell, server = shell_with_vault, start_server(access_token_seconds=2)
    sign_in(shell, server)
    time.sleep(2)
    before = server.admin.token_requests
    # Slow enough that all of them meet it; long enough a life that none expires meanwhile.
    server.admin.add_fault(Endpoint.TOKEN, Delay(When.BEFORE, 2.0), WithFields({"expires_in": 300}))
    herd = [shell.start("token") for _ in range(12)]
    answers = [process.communicate(timeout=120) for process in herd]
    assert [0] * 12 == [process.returncode for process in herd], answers
    assert 1 == len({out for out, _err in answers})
    assert before + 1 == server.admin.token_requests
    assert 0 == server.admin.reuse_detected


def test_empty_account_is_never_the_default_one(signed_in: tuple[Shell, Server]) -> None:
    """`--account "$UNSET"` must not sign somebody else out; an empty variable is not set."""
    shell, _server = signed_in
    for verb in ("logout", "status", "token"):
        answer = shell.tokenkeep(verb, "--account", "")
        assert 1 == answer.code
        assert "error: an account must not be empty\nhint: --account NAME\n" == answer.err
        answer = shell.tokenkeep(verb, "--app", "")
        assert (1, "error: a service must not be empty\nhint: --app SERVICE\n") == (
            *(answer.code, answer.err),
        )
    assert 0 == shell.tokenkeep("status").code


def test_a_scope_is_a_list_wherever_it_is_json(signed_in: tuple[Shell, Server]) -> None:
    """One shape, whichever verb says it; a person reads it as the standard writes it."""
    shell, _server = signed_in
    scope = ["openid", "offline_access"]
    assert scope == json.loads(shell.tokenkeep("status", "--json").out)["scope"]
    assert scope == json.loads(shell.tokenkeep("token", "--json").out)["scope"]
    assert scope == json.loads(shell.tokenkeep("accounts", "--json").out)[0]["scope"]
    assert scope == json.loads(shell.tokenkeep("doctor", "--json").out)["sessions"][0]["scope"]


def test_accounts_are_sessions_of_their_own(signed_in: tuple[Shell, Server]) -> None:
    """Two accounts sign in and out without touching each other."""
    shell, server = signed_in
    sign_in(shell, server, "--account", "bob")
    assert b"bob\ndefault\n" == shell.tokenkeep("accounts").out
    assert shell.tokenkeep("token").out != shell.tokenkeep("token", "--account", "bob").out
    assert 0 == shell.tokenkeep("logout", TOKENKEEP_ACCOUNT="bob").code
    assert b"default\n" == shell.tokenkeep("accounts").out
    assert 0 == shell.tokenkeep("token").code
    assert 5 == shell.tokenkeep("token", "--account", "bob").code
    found = json.loads(shell.tokenkeep("accounts", "--json").out)
    assert [("default", "active")] == [(each["account"], each["state"]) for each in found]
    assert b"" == shell.tokenkeep("--app", "other", "accounts").out


def test_clear_ends_every_session(signed_in: tuple[Shell, Server]) -> None:
    """What erases everything leaves nobody signed in."""
    shell, _server = signed_in
    answer = shell.tokenkeep("clear", "--yes")
    assert (0, "items erased: 0\nsessions ended: 1\n") == (answer.code, answer.err)
    answer = shell.tokenkeep("clear", "--yes")
    assert (0, "items erased: 0\nsessions ended: 0\n") == (answer.code, answer.err)
    assert 3 == shell.tokenkeep("status").code


def test_a_device_code_is_shown_on_stderr(
    shell_with_vault: Shell, start_server: StartServer
) -> None:
    """Without a browser here, a code for another device; stdout stays empty for data."""
    server = start_server(device_polls_until_approved=1)
    answer = shell_with_vault.tokenkeep(
        *("login", "--device", "--issuer", server.issuer, "--client-id", "notes"),
        *("--timeout", "100"),
    )
    assert (0, b"") == (answer.code, answer.out)
    assert "within 100 s\n" in answer.err, "the code itself would live longer"
    assert f"open   {server.issuer}/activate\n" in answer.err
    assert re.search(r"^enter  \w{4}-\w{4}$", answer.err, re.MULTILINE)
    assert 0 == shell_with_vault.tokenkeep("token").code


def test_signing_out_works_offline_and_says_what_remains(signed_in: tuple[Shell, Server]) -> None:
    """The session is over though the provider could not be told; exit 0, and a report."""
    shell, server = signed_in
    server.goes("offline")
    answer = shell.tokenkeep("logout", "--json")
    report = json.loads(answer.out)
    outcomes = {step["name"]: step["outcome"] for step in report["steps"]}
    assert (0, False) == (answer.code, report["complete"])
    assert ("done", "done", "failed") == (outcomes["end"], outcomes["erase"], outcomes["revoke"])
    assert 3 == shell.tokenkeep("status").code
    server.goes("online")
    assert 5 == shell.tokenkeep("token").code


def test_signing_out_works_where_the_record_cannot_be_read(
    signed_in: tuple[Shell, Server], tmp_path: Path
) -> None:
    """Without the key nobody can read the record; the log ends the session all the same."""
    shell, _server = signed_in
    key = shell.home / ".config" / "tokenkeep" / "vault.key"
    key.rename(tmp_path / "key")
    answer = shell.tokenkeep("logout")
    assert 0 == answer.code
    assert b"end: done\n" in answer.out
    assert b"erase: failed (vault-key-missing: " in answer.out
    assert b"; the record is dead already)\n" in answer.out
    assert b"revoke: failed (the token could not be read: vault-key-missing" in answer.out
    (tmp_path / "key").rename(key)
    assert 3 == shell.tokenkeep("status").code
    assert 5 == shell.tokenkeep("token").code


@pytest.mark.parametrize("file", ["nothing", "open to others", "empty", "binary", "a directory"])
def test_signing_out_needs_no_client_secret_that_can_be_read(
    shell_with_vault: Shell, start_server: StartServer, file: str
) -> None:
    """The session is over here before the file is looked at; the report says what remains."""
    shell, files = shell_with_vault, shell_with_vault.home / "files"
    server = start_server(clients=[{"client_id": "web", "secret": "s3cret-of-web"}])
    (files / "a directory").mkdir(parents=True)
    contents = {"good": b"s3cret-of-web\n", "open to others": b"s", "empty": b"", "binary": b"\xff"}
    for name, content in contents.items():
        (files / name).write_bytes(content)
        (files / name).chmod(0o644 if name == "open to others" else 0o600)
    words = ("login", "--issuer", server.issuer, "--client-id", "web")
    good = str(files / "good")
    assert 0 == shell.tokenkeep(*words, "--client-secret-file", good, BROWSER=BROWSER).code
    answer = shell.tokenkeep("logout", "--json", TOKENKEEP_CLIENT_SECRET_FILE=str(files / file))
    assert (0, "") == (answer.code, answer.err)
    report = json.loads(answer.out)
    assert not report["complete"]
    steps = {step["name"]: step["outcome"] for step in report["steps"]}
    assert {"end": "done", "erase": "done", "revoke": "failed"}.items() <= steps.items()
    assert ("secret" if file == "binary" else file) in report["steps"][-1]["detail"]
    assert 3 == shell.tokenkeep("status").code


def test_a_fresh_token_serves_while_the_provider_is_away(signed_in: tuple[Shell, Server]) -> None:
    """Offline, the token that is still good is printed; one that must be newer is not to be had."""
    shell, server = signed_in
    server.goes("offline")
    assert 0 == shell.tokenkeep("token").code
    assert 0 == shell.tokenkeep("status").code
    time.sleep(1.1)
    answer = shell.tokenkeep("token", "--min-ttl", "299.5")
    assert (4, b"") == (answer.code, answer.out)
    assert answer.err.startswith("error: ")
    assert answer.err.endswith("\nhint: try again later: the session is kept\n")
    server.goes("online")
    assert 0 == shell.tokenkeep("token", "--min-ttl", "299.5").code


def test_a_process_killed_between_redemption_and_write_leaves_an_honest_answer(
    shell_with_vault: Shell, start_server: StartServer
) -> None:
    """Nobody knows whether the token is spent: the next start says so and sends nothing."""
    shell, server = shell_with_vault, start_server(access_token_seconds=2)
    sign_in(shell, server)
    time.sleep(2)
    server.admin.add_fault(Endpoint.TOKEN, Hold(When.AFTER))
    victim = shell.start("token")
    assert server.admin.wait_held(1, timeout=30)
    kill(victim)
    server.admin.clear_faults()
    before = server.admin.token_requests
    answer = shell.tokenkeep("token")
    assert (5, b"") == (answer.code, answer.out)
    assert "may be spent" in answer.err
    assert "hint: tokenkeep token --retry-uncertain, or tokenkeep login" in answer.err
    status = shell.tokenkeep("status", "--json")
    assert (5, "uncertain") == (status.code, json.loads(status.out)["state"])
    assert 5 == shell.tokenkeep("doctor").code
    assert before == server.admin.token_requests
    # A strict server takes the confirmed attempt for theft; that is an answer too.
    answer = shell.tokenkeep("token", "--retry-uncertain")
    assert 5 == answer.code
    assert "login required: reused" in answer.err
    assert 1 == server.admin.reuse_detected
    answer = shell.tokenkeep("status")
    assert (5, True) == (answer.code, b"state: login required" in answer.out)
    sign_in(shell, server)
    assert 0 == shell.tokenkeep("token").code


def test_within_the_replay_window_a_killed_redemption_is_repeated(
    shell_with_vault: Shell, start_server: StartServer
) -> None:
    """What `login --replay-window` said of the provider holds for every later process."""
    shell = shell_with_vault
    server = start_server(access_token_seconds=2, grace_seconds=60)
    sign_in(shell, server, "--replay-window", "60")
    time.sleep(2)
    server.admin.add_fault(Endpoint.TOKEN, Hold(When.AFTER))
    victim = shell.start("token")
    assert server.admin.wait_held(1, timeout=30)
    kill(victim)
    server.admin.clear_faults()
    answer = shell.tokenkeep("token")
    assert 0 == answer.code, answer.err
    assert server.admin.accepts(answer.out.decode())


def test_a_login_that_cannot_be_saved_is_no_login(signed_in: tuple[Shell, Server]) -> None:
    """A session that would end with the command is ended properly: no grant is left."""
    shell, server = signed_in
    shell.tokenkeep("logout")
    vault = shell.home / ".local" / "share" / "tokenkeep" / "vault"
    lock = vault / "lock"
    lock.unlink()
    lock.mkdir(mode=0o700)  # no write can have its lock; every read goes on
    answer = shell.tokenkeep(
        *("login", "--issuer", server.issuer, "--client-id", "notes"), BROWSER=BROWSER
    )
    assert 1 == answer.code, answer.err
    assert "could not be saved and was ended again" in answer.err
    assert [] == [grant for grant in server.admin.grants() if not grant["revoked"]]
    assert 3 == shell.tokenkeep("status").code


def test_the_command_line_and_python_share_a_session(signed_in: tuple[Shell, Server]) -> None:
    """The same application and account are the same session, whoever asks."""
    shell, server = signed_in
    options = VaultOptions(
        shell.home / ".local" / "share" / "tokenkeep" / "vault",
        KeyFile(shell.home / ".config" / "tokenkeep" / "vault.key"),
    )
    provider = Provider(server.issuer, client_id="notes")
    with SecureStorage("org.example.notes", options) as storage:
        tokens = TokenStorage(storage)
        with Session(provider, tokens, share_access_tokens=True) as session:
            assert State.ACTIVE is session.restore()
            assert session.access_token().reveal_bytes() == shell.tokenkeep("token").out
            assert 0 == shell.tokenkeep("logout").code
            assert State.SIGNED_OUT is session.restore()


def test_a_refresh_on_the_command_line_is_asked_for_as_in_python(
    shell_with_vault: Shell, start_server: StartServer
) -> None:
    """What the application says of its provider goes with the session: token parameters too."""
    shell, server = shell_with_vault, start_server(access_token_seconds=2)
    options = VaultOptions(
        shell.home / ".local" / "share" / "tokenkeep" / "vault",
        KeyFile(shell.home / ".config" / "tokenkeep" / "vault.key"),
    )
    provider = Provider(
        server.issuer, client_id="notes", token_parameters={"resource": "https://api.example"}
    )
    with (
        SecureStorage("org.example.notes", options) as storage,
        Session(provider, TokenStorage(storage), share_access_tokens=True) as session,
    ):
        session.begin(server.admin.login())
    time.sleep(2)
    assert 0 == shell.tokenkeep("token").code
    time.sleep(2)
    assert 0 == shell.tokenkeep("token").code, "a refresh loses nothing of it"
    seen = [each for each in server.admin.requests() if each["endpoint"] == "token"]
    assert ["https://api.example"] * 2 == [each["parameters"]["resource"] for each in seen]


def test_the_client_secret_comes_from_a_file(
    shell_with_vault: Shell, start_server: StartServer
) -> None:
    """A confidential client's secret is read where it is needed and never kept or shown."""
    shell = shell_with_vault
    server = start_server(
        access_token_seconds=2, clients=[{"client_id": "web", "secret": "s3cret-of-web"}]
    )
    file = shell.home / "client"
    file.write_text("s3cret-of-web\n")
    file.chmod(0o600)
    words = ("login", "--issuer", server.issuer, "--client-id", "web")
    answer = shell.tokenkeep(*words, "--client-secret-file", str(file), BROWSER=BROWSER)
    assert 0 == answer.code, answer.err
    time.sleep(2)
    assert 1 == shell.tokenkeep("token").code
    assert 0 == shell.tokenkeep("token", "--client-secret-file", str(file)).code
    time.sleep(2)
    assert 0 == shell.tokenkeep("token", TOKENKEEP_CLIENT_SECRET_FILE=str(file)).code
    time.sleep(2)
    answer = shell.tokenkeep("token", "--client-secret-file", "missing")
    assert (6, True) == (answer.code, "no such client secret file" in answer.err), answer.err


def test_deleting_the_state_directory_signs_out(signed_in: tuple[Shell, Server]) -> None:
    """A record without its log was left by an installation that is gone."""
    shell, _server = signed_in
    (shell.home / ".local" / "state" / "tokenkeep").rename(shell.home / "gone")
    answer = shell.tokenkeep("status")
    assert (3, True) == (answer.code, b"left over from an installation" in answer.out)
    assert 5 == shell.tokenkeep("token").code


def test_a_clock_set_back_a_day_ends_no_session(signed_in: tuple[Shell, Server]) -> None:
    """Within one boot the monotonic clock answers, whatever the wall clock says."""
    shell, _server = signed_in
    token = shell.tokenkeep("token").out
    program = (
        "import sys, time; back = time.time() - 86400; time.time = lambda: back;"
        "from tokenkeep.cli.main import run; sys.exit(run(['token']))"
    )
    (shell.home / "back.py").write_text(program)
    shell.plays(f"$ python back.py; echo\n{token.decode()}")
