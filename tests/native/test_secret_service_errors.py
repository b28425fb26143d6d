"""Every answer of the Secret Service means one thing, and none of them erases anything."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tokenkeep.backends.secret_service import SecretServiceStore
from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    StoreError,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    ValueTooLarge,
)
from tokenkeep.item import Call, ItemName
from tokenkeep.native.dbus.errors import TABLE, ErrorReply, Verdict, translated, verdict
from tokenkeep.native.secret_service import service as binding
from tokenkeep.secret import Secret
from tokenkeep.testing.clock import FakeClock

SECRET_SERVICE = "org.freedesktop.Secret.Error."
DBUS = "org.freedesktop.DBus.Error."

#: What each name means, from the specifications, written once more by hand.
MEANINGS: dict[str, type[StoreError] | str] = {
    f"{SECRET_SERVICE}IsLocked": StoreLocked,
    f"{SECRET_SERVICE}NoSession": Verdict.REOPEN,
    f"{SECRET_SERVICE}NoSuchObject": Verdict.SEARCH,
    f"{SECRET_SERVICE}AlreadyExists": Verdict.SEARCH,
    f"{DBUS}UnknownObject": Verdict.SEARCH,
    f"{DBUS}UnknownMethod": Verdict.SEARCH,
    f"{DBUS}UnknownInterface": Verdict.SEARCH,
    "org.qtproject.QtDBus.Error.InvalidObjectPath": Verdict.SEARCH,
    f"{DBUS}ServiceUnknown": StoreUnavailable,
    f"{DBUS}NameHasNoOwner": StoreUnavailable,
    f"{DBUS}NoServer": StoreUnavailable,
    f"{DBUS}NotSupported": StoreUnavailable,
    f"{DBUS}AccessDenied": AccessDenied,
    f"{DBUS}AuthFailed": AccessDenied,
    "org.gnome.keyring.Error.Denied": AccessDenied,
    f"{DBUS}NoReply": StoreTimeout,
    f"{DBUS}Timeout": StoreTimeout,
    f"{DBUS}TimedOut": StoreTimeout,
    f"{DBUS}LimitsExceeded": ValueTooLarge,
    f"{DBUS}Disconnected": Verdict.REOPEN,
    f"{DBUS}NoMemory": Verdict.REOPEN,
}
#: Not in the table: a family, and what nobody has heard of.
OTHERS: dict[str, type[StoreError]] = {
    f"{DBUS}Spawn.ServiceNotFound": StoreUnavailable,
    f"{DBUS}Spawn.ChildSignaled": StoreUnavailable,
    f"{DBUS}Spawn.ExecFailed": StoreUnavailable,
    f"{DBUS}Failed": StoreUnavailable,
    "com.example.Nonsense": StoreUnavailable,
    "": StoreUnavailable,
}
NAME = ItemName("org.example", "token")
ELSEWHERE = "/org/freedesktop/secrets/collection/other"
LOGIN = "/org/freedesktop/secrets/collection/login"


class FakeService:
    """The calls of `Service` over one item, all of which answer with `problem` while it lasts."""

    def __init__(self) -> None:
        self.item: Secret | None = Secret("kept")
        self.default = LOGIN
        self.collection = LOGIN
        self.is_locked = False
        self.unlocks: bool | StoreError = True
        self.problems: list[Exception] = []
        self.problems_of_values: list[Exception] = []
        self.is_lasting = False
        self.asked: list[str] = []
        self.deleting = threading.Lock()

    def _answer(self, what: str) -> None:
        self.asked.append(what)
        if what in ("replace", "create") and self.problems_of_values:
            raise self.problems_of_values.pop(0)
        if self.problems:
            problem = self.problems[0]
            if not self.is_lasting:
                self.problems.pop(0)
            raise problem

    def _found(self) -> list[str]:
        return [] if self.item is None else [f"{self.collection}/1"]

    def search(self, attributes: dict[str, str], call: Call) -> tuple[list[str], list[str]]:
        self._answer("search")
        return ([], self._found()) if self.is_locked else (self._found(), [])

    def search_beside(
        self, attributes: dict[str, str], alias: str, call: Call
    ) -> tuple[tuple[list[str], list[str]], str]:
        return self.search(attributes, call), self.alias(alias, call)

    def look(
        self, collection: str, alias: str, searches: list[Any], call: Call
    ) -> tuple[str, bool, list[Any]]:
        self._answer("look")
        # A cold search in a locked collection finds nothing (gnome-keyring's issue 89).
        found = [([] if self.is_locked else self._found(), []) for _ in searches]
        return self.default, self.is_locked, found

    def refuses_locked(self, call: Call) -> bool:
        return True

    def alias(self, name: str, call: Call) -> str:
        self._answer("alias")
        return self.default

    def attributes(self, items: list[str], call: Call) -> dict[str, dict[str, str]]:
        self._answer("attributes")
        return {item: {"service": NAME.service, "username": NAME.name} for item in items}

    def secrets(self, items: list[str], call: Call) -> dict[str, Secret]:
        self._answer("secrets")
        return {} if self.item is None else {items[0]: Secret(self.item.reveal_bytes())}

    def replace(self, item: str, value: Secret, call: Call) -> None:
        self._answer("replace")
        self.item = value

    def create(self, *arguments: Any) -> None:
        if arguments[0] == binding.aliased("default") and self.default == binding.NOTHING:
            self._answer("alias")
            raise ErrorReply(f"{DBUS}UnknownMethod")  # what gnome-keyring says
        self._answer("create")
        if self.is_locked:
            raise ErrorReply(f"{SECRET_SERVICE}IsLocked")
        self.item = arguments[3]

    def delete(self, item: str, call: Call) -> bool:
        self._answer("delete")
        self.item = None
        return True

    def unlock(self, objects: list[str], call: Call) -> bool:
        self._answer("unlock")
        if isinstance(self.unlocks, StoreError):
            raise self.unlocks
        self.is_locked = not self.unlocks
        return self.unlocks


class FakeBinding:
    """The functions of the binding's module, with a service of ours behind them."""

    NOTHING, ErrorReply, Verdict = binding.NOTHING, binding.ErrorReply, binding.Verdict
    Pause, held, aliased = binding.Pause, binding.held, staticmethod(binding.aliased)
    verdict, translated = staticmethod(verdict), staticmethod(translated)

    def __init__(self, service: FakeService) -> None:
        self._service = service

    def session_bus(self) -> str:
        return "unix:path=/nowhere"

    def shared(self, address: str, user: object) -> FakeService:
        return self._service

    def is_current(self, service: object) -> bool:
        return True

    def released(self, service: object, user: object) -> None:
        pass


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def store(service: FakeService) -> SecretServiceStore:
    made = SecretServiceStore()
    made._binding = FakeBinding(service)  # type: ignore[assignment]
    return made


