"""A shell with a home of its own, and an authorization server as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.shell import Shell
from support.driven_browser import BROWSER
from tokenkeep.testing.authorization_server import Admin


@pytest.fixture
def shell(home: Path) -> Shell:
    return Shell(home)


@pytest.fixture
def shell_with_vault(shell: Shell) -> Shell:
    assert shell.tokenkeep("vault", "create").code == 0
    shell.variables["TOKENKEEP_APP"] = "org.example.notes"
    return shell


@dataclass(frozen=True)
class Server:
    """A running authorization server: its address, its remote control, its port's switch."""

    issuer: str
    admin: Admin
    process: subprocess.Popen[str]

    def goes(self, order: str) -> None:
        """Takes it "offline" or "online"."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        assert {"online": order == "online"} == json.loads(self.process.stdout.readline())


StartServer = Callable[..., Server]


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    started: list[subprocess.Popen[str]] = []

    def start(**policy: object) -> Server:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tokenkeep.testing.authorization_server"),
                *("--policy", json.dumps(policy)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        issuer = json.loads(process.stdout.readline())["issuer"]
        return Server(issuer, Admin(issuer), process)

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture
def signed_in(shell_with_vault: Shell, start_server: StartServer) -> tuple[Shell, Server]:
    """A shell whose default account is signed in; access tokens live for five minutes."""
    server = start_server()
    sign_in(shell_with_vault, server)
    return shell_with_vault, server


def sign_in(shell: Shell, server: Server, *words: str) -> None:
    """Signs in through a driven browser."""
    answer = shell.tokenkeep(
        *("login", "--issuer", server.issuer, "--client-id", "notes", *words), BROWSER=BROWSER
    )
    assert (0, b"") == (answer.code, answer.out), answer.err
