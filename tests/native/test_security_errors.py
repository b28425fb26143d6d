"""Every answer of the keychain, what it means to a caller, and that none of them erases."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support.captured import assert_nothing_leaks, raised_in_library
from support.keychain_stand_in import StandIn, library, open_store, security
from tokenkeep.backends.apple import (
    AccessControl,
    AppleOptions,
    AppleStore,
    Constraint,
    Keychain,
    probe,
)
from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    UnsupportedOption,
    ValueTooLarge,
    WriteConflict,
)
from tokenkeep.item import Call, Interaction, ItemName
from tokenkeep.native.apple.status import STATUS, error_for, is_absent
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.testing import FakeClock

ONE = ItemName("org.example", "one")
PROTECTED = AppleOptions(keychain=Keychain.DATA_PROTECTION)
GATED = AppleOptions(
    keychain=Keychain.DATA_PROTECTION, access_control=AccessControl(Constraint.USER_PRESENCE)
)
KINDS = pytest.mark.parametrize(
    "options", [AppleOptions(), PROTECTED, GATED], ids=["file", "protected", "gated"]
)

#: Apple's number and name, and our error; None: there is no such item.
TABLE: list[tuple[int, str, type[StoreError] | None]] = [
    (-25308, "errSecInteractionNotAllowed", StoreLocked),
    (-25315, "errSecInteractionRequired", InteractionDenied),
    (-25320, "errSecInDarkWake", StoreLocked),
    (-34019, "errSecUpgradePending", StoreLocked),
    (-25291, "errSecNotAvailable", StoreTimeout),
    (-26275, "errSecDecode", SecretInvalidated),
    (-25300, "errSecItemNotFound", None),
    (-25293, "errSecAuthFailed", InteractionDenied),
    (-128, "errSecUserCanceled", InteractionDenied),
    (-25243, "errSecNoAccessForItem", AccessDenied),
    (-25244, "errSecInvalidOwnerEdit", AccessDenied),
    (-34018, "errSecMissingEntitlement", AccessDenied),
    (-34020, "errSecRestrictedAPI", AccessDenied),
    (-25299, "errSecDuplicateItem", WriteConflict),
    (-25302, "errSecDataTooLarge", ValueTooLarge),
    (-67596, "errSecQuotaExceeded", StoreFull),
    (-67597, "errSecFileTooBig", ValueTooLarge),
    (-34, "errSecDiskFull", StoreFull),
    (-25292, "errSecReadOnly", AccessDenied),
    (-61, "errSecWrPerm", AccessDenied),
    (-49, "errSecOpWr", AccessDenied),
    (-36, "errSecIO", StoreTimeout),
    (-25294, "errSecNoSuchKeychain", StoreUnavailable),
    (-25307, "errSecNoDefaultKeychain", StoreUnavailable),
    (-25295, "errSecInvalidKeychain", SecretDamaged),
    (-25310, "errSecWrongSecVersion", SecretDamaged),
    (-67598, "errSecInvalidDatabaseBlob", SecretDamaged),
    (-67599, "errSecInvalidKeyBlob", SecretDamaged),
    (-67600, "errSecIncompatibleDatabaseBlob", SecretDamaged),
    (-25304, "errSecInvalidItemRef", None),
    (-25316, "errSecDataNotAvailable", StoreLocked),
    (-67585, "errSecServiceNotAvailable", StoreUnavailable),
    (-25312, "errSecNoStorageModule", StoreUnavailable),
    (-67587, "errSecDeviceReset", SecretInvalidated),
    (-67588, "errSecDeviceFailed", StoreUnavailable),
    (-50, "errSecParam", UnsupportedOption),
    (-909, "errSecBadReq", UnsupportedOption),
    (-4, "errSecUnimplemented", UnsupportedOption),
    (-108, "errSecAllocate", StoreTimeout),
]
VERBS: list[tuple[str, tuple[Any, ...], str]] = [
    ("read", (ONE,), "SecItemCopyMatching"),
    ("write", (ONE, Secret("s3cret-new")), "SecItemUpdate"),
    ("write", (ItemName("org.example", "two"), Secret("s3cret-new")), "SecItemAdd"),
    ("delete", (ONE,), "SecItemDelete"),
    ("names", (ONE.service,), "SecItemCopyMatching"),
    ("contains", (ONE,), "SecItemCopyMatching"),
]
IDS = [f"{verb}-{function}" for verb, _arguments, function in VERBS]


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    made = StandIn(library())
    made.begin(str(tmp_path / "items"), "darwin")
    return made


@pytest.fixture
def opened(stand_in: StandIn, tmp_path: Path) -> Callable[[AppleOptions], AppleStore]:
    return partial(open_store, library(), str(tmp_path / "items"), "darwin")


def test_the_table_is_complete() -> None:
    """What is translated is what is tested."""
    assert {status for status, _name, _kind in TABLE} == STATUS.keys()


@pytest.mark.parametrize(("status", "name", "kind"), TABLE)
def test_status_means(status: int, name: str, kind: type[StoreError] | None) -> None:
    """One status, one of our errors, which names it."""
    assert name == STATUS[status][0]
    assert (kind is None) == is_absent(status)
    if kind is not None:
        problem = error_for(status, "reading")
        assert kind is type(problem)
        assert name in str(problem)
        assert str(status) in str(problem)


def test_unknown_status_is_not_absent() -> None:
    """What nobody foresaw says its number and the system's words."""
    problem = error_for(-99999, "reading", "the system's words")
    assert StoreUnavailable is type(problem)
    assert "reading: the system's words (OSStatus -99999)" == str(problem)
    assert not is_absent(-99999)