#: Every call of a store, by name.
CALLS: dict[str, Callable[[SecretServiceStore, Call], object]] = {
    "read": lambda store, call: store.read(NAME, call),
    "write": lambda store, call: store.write(NAME, Secret("new"), call),
    "delete": lambda store, call: store.delete(NAME, call),
    "names": lambda store, call: store.names(NAME.service, call),
    "contains": lambda store, call: store.contains(NAME, call),
}


def test_every_row_of_the_table_is_expected() -> None:
    """Nothing is in the table that is not written here, with the same meaning."""
    assert MEANINGS == TABLE


@pytest.mark.parametrize("name", [*MEANINGS, *OTHERS])
def test_error_means(name: str) -> None:
    """The verdict is the table's; what cannot be answered by trying again has an error of ours."""
    meant = {**MEANINGS, **OTHERS}[name]
    assert meant == verdict(name)
    error = translated(ErrorReply(name, had_value=True))
    assert isinstance(error, StoreUnavailable if isinstance(meant, str) else meant)
    assert name in str(error)


def test_limit_is_a_values_only_where_there_was_a_value() -> None:
    """What asks and brings nothing is not too large: the bus has too much to do."""
    assert isinstance(translated(ErrorReply(f"{DBUS}LimitsExceeded")), StoreUnavailable)


