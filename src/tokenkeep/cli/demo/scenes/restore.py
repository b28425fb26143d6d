"""Start again: the session is there without a network, and no file holds a token."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from tokenkeep.cli.demo.check import Check, equal, exits
from tokenkeep.cli.demo.stage import Stage
from tokenkeep.cli.demo.telling import Telling

TITLE = "start again, with the server offline"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What new processes found, and what the files hold."""

    exit_codes: dict[str, int]
    state: str
    is_accepted: bool
    token_requests: int
    search: Search


@dataclass(frozen=True, slots=True)
class Search:
    """Every byte of every file below a directory, searched for secrets."""

    secrets: int
    files: int
    size: int
    found_in: tuple[str, ...]


def play(stage: Stage, telling: Telling) -> None:
    """Restores alice's session in new processes, then searches the files."""
    server = stage.server
    before = server.admin.token_requests
    server.go_offline()
    telling.event("the server closes its port")
    status = stage.run("status", "--account", "alice", "--json")
    token = stage.run("token", "--account", "alice")
    server.go_online()
    telling.event("the server is back")
    evidence = Evidence(
        {"status": status.exit_code, "token": token.exit_code},
        str(json.loads(status.stdout or b"{}").get("state")),
        server.admin.accepts(token.stdout.decode()),
        server.admin.token_requests - before,
        search(stage.directory, server.secrets()),
    )
    telling.check(*checks(evidence))


def checks(evidence: Evidence) -> list[Check]:
    """What has to be true of a restart."""
    return [
        exits("both commands served", {"status": 0, "token": 0}, evidence.exit_codes),
        equal("the session is there", "active", evidence.state, "state"),
        equal(
            "the token that was printed is good", True, evidence.is_accepted, "the server accepts"
        ),
        equal("nothing was redeemed for it", 0, evidence.token_requests, "token requests"),
        nothing_found(evidence.search),
    ]


def nothing_found(searched: Search) -> Check:
    """No file holds a secret; a search for nothing, or in nothing, shows nothing."""
    claim = "no file holds a token or a code as the server knows it"
    evidence = (
        f"{searched.secrets} secrets sought in {searched.size} bytes of {searched.files} files, "
        f"found in: {', '.join(searched.found_in) or 'none'}"
    )
    was_looked = searched.secrets > 0 and searched.files > 0 and searched.size > 0
    return Check(claim, was_looked and not searched.found_in, evidence)


def search(directory: str, secrets: set[bytes]) -> Search:
    """Looks for the secrets in every file below a directory."""
    files = size = 0
    found_in = []
    for folder, _folders, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                content = file.read()
            files += 1
            size += len(content)
            if any(secret in content for secret in secrets):
                found_in.append(os.path.relpath(path, directory))
    return Search(len(secrets), files, size, tuple(found_in))