def test_missing_entitlement_says_what_to_do() -> None:
    """Signing, or the other keychain."""
    hint = error_for(-34018, "reading").hint or ""
    assert "keychain-access-groups" in hint
    assert "Keychain.FILE" in hint


@pytest.mark.requires("c compiler")
@KINDS
@pytest.mark.parametrize(("verb", "arguments", "function"), VERBS, ids=IDS)
@pytest.mark.parametrize(("status", "name", "kind"), TABLE)
def test_failure_erases_nothing(
    opened: Callable[[AppleOptions], AppleStore],
    stand_in: StandIn,
    options: AppleOptions,
    verb: str,
    arguments: tuple[Any, ...],
    function: str,
    status: int,
    name: str,
    kind: type[StoreError] | None,
) -> None:
    """Whatever answers whichever call: our error, no secret in it, the item as it was.

    An item that wants the person has one who agrees, unless that hides what a lock does.
    """
    store = opened(options)
    kept = {ONE: Secret("s3cret-kept")}
    store.write(ONE, kept[ONE], Call())
    stand_in.answer = 1
    may = Interaction.ALLOWED if options is GATED else Interaction.NEVER
    stand_in.is_locked = int(status == -25308)  # what the file keychain says when it is asked
    stand_in.plan(function, status, 100)
    absent = {"read": None, "write": None, "delete": False, "names": [], "contains": False}
    call = Call(20.0, Interaction.NEVER if status == -25308 else may, FakeClock())
    if kind is None and function == "SecItemAdd":
        kind = StoreUnavailable  # an item that was to be added is not there: that is no answer
    if kind is None or (status, function) == (-25299, "SecItemAdd"):
        assert absent[verb] == getattr(store, verb)(*arguments, call)
        if verb == "write":  # went on to add, or to update again, until that was through
            kept[arguments[0]] = arguments[1]
    else:
        with pytest.raises(StoreError) as caught:
            getattr(store, verb)(*arguments, call)
        assert kind is type(caught.value)
        assert raised_in_library(caught.value)
        assert_nothing_leaks(caught.value, "s3cret")
    stand_in.plan("", 0, 0)
    stand_in.is_locked = 0
    there = store.names(ONE.service, Call())
    assert kept == {each: store.read(each, Call(20.0, may)) for each in there}
    assert (0, 0, 0) == (stand_in.live, stand_in.misuses, stand_in.violations)


@pytest.mark.requires("c compiler")
@pytest.mark.parametrize("status", [-25291, -36, -108])
def test_passing_answer_is_asked_again(
    opened: Callable[[AppleOptions], AppleStore], stand_in: StandIn, status: int
) -> None:
    """What may be another answer in a moment is not the last word."""
    store = opened(AppleOptions())
    stand_in.plan("SecItemUpdate", status, 2)
    store.write(ONE, Secret("new"), Call())
    stand_in.plan("SecItemCopyMatching", status, 2)
    assert Secret("new") == store.read(ONE, Call())


@pytest.mark.requires("c compiler")
@pytest.mark.parametrize(("verb", "arguments", "function"), VERBS, ids=IDS)
@pytest.mark.parametrize("status", [-25291, -36, -108])
def test_passing_answer_is_asked_again_until_the_deadline(
    opened: Callable[[AppleOptions], AppleStore],
    stand_in: StandIn,
    verb: str,
    arguments: tuple[Any, ...],
    function: str,
    status: int,
) -> None:
    """Late within the deadline is in time; past it there is a remedy, and nothing is erased."""
    store, clock = opened(AppleOptions()), FakeClock()
    store.write(ONE, Secret("kept"), Call())
    began = clock.monotonic()
    stand_in.plan(function, status, 10_000)
    with pytest.raises(StoreTimeout) as caught:
        getattr(store, verb)(*arguments, Call(5.0, clock=clock))
    assert 4.0 <= clock.monotonic() - began <= 5.0
    assert "restart" in (caught.value.hint or "")
    stand_in.plan("", 0, 0)
    assert Secret("kept") == store.read(ONE, Call())
    assert [ONE] == store.names(ONE.service, Call())
    stand_in.plan(function, status, 12)  # the twelfth answer comes in the fifth second
    getattr(store, verb)(*arguments, Call(6.0, clock=clock))