@pytest.mark.parametrize("has_item", [True, False], ids=["replaced", "created"])
def test_value_beyond_the_services_limit_is_too_large(
    store: SecretServiceStore, service: FakeService, has_item: bool
) -> None:
    """The request that brings it is what the service refuses; what was there stays."""
    if not has_item:
        service.item = None
    service.problems_of_values = [ErrorReply(f"{DBUS}LimitsExceeded", had_value=True)]
    with pytest.raises(ValueTooLarge) as caught:
        store.write(NAME, Secret("new"), Call())
    assert "tokenkeep vault create" == caught.value.hint
    assert (Secret("kept") if has_item else None) == service.item


@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize("name", [*MEANINGS, *OTHERS])
def test_lasting_error_reaches_the_caller_and_erases_nothing(
    store: SecretServiceStore, service: FakeService, name: str, verb: str
) -> None:
    """Every error in every call: ours is raised within the deadline, and the item is as it was."""
    service.problems, service.is_lasting = [ErrorReply(name)], True
    meant = {**MEANINGS, **OTHERS}[name]
    expected: Any = meant
    if meant in (Verdict.SEARCH, Verdict.REOPEN, ValueTooLarge):
        # What is missing stays so, the channel had repeated it, a search brings no value.
        expected = StoreUnavailable
    with pytest.raises(expected) as caught:
        CALLS[verb](store, Call(0.1, clock=FakeClock()))
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    service.problems = []
    assert Secret("kept") == store.read(NAME, Call())
    assert not {"replace", "create", "delete"} & set(service.asked)


@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize(
    "name", [name for name, meant in MEANINGS.items() if meant is Verdict.SEARCH]
)
def test_service_that_lacks_a_call_is_unavailable(
    store: SecretServiceStore, service: FakeService, name: str, verb: str
) -> None:
    """An answer of "no such object" or "method" that stays is no race: that is said soon."""
    service.problems, service.is_lasting = [ErrorReply(name)], True
    clock = FakeClock()
    call = Call(60.0, clock=clock)
    with pytest.raises(StoreUnavailable, match="specification"):
        CALLS[verb](store, call)
    left = call.remaining()
    assert left is not None
    assert left > 59.0
    assert not {"replace", "create", "delete"} & set(service.asked)


def test_objects_that_vanish_one_after_the_other_are_a_race(
    store: SecretServiceStore, service: FakeService
) -> None:
    """Each is another one: somebody else is busy, and the call looks again until its deadline."""
    name = f"{DBUS}UnknownObject"
    service.problems = [ErrorReply(name, f"{LOGIN}/{number}") for number in range(12)]
    assert Secret("kept") == store.read(NAME, Call(clock=FakeClock()))


@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize(
    "name", [name for name, meant in MEANINGS.items() if meant in (Verdict.SEARCH, StoreLocked)]
)
def test_passing_error_is_waited_out(
    store: SecretServiceStore, service: FakeService, name: str, verb: str
) -> None:
    """An object that went away or a lock between two steps: the call looks again and succeeds."""
    service.problems = [ErrorReply(name)]
    CALLS[verb](store, Call())
    expected = {"write": Secret("new"), "delete": None}.get(verb, Secret("kept"))
    assert expected == store.read(NAME, Call())


