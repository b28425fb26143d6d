"""A sign-out, a refresh and a login at once, over processes."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.children import Child, in_child
from support.sessions import Place
from tokenkeep.errors import SessionError
from tokenkeep.oauth import idtoken, transport
from tokenkeep.testing.authorization_server import (
    AuthorizationServer,
    Policy,
)


@pytest.mark.requires("fork")
@pytest.mark.parametrize(
    ("rounds", "with_login"),
    [(8, False), (8, True), pytest.param(200, True, marks=pytest.mark.load)],
)
@pytest.mark.timeout(300)
def test_logout_racing_a_refresh_and_a_login_over_processes(
    tmp_path: Path, rounds: int, with_login: bool
) -> None:
    """Afterwards no ended session is alive, and every late token is revoked or reported."""
    transport.preload()  # once, not in every child: it takes longer than all of a race
    idtoken.preload()
    dice = random.Random(rounds)
    happened: Counter[str] = Counter()
    with AuthorizationServer(Policy(access_token_seconds=3600)) as server:
        for number in range(rounds):
            directory = tmp_path / str(number)
            directory.mkdir()
            happened.update(race(Place(directory, server.issuer), server, dice, with_login))
        assert 0 == server.reuse_detected
    if rounds >= 200:  # or they never met, and nothing was proved
        assert happened["a late token"] >= 10, happened
        assert happened["the login came last"] >= 10, happened
        assert happened["the sign-out came last"] >= 10, happened


def race(
    place: Place, server: AuthorizationServer, dice: random.Random, with_login: bool
) -> set[str]:
    """Lets them race; what came of it, by which one knows that they really met."""
    first, second = server.login("notes"), server.login("notes")
    in_child(lambda: place.session().begin(first).value)
    # Without an ID token a login needs no network, and is as quick as a sign-out.
    anonymous = {name: value for name, value in second.items() if name != "id_token"}
    pauses = [dice.random() * longest for longest in (0.02, 0.08, 0.06)]
    gate_reading, gate_writing = os.pipe()
    ready_reading, ready_writing = os.pipe()

    def at_the_gate(pause: float, work: Callable[[Any, list[str]], object]) -> Callable[[], Any]:
        def run() -> tuple[object, list[str]]:
            os.close(gate_writing)
            session = place.session()
            session.restore()
            heard: list[str] = []
            session.on_change(lambda change: heard.append(change.reason))
            os.write(ready_writing, b".")
            os.read(gate_reading, 1)
            time.sleep(pause)
            answer = work(session, heard)
            session.close()
            return answer, heard

        return run

    def refreshing(session: Any, heard: list[str]) -> str:
        try:
            return str(session.access_token().session_id)
        except SessionError as exc:
            return exc.code

    def signing_out(session: Any, heard: list[str]) -> dict[str, str]:
        report = session.logout()
        return {step.name: f"{step.outcome} {step.detail}" for step in report.steps}

    def signing_in(session: Any, heard: list[str]) -> str:
        try:
            return str(session.begin(anonymous).value)
        except SessionError as exc:
            return f"{exc.code}: {exc}"

    works = [refreshing, signing_out, *([signing_in] if with_login else [])]
    children = [Child(at_the_gate(pause, work)) for pause, work in zip(pauses, works, strict=False)]
    for _ in children:
        os.read(ready_reading, 1)
    for end in (ready_reading, ready_writing, gate_reading, gate_writing):
        os.close(end)
    results = [child.result() for child in children]

    def look() -> tuple[str, str, str | None]:
        tokens = place.tokens()
        record, live = tokens.kept.stored(), tokens.kept.log.read().session_id
        session = place.session()
        state = session.restore().value
        token = None
        if state == "active":
            token = session.access_token().session_id
        return state, "" if record is None else record.session_id, live if token else None

    state, recorded, live = in_child(look)
    old = server.family_of(str(first["refresh_token"]))
    new = server.family_of(str(second["refresh_token"]))
    assert old is not None
    assert new is not None
    told = str(results)
    assert results[1][0]["end"].startswith("done"), told
    if state == "active":
        assert with_login, told
        assert recorded == live, told
        assert not new.revoked, told
    else:
        assert "signed out" == state, told
    happened = {f"the {'login' if state == 'active' else 'sign-out'} came last"}
    if any(reason.startswith("a late token") for reason in results[0][1]):
        happened.add("a late token")
    if not with_login:
        assert "" == recorded, told
        assert old.revoked, told
        return happened
    if state != "active":
        assert new.revoked, told
    if not was_replaced_by_login(place):
        # The sign-out ended it: revoked, or one of the two who had its tokens says why not.
        said = [results[1][0]["revoke"], *results[0][1]]
        assert old.revoked or any("because a newer session" in each for each in said), told
    return happened


def was_replaced_by_login(place: Place) -> bool:
    """Whether the second login, not the sign-out, ended the first session."""
    lines = Path(place.tokens().kept.log.path).read_text().splitlines()
    words = [" ".join(line.split()[:2]) for line in lines]
    if words.count("end login") < 2:
        return False
    return words.index("end login", 1) < words.index("end logout")
