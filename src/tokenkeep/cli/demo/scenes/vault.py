"""A vault of one's own: made by a command, readable by nobody else, nobody signed in."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from tokenkeep.cli.demo.check import Check, equal, exits
from tokenkeep.cli.demo.stage import Stage
from tokenkeep.cli.demo.telling import Telling

TITLE = "make a vault"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen; modes in octal."""

    exit_codes: dict[str, int]
    directory_mode: str
    file_modes: set[str]


def play(stage: Stage, telling: Telling) -> None:
    """Makes the vault that every other scene uses."""
    made = stage.run("vault", "create")
    opened = stage.run("status")
    files = [entry.path for entry in os.scandir(stage.vault)] + [stage.key]
    evidence = Evidence(
        {"vault create": made.exit_code, "status": opened.exit_code},
        _mode(stage.vault),
        {_mode(file) for file in files},
    )
    telling.check(*checks(evidence))


def checks(evidence: Evidence) -> list[Check]:
    """What has to be true of a new vault."""
    return [
        exits(
            "the vault was made, and nobody is signed in",
            {"vault create": 0, "status": 3},
            evidence.exit_codes,
        ),
        equal("the vault is for this user alone", "700", evidence.directory_mode, "its mode"),
        equal(
            "so are its files and the key file",
            "600",
            ", ".join(sorted(evidence.file_modes)),
            "their modes",
        ),
    ]


def _mode(path: str) -> str:
    return f"{stat.S_IMODE(os.lstat(path).st_mode):o}"
