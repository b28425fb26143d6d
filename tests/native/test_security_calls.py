"""The keychain's calls: who owns what, who may ask, what hangs, and whose items are found."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support.captured import assert_nothing_leaks
from support.keychain_stand_in import StandIn, library, open_store, security
from tokenkeep.backends.apple import (
    AccessControl,
    Accessibility,
    AppleOptions,
    AppleStore,
    Combine,
    Constraint,
    Keychain,
)
from tokenkeep.backends.apple.store import account_of, name_of
from tokenkeep.errors import StoreError, StoreLocked, StoreTimeout
from tokenkeep.item import KINDS, SESSION, Call, Interaction, ItemName
from tokenkeep.native.apple.core_foundation import Scope
from tokenkeep.secret import Secret

pytestmark = pytest.mark.requires("c compiler")

ONE = ItemName("org.example", "one")
RECORD = ItemName("org.example", "one", SESSION)
CONTROL = AccessControl(
    Constraint.BIOMETRY_ANY,
    Constraint.DEVICE_PASSCODE,
    combine=Combine.ANY,
    application_password=True,
)
GATED = AppleOptions(keychain=Keychain.DATA_PROTECTION, access_control=CONTROL, label="Example")
PROTECTED = AppleOptions(keychain=Keychain.DATA_PROTECTION)


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    made = StandIn(library())
    made.begin(str(tmp_path / "items"), "darwin")
    return made


@pytest.fixture
def opened(stand_in: StandIn, tmp_path: Path) -> Callable[..., AppleStore]:
    own = str(tmp_path / "own.keychain-db")
    return lambda options: open_store(library(), str(tmp_path / "items"), "darwin", options, own)


@pytest.mark.parametrize("failure", [-25308, -25300, -26275, -108, -50])
@pytest.mark.parametrize(
    "options",
    [AppleOptions(), AppleOptions(path="own.keychain-db"), PROTECTED, GATED],
    ids=["file", "path", "protected", "gated"],
)
def test_everything_is_released_whichever_step_fails(
    opened: Callable[..., AppleStore],
    stand_in: StandIn,
    options: AppleOptions,
    failure: int,
    tmp_path: Path,
) -> None:
    """At every allocation and every call: no leak, nothing released twice, nothing erased."""
    if options.path is not None:
        options = AppleOptions(path=tmp_path / "own.keychain-db")
    store = opened(options)
    stand_in.answer = 1
    may = partial(Call, 20.0, Interaction.ALLOWED)
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("read", (ONE,)),
        ("write", (ONE, Secret("s3cret"))),
        ("write", (RECORD, Secret("s3cret"))),
        ("names", (ONE.service,)),
        ("contains", (ONE,)),
        ("delete", (ItemName("org.example", "absent"),)),
    ]
    for verb, arguments in calls:
        failures = 0
        for step in range(1, 60):
            store.write(ONE, Secret("kept"), may())
            store.delete(RECORD, may())
            stand_in.fail_at(step, failure)
            try:
                getattr(store, verb)(*arguments, may())
            except StoreError as exc:
                assert_nothing_leaks(exc, "s3cret")
                failures += 1
            finished = stand_in.steps < step
            stand_in.fail_at(-1, 0)
            assert (0, 0) == (stand_in.live, stand_in.misuses)
            assert store.read(ONE, may()) in (Secret("kept"), Secret("s3cret"))
            if finished:
                break
        else:
            raise AssertionError("the call never ran to its end")
        assert failures > 1
    assert 0 == stand_in.violations


def test_nothing_asks_unless_it_may(opened: Callable[..., AppleStore], stand_in: StandIn) -> None:
    """The process's switch is off during a silent call alone, and is put back as it was found."""
    state = ctypes.c_ubyte()
    store = opened(AppleOptions())
    for before in (1, 0):
        stand_in.calls.SecKeychainSetUserInteractionAllowed(before)
        store.write(ONE, Secret("x"), Call())
        stand_in.is_locked = 1
        with pytest.raises(StoreLocked):
            store.read(ONE, Call())
        stand_in.is_locked = 0
        stand_in.calls.SecKeychainGetUserInteractionAllowed(ctypes.byref(state))
        assert before == state.value
    assert 0 == stand_in.panels


