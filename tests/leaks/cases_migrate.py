"""Migrations on their failing paths: damaged files, places that fail, values that differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from leaks.cases import SECRET, Case
from migrate.places import Crash, storage_in
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.errors import SecretInvalidated, StoreFull
from tokenkeep.migrate.dotenv import DotenvSource
from tokenkeep.migrate.flutter_windows import flutter_windows
from tokenkeep.migrate.keyring import KeyringSource
from tokenkeep.migrate.migration import Migration
from tokenkeep.migrate.netrc import NetrcSource
from tokenkeep.secret import Secret
from tokenkeep.testing.faulty import Fails, FaultyStore

ENV = f"A={SECRET}\nB=${{A}}\n"


def dotenv(content: str, act: Callable[[DotenvSource], object]) -> Callable[[Path], object]:
    def run(place: Path) -> object:
        (place / ".env").write_text(content)
        return act(DotenvSource(place / ".env"))

    return run


def netrc(content: str, act: Callable[[NetrcSource], object]) -> Callable[[Path], object]:
    def run(place: Path) -> object:
        (place / "netrc").write_text(content)
        return act(NetrcSource(place / "netrc"))

    return run


def flutter(content: str) -> Callable[[Path], object]:
    def run(place: Path) -> object:
        (place / "file").write_text(content)
        return flutter_windows(place / "file", Secret, Secret.reveal_bytes).read("a")

    return run


def no_room(place: Path) -> object:
    """The rest of a file that was changed under our hands."""
    path = place / "file"
    path.write_text(json.dumps({"a": SECRET, "b": SECRET}))

    def protect(value: Secret) -> bytes:
        path.write_text(json.dumps({"c": SECRET}))
        return value.reveal_bytes()

    return flutter_windows(path, Secret, protect).remove("a")


class Backend:
    """What keyring might have for a backend."""

    def get_password(self, service: str, username: str) -> NoReturn:
        password = SECRET
        raise RuntimeError(f"could not decode {password}")


def migration(**changes: object) -> Callable[[Path], object]:
    """A migration into a place that fails at one call, or is killed at one step."""

    def run(place: Path) -> object:
        (place / ".env").write_text(f"A={SECRET}\n")
        inner = MemoryStore()
        storage_in(place, inner, **({"A": "other" + SECRET} if "existing" in changes else {}))
        faults = {changes["fails"]: Fails(StoreFull)} if "fails" in changes else {}
        target = storage_in(place, FaultyStore(inner, faults))  # type: ignore[arg-type]

        def step(name: str) -> None:
            if name == changes.get("step"):
                raise RuntimeError from Crash()

        return Migration(DotenvSource(place / ".env"), target, step=step).run()

    return run


def unprotect(data: bytes) -> NoReturn:
    raise SecretInvalidated


def of_another_machine(place: Path) -> object:
    (place / "file").write_text(SECRET)
    return flutter_windows(place / "file", unprotect, Secret.reveal_bytes).names()


def keyring(_place: Path) -> object:
    return KeyringSource("service", ["ada"], backend=Backend()).read("ada")


CASES = [
    Case("dotenv: a damaged line", dotenv(f"A='{SECRET}\n", DotenvSource.names), True),
    Case("dotenv: a reference", dotenv(ENV, lambda source: source.remove("A")), True),
    Case(
        "dotenv: depends on the environment",
        dotenv(f"A={SECRET}${{B}}\n", lambda source: source.read("A")),
        True,
    ),
    Case(
        "dotenv: a hidden value",
        dotenv(f"A={SECRET}\nA={SECRET}2\n", lambda source: source.remove("A")),
        True,
    ),
    Case("netrc: damaged", netrc(f"machine a login b {SECRET} c\n", NetrcSource.names), True),
    Case(
        "netrc: two passwords",
        netrc(
            f"machine a login b account {SECRET} password {SECRET}\n",
            lambda source: source.remove("b@a"),
        ),
        True,
    ),
    Case(
        "netrc: a hidden password",
        netrc(
            f"machine a login b password {SECRET}\nmachine a login c password {SECRET}\n",
            lambda source: source.remove("c@a"),
        ),
        True,
    ),
    Case(
        "netrc: two passwords of one name",
        netrc(f"machine b@a password {SECRET}\nmachine a login b password x\n", NetrcSource.names),
        True,
    ),
    Case("flutter: no JSON", flutter(f'{{"a":"{SECRET}"'), True),
    Case("flutter: no texts", flutter(f'{{"a":"{SECRET}","b":1}}'), True),
    Case("flutter: a hidden value", flutter(f'{{"a":"{SECRET}","a":"b"}}'), True),
    Case("flutter: changed meanwhile", no_room, True),
    Case("flutter: another machine's", of_another_machine, True),
    Case("keyring: a backend fails", keyring),
    Case("migration: a conflict", migration(existing=True), True),
    Case("migration: no room", migration(fails="replace"), True),
    *(
        Case(f"migration: killed before {step!r}", migration(step=step), True)
        for step in ("start", "key", "names", "intend", "write", "wrote", "copied")
    ),
]