@pytest.mark.requires("c compiler")
@KINDS
def test_locked_keychain_is_locked_for_every_call(
    opened: Callable[[AppleOptions], AppleStore], stand_in: StandIn, options: AppleOptions
) -> None:
    """`StoreLocked`, no panel, and all is there after unlocking."""
    store = opened(options)
    store.write(ONE, Secret("kept"), Call())
    stand_in.answer = 1
    stand_in.is_locked = 1
    for verb, arguments, _function in VERBS:
        with pytest.raises(StoreLocked):
            getattr(store, verb)(*arguments, Call())
    stand_in.is_locked = 0
    assert (0, 0) == (stand_in.panels, stand_in.violations)
    assert Secret("kept") == store.read(ONE, Call(20.0, Interaction.ALLOWED))


@pytest.mark.requires("c compiler")
def test_unlocking_is_waited_for_where_items_want_the_person(
    opened: Callable[[AppleOptions], AppleStore], stand_in: StandIn, tmp_path: Path
) -> None:
    """A locked device is told from an item that asks, which waiting does not mend."""
    storage = SecureStorage(ONE.service, opened(GATED), state_directory=str(tmp_path / "state"))
    storage.write(ONE.name, "kept")
    stand_in.is_locked = 1
    assert storage.wait_until_unlocked(0.2) is False
    stand_in.is_locked = 0
    assert storage.wait_until_unlocked(5.0) is True
    with pytest.raises(InteractionDenied):
        storage.read(ONE.name)
    assert 0 == stand_in.panels


@pytest.mark.requires("c compiler")
def test_item_that_would_ask_is_not_locked(
    opened: Callable[[AppleOptions], AppleStore], stand_in: StandIn
) -> None:
    """An open keychain whose access list names others: prompting is what is missing."""
    store = opened(AppleOptions())
    store.write(ONE, Secret("kept"), Call())
    stand_in.asks = 1
    with pytest.raises(InteractionDenied, match="would ask") as caught:
        store.read(ONE, Call())
    assert "Interaction.ALLOWED" in (caught.value.hint or "")
    assert 0 == stand_in.panels
    assert [ONE] == store.names(ONE.service, Call())


@pytest.mark.requires("c compiler")
def test_item_with_access_control_asks_only_where_it_may(
    opened: Callable[[AppleOptions], AppleStore], stand_in: StandIn
) -> None:
    """No panel unless allowed; then the person's word counts."""
    control = AccessControl(Constraint.BIOMETRY_CURRENT_SET)
    store = opened(AppleOptions(keychain=Keychain.DATA_PROTECTION, access_control=control))
    store.write(ONE, Secret("kept"), Call())
    with pytest.raises(InteractionDenied, match="asks for the person"):
        store.read(ONE, Call())
    with pytest.raises(InteractionDenied, match="asks for the person"):
        store.write(ONE, Secret("new"), Call())
    assert store.contains(ONE, Call())
    assert 0 == stand_in.panels
    may = partial(Call, 20.0, Interaction.ALLOWED)
    stand_in.answer = 2
    with pytest.raises(InteractionDenied, match="cancelled"):
        store.read(ONE, may())
    stand_in.answer = 1
    assert Secret("kept") == store.read(ONE, may())
    assert 2 == stand_in.panels
    assert [ONE] == store.names(ONE.service, Call())


@pytest.mark.requires("c compiler")
def test_probe_says_why_not(stand_in: StandIn) -> None:
    """No such keychain, no entitlement, another system; a locked keychain is there."""
    look = partial(probe, platform="darwin", security=lambda: security(library(), "darwin"))
    look(AppleOptions(), Call())
    look(PROTECTED, Call())
    stand_in.is_locked = 1
    look(AppleOptions(), Call())
    look(PROTECTED, Call(20.0, Interaction.ALLOWED))
    stand_in.is_locked = 0
    stand_in.has_no_default = 1
    with pytest.raises(StoreUnavailable, match="errSecNoDefaultKeychain"):
        look(AppleOptions(), Call())
    with pytest.raises(StoreUnavailable, match="errSecNoSuchKeychain"):
        look(AppleOptions(path="/nowhere"), Call())
    stand_in.is_unsigned = 1
    with pytest.raises(AccessDenied, match="errSecMissingEntitlement"):
        look(PROTECTED, Call())
    with pytest.raises(StoreUnavailable, match="macOS and iOS only"):
        probe(AppleOptions(), Call(), platform="linux")
    assert (0, 0, 0) == (stand_in.live, stand_in.violations, stand_in.panels)