def test_silent_calls_wait_while_a_panel_is_open(
    opened: Callable[..., AppleStore], stand_in: StandIn
) -> None:
    """The switch holds for the whole process: a silent call ends by its deadline, and never lets
    the panel of another fail.
    """
    store = opened(AppleOptions())
    store.write(ONE, Secret("kept"), Call())
    stand_in.asks = 1
    read: list[Secret | None] = []
    asking = threading.Thread(
        target=lambda: read.append(store.read(ONE, Call(30.0, Interaction.ALLOWED)))
    )
    asking.start()
    until = time.monotonic() + 10
    while not stand_in.panels and time.monotonic() < until:
        time.sleep(0.001)
    with pytest.raises(StoreTimeout):
        store.names(ONE.service, Call(0.1))
    stand_in.answer = 1
    asking.join(10)
    assert [Secret("kept")] == read
    assert [ONE] == store.names(ONE.service, Call())


def test_person_may_take_longer_than_a_silent_call(
    opened: Callable[..., AppleStore], stand_in: StandIn
) -> None:
    """Where prompts are allowed and have a time of their own, that is the deadline."""
    store = opened(AppleOptions())
    store.write(ONE, Secret("kept"), Call())
    stand_in.asks = 1

    def answer() -> None:
        time.sleep(0.5)
        stand_in.answer = 1

    person = threading.Thread(target=answer)
    person.start()
    allowed = Call(0.1, Interaction.ALLOWED, prompt_timeout=20.0)
    assert Secret("kept") == store.read(ONE, allowed)
    person.join()


@pytest.mark.parametrize("options", [AppleOptions(), PROTECTED], ids=["file", "protected"])
def test_keychain_that_does_not_answer_ends_by_the_deadline(
    opened: Callable[..., AppleStore], stand_in: StandIn, options: AppleOptions
) -> None:
    """Every call; the change that hung is not overtaken by the one after it."""
    store = opened(options)
    store.write(ONE, Secret("first"), Call())
    stand_in.hangs = 1
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("read", (ONE,)),
        ("write", (ONE, Secret("second"))),
        ("write", (ONE, Secret("third"))),
        ("delete", (ONE,)),
        ("names", (ONE.service,)),
        ("contains", (ONE,)),
    ]
    for verb, arguments in calls:
        began = time.monotonic()
        with pytest.raises(StoreTimeout):
            getattr(store, verb)(*arguments, Call(0.1))
        assert time.monotonic() - began < 5.0
    stand_in.hangs = 0
    store.write(ONE, Secret("last"), Call(20.0))
    assert Secret("last") == store.read(ONE, Call())
    until = time.monotonic() + 10
    while stand_in.live and time.monotonic() < until:
        time.sleep(0.005)
    assert (0, 0) == (stand_in.live, stand_in.misuses)


def test_writing_goes_on_when_others_come_between(
    opened: Callable[..., AppleStore], stand_in: StandIn
) -> None:
    """Updated, else added, else updated again: an item that appears meanwhile is no error."""
    store = opened(AppleOptions())
    stand_in.plan("SecItemAdd", -25299, 2)
    store.write(ONE, Secret("new"), Call())
    assert Secret("new") == store.read(ONE, Call())
    stand_in.plan("SecItemUpdate", -25300, 1_000_000)  # there, and not there, for ever
    with pytest.raises(StoreTimeout):
        store.write(ONE, Secret("newer"), Call(0.1))
    stand_in.plan("", 0, 0)
    assert Secret("new") == store.read(ONE, Call())


def test_writing_again_applies_the_options_of_today(
    opened: Callable[..., AppleStore], stand_in: StandIn, tmp_path: Path
) -> None:
    """A change of accessibility hides no item, and holds from the next write on."""
    opened(PROTECTED).write(ONE, Secret("old"), Call())
    later = opened(
        AppleOptions(
            keychain=Keychain.DATA_PROTECTION,
            accessibility=Accessibility.AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY,
            label="Example",
        )
    )
    assert Secret("old") == later.read(ONE, Call())
    assert b"cku" not in (tmp_path / "items").read_bytes()
    later.write(ONE, Secret("new"), Call())
    assert b"cku" in (tmp_path / "items").read_bytes()
    assert b"Example" in (tmp_path / "items").read_bytes()
    assert Secret("new") == opened(PROTECTED).read(ONE, Call())
    assert [ONE] == opened(PROTECTED).names(ONE.service, Call())


