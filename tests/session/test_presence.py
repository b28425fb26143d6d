"""A session and a gate on one storage: refreshing in the background never asks for a person."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from support.sessions import Place, expire
from support.waiting import eventually
from tokenkeep import Session, State
from tokenkeep.errors import PresenceDenied
from tokenkeep.item import Call
from tokenkeep.presence.gate import PresenceGate
from tokenkeep.testing.authorization_server import AuthorizationServer
from tokenkeep.testing.clock import FakeClock


class Nobody:
    """Nobody is at the device; counts how often somebody was looked for."""

    name = "nobody"

    def __init__(self) -> None:
        self.asked = 0
        self.is_asking = threading.Event()
        self.gives_up = threading.Event()
        self.gives_up.set()

    def verify(self, reason: str, call: Call) -> None:
        self.asked += 1
        self.is_asking.set()
        self.gives_up.wait(20)
        raise PresenceDenied(reason="timed out")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class House:
    """One storage with a gate in front of all its items, and the session kept in it as well."""

    def __init__(self, place: Place, server: AuthorizationServer) -> None:
        self.place = place
        self.tokens = place.tokens()
        self.nobody = Nobody()
        self.gate = PresenceGate(self.tokens.kept.storage, self.nobody)
        self.gate.write("pin", "1234")
        self.session = place.signed_in(server, tokens=self.tokens)

    def require_shut(self) -> None:
        """The gate refuses, before and after: else nothing would be proved."""
        before = self.nobody.asked
        for read in (lambda: self.gate.read("pin"), self.gate.read_all):
            with pytest.raises(PresenceDenied):
                read()
        assert 2 == self.nobody.asked - before
        self.nobody.asked = 0
        self.nobody.is_asking.clear()


@pytest.fixture
def house(place: Place, server: AuthorizationServer) -> House:
    return House(place, server)


def behind_a_valid_token(house: House, clock: FakeClock) -> Session:
    """In the advisory window the caller goes on with what it has, and a thread of ours renews."""
    clock.advance(260)
    assert 1 == house.session.access_token().generation
    eventually(lambda: house.session.access_token().generation == 2)
    return house.session


def in_flight(house: House, clock: FakeClock) -> Session:
    expire(clock)
    assert 2 == house.session.refresh_in_flight().result(10).generation
    return house.session


def after_a_401(house: House, clock: FakeClock) -> Session:
    rejected = house.session.access_token()
    renewed = house.session.token_after_401(rejected)
    assert renewed is not None
    assert 2 == renewed.generation
    return house.session


def after_a_restart(house: House, clock: FakeClock) -> Session:
    house.session.close()
    expire(clock)
    session = house.place.session(tokens=house.tokens)
    assert State.ACTIVE is session.restore()
    assert 2 == session.access_token().generation
    return session


@pytest.mark.parametrize(
    "refreshed", [behind_a_valid_token, in_flight, after_a_401, after_a_restart]
)
@pytest.mark.parametrize("is_asking", [False, True], ids=["shut", "while it asks"])
def test_background_refresh_never_needs_a_person(
    house: House,
    server: AuthorizationServer,
    clock: FakeClock,
    refreshed: Callable[[House, FakeClock], Session],
    is_asking: bool,
) -> None:
    """Nobody is asked, and a question that is open elsewhere holds nothing up; so with logout."""
    house.require_shut()
    asking = threading.Thread(target=house.require_shut)
    if is_asking:
        house.nobody.gives_up.clear()
        asking.start()
        assert house.nobody.is_asking.wait(10)
    asked = house.nobody.asked
    session = refreshed(house, clock)
    assert 1 == server.token_requests
    assert session.logout().is_complete
    assert asked == house.nobody.asked
    if is_asking:
        house.nobody.gives_up.set()
        asking.join(10)
    house.require_shut()