@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize(
    "problem",
    [
        StoreLocked("a person would have to be asked"),
        InteractionDenied("the prompt of the keyring was dismissed"),
        StoreTimeout("nobody answered the prompt"),
        False,
    ],
    ids=["locked", "dismissed", "unanswered", "neither objects nor a prompt"],
)
def test_locked_collection_is_never_an_empty_one(
    store: SecretServiceStore, service: FakeService, verb: str, problem: StoreError | bool
) -> None:
    """A search that finds nothing in a locked collection is no answer, whatever unlocking says."""
    service.is_locked, service.unlocks = True, problem
    expected = type(problem) if isinstance(problem, StoreError) else StoreLocked
    with pytest.raises(expected):
        CALLS[verb](store, Call())
    assert not {"replace", "create", "delete"} & set(service.asked)


@pytest.mark.parametrize("unlocks", [True, StoreLocked("a person would have to be asked")])
def test_write_finds_out_by_itself_that_the_collection_is_locked(
    store: SecretServiceStore, service: FakeService, unlocks: StoreError | bool
) -> None:
    """A search that finds nothing is followed by the making, which a locked collection refuses:
    then it is unlocked, and the item that it hid is changed in place.
    """
    service.is_locked, service.unlocks, hidden = True, unlocks, service._found
    service._found = lambda: [] if service.is_locked else hidden()  # type: ignore[method-assign]
    if unlocks is True:
        store.write(NAME, Secret("new"), Call())
        assert Secret("new") == store.read(NAME, Call())
        assert "replace" in service.asked
    else:
        with pytest.raises(StoreLocked):
            store.write(NAME, Secret("new"), Call())
        assert Secret("kept") == service.item
    assert 1 == service.asked.count("create")


def test_what_was_seen_is_a_guess_and_never_an_answer(
    store: SecretServiceStore, service: FakeService
) -> None:
    """Asked for in another way when it was there the last time, and the same is found."""
    kept = service.item
    for item in (kept, kept, None, None, kept, kept, None, kept):
        service.item = item
        assert item == store.read(NAME, Call())
        assert (item is not None) == store.contains(NAME, Call())


@pytest.mark.parametrize("verb", CALLS)
def test_no_default_collection_is_unavailable(
    store: SecretServiceStore, service: FakeService, verb: str
) -> None:
    """A fresh profile has none: that is said, with the way on, and nothing is made."""
    service.default, service.item = "/", None
    with pytest.raises(StoreUnavailable) as caught:
        CALLS[verb](store, Call())
    assert "tokenkeep vault create" == caught.value.hint
    assert not {"replace", "create", "delete"} & set(service.asked)


@pytest.mark.parametrize("is_locked", [True, False])
@pytest.mark.parametrize("verb", ["read", "write", "delete", "contains"])
def test_no_default_collection_beside_the_item_fails_closed(
    store: SecretServiceStore, service: FakeService, verb: str, is_locked: bool
) -> None:
    """The item is somewhere: neither absent, nor written a second time."""
    service.default, service.collection, service.is_locked = "/", ELSEWHERE, is_locked
    with pytest.raises(StoreLocked if is_locked else StoreUnavailable):
        CALLS[verb](store, Call())
    assert not {"replace", "create", "delete"} & set(service.asked)


def test_item_of_another_collection_is_not_this_one(
    store: SecretServiceStore, service: FakeService
) -> None:
    """A store is one collection: elsewhere the same name is another item."""
    service.collection = ELSEWHERE
    assert store.read(NAME, Call()) is None
    assert store.delete(NAME, Call()) is False
    assert Secret("kept") == service.item


def test_value_that_vanishes_between_search_and_answer_is_looked_for_again(
    store: SecretServiceStore, service: FakeService
) -> None:
    """`GetSecrets` leaves out what was locked or deleted meanwhile: only a search tells which."""
    kept, service.item = service.item, None
    found = [[f"{LOGIN}/1"], []]
    service._found = lambda: found.pop(0) if found else []  # type: ignore[method-assign]
    assert store.read(NAME, Call()) is None
    assert ["search", "alias", "secrets", "search"] == service.asked[:4]
    assert kept is not None