def test_the_two_keychains_do_not_meet(opened: Callable[..., AppleStore]) -> None:
    """Nor do synchronizable items and the others."""
    synced = AppleOptions(keychain=Keychain.DATA_PROTECTION, synchronizable=True)
    for options in (AppleOptions(), PROTECTED, synced):
        assert opened(options).read(ONE, Call()) is None
        opened(options).write(ONE, Secret(repr(options)), Call())
    for options in (AppleOptions(), PROTECTED, synced):
        assert Secret(repr(options)) == opened(options).read(ONE, Call())
        assert opened(options).delete(ONE, Call()) is True


def test_accounts_and_names_are_one_to_one() -> None:
    """Plain names are their own account; records and look-alikes have an account of their own."""
    assert "one" == account_of(ONE)
    look_alikes = (
        "tokenkeep-session:one",
        "tokenkeep-migration:one",
        "tokenkeep-item:one",
        "tokenkeep-item:tokenkeep-item:",
        "tokenkeep-item:tokenkeep-session:one",
    )
    names = [ONE, RECORD, *(ItemName("s", text) for text in look_alikes)]
    names += [ItemName("s", text, kind) for kind in KINDS[1:] for text in look_alikes]
    assert len(names) == len({account_of(name) for name in names})
    for name in names:
        assert name == name_of(name.service, account_of(name))
    for foreign in (
        "",
        "tokenkeep-item:one",
        "tokenkeep-session:",
        "tokenkeep-migration:",
        "x" * 300,
    ):
        assert name_of("s", foreign) is None


@pytest.fixture
def python_keyring(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Any:
    """python-keyring's own binding for macOS, over the stand-in."""
    monkeypatch.setattr(ctypes.util, "find_library", lambda _name: stand_in.path)
    name = "keyring.backends.macOS.api"
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(name)
    sys.modules.pop(name, None)


@pytest.mark.requires("python-keyring")
def test_python_keyring_and_we_find_each_other(
    opened: Callable[..., AppleStore], python_keyring: Any
) -> None:
    """Its code reads and deletes what we wrote, and we what it wrote; session records are ours."""
    store = opened(AppleOptions())
    store.write(ItemName("org.example", "naïve 🗝️"), Secret("ours ✓"), Call())
    assert "ours ✓" == python_keyring.find_generic_password(None, "org.example", "naïve 🗝️")
    python_keyring.set_generic_password(None, "org.example", "theirs", "käse")
    assert Secret("käse") == store.read(ItemName("org.example", "theirs"), Call())
    store.write(ItemName("org.example", "theirs"), Secret("newer"), Call())
    assert "newer" == python_keyring.find_generic_password(None, "org.example", "theirs")
    store.write(ItemName("org.example", "theirs", SESSION), Secret("record"), Call())
    python_keyring.delete_generic_password(None, "org.example", "theirs")
    assert [
        ItemName("org.example", "naïve 🗝️"),
        ItemName("org.example", "theirs", SESSION),
    ] == store.names("org.example", Call())
    python_keyring.set_generic_password(None, "org.example", "", "no name of ours")
    assert 2 == len(store.names("org.example", Call()))


def test_what_is_no_text_is_none(stand_in: StandIn) -> None:
    """Reading back asks for the type first."""
    core = security(library(), "darwin").core
    with Scope(core) as scope:
        assert "\ufeffa 🗝️" == core.text_of(scope.text("\ufeffa 🗝️"))
        assert core.text_of(scope.data(Secret("x"))) is None
        assert core.text_of(None) is None
        assert core.size_of(scope.text("x")) is None
        assert [] == list(core.elements_of(scope.text("x")))
    assert (0, 0) == (stand_in.live, stand_in.misuses)
