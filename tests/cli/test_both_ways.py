"""The short way of the two hot verbs and click's way are one: same output, same exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from cli.conftest import Server
from cli.shell import Shell
from tokenkeep.cli.main import straight_form

pytestmark = pytest.mark.requires("terminal")

#: Runs the command line past the short way.
ROUNDABOUT = (
    "import sys; from tokenkeep.cli import main; main.straight_form = lambda words: None;"
    "sys.exit(main.main())"
)

HOT = [
    ["get", "name"],
    ["get", "missing"],
    ["get", ""],
    ["get", "n" * 300],
    ["get", os.fsdecode(b"\xff")],
    ["--app", "org.other", "get", "name"],
    ["get", "name", "--app=org.example.notes"],
    ["get", "name", "--app="],
    ["--timeout", "x", "get", "name"],
    ["--timeout=3", "get", "name"],
    ["--store", "memory", "get", "name"],
    ["--store", "vault:nowhere", "get", "name"],
    ["--store", "auto", "get", "name"],
    ["--key-file", "nothing", "get", "name"],
    ["--passphrase-file", "nothing", "get", "name"],
    ["--key-file", "a", "--passphrase-file", "b", "get", "name"],
    ["token"],
    ["token", "--account", "default"],
    ["token", "--account=bob"],
    ["token", "--account", ""],
    ["token", "--min-ttl", "10"],
    ["token", "--min-ttl=-3"],
    ["token", "--min-ttl", "nan"],
    ["--app", "org.other", "token"],
    ["token", "--store=vault:nowhere"],
]


def test_both_ways_answer_alike(signed_in: tuple[Shell, Server]) -> None:
    """Every plain form, right or wrong, gives the same bytes, words and code either way."""
    shell, _server = signed_in
    shell.tokenkeep("set", "name", stdin=b"value")
    differing, codes = [], set()
    for words in HOT:
        assert straight_form(words) is not None, words
        encoded = [os.fsencode(word) for word in words]
        straight = shell.tokenkeep(*encoded)
        done = subprocess.run(
            [sys.executable, "-c", ROUNDABOUT, *encoded],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            cwd=shell.home,
            env=shell.environment,
            timeout=60,
        )
        around = (done.returncode, done.stdout, done.stderr.decode())
        codes.add(straight.code)
        if (straight.code, straight.out, straight.err) != around:
            differing.append((words, straight, around))
    assert [] == differing
    assert {0, 1, 2, 3, 5, 6, 7} == codes


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["list"],
        ["get"],
        ["get", "a", "b"],
        ["get", "--", "-a"],
        ["get", "--help"],
        ["--json", "get", "a"],
        ["get", "a", "--app"],
        ["--app", "x", "--app", "y", "get", "a"],
        ["get", "a", "--account", "b"],
        ["--account", "b", "token"],
        ["token", "a"],
        ["token", "--json"],
        ["token", "--retry-uncertain"],
        ["token", "-x"],
        ["--version"],
        ["-"],
    ],
    ids=" ".join,
)
def test_what_is_unusual_is_left_to_click(words: list[str]) -> None:
    """The short way takes only what it fully understands."""
    assert straight_form(words) is None


def test_unusual_forms_of_the_hot_verbs_work(signed_in: tuple[Shell, Server]) -> None:
    """What the short way does not take, click does."""
    shell, _server = signed_in
    shell.tokenkeep("set", "--", "-name", stdin=b"value")
    assert b"value" == shell.tokenkeep("get", "--", "-name").out
    assert (
        b"value"
        == shell.tokenkeep(
            "--json", "--app", "x", "--app", "org.example.notes", "get", "--", "-name"
        ).out
    )
    token = shell.tokenkeep("token").out
    assert token.decode() == json.loads(shell.tokenkeep("--json", "token").out)["access_token"]
    assert 2 == shell.tokenkeep("get").code
    assert 2 == shell.tokenkeep("token", "extra").code
