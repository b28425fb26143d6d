"""What the options do to the key, to the prompt and to the facts, on the lab's device."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from on_android.device import device, faults, load, open_store, people
from tokenkeep.backends.android import (
    AndroidOptions,
    AndroidStore,
    Authenticator,
    Place,
    StrongBox,
    UserAuthentication,
    probe,
)
from tokenkeep.errors import (
    InteractionDenied,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    UnsupportedOption,
)
from tokenkeep.item import Call, Interaction, ItemName
from tokenkeep.native.android import biometric
from tokenkeep.secret import Secret
from tokenkeep.store import Isolation, Protection, Require

ITEM = ItemName("org.example", "token")


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path)


@pytest.fixture
def lab(place: str) -> Any:
    return device(place)


def asking(seconds: float = 5.0) -> Call:
    return Call(seconds, Interaction.ALLOWED)


def written(options: AndroidOptions, call: Call | None = None) -> AndroidStore:
    """A store of the device in use, with one item, closed."""
    store = AndroidStore(options)
    store.write(ITEM, Secret("kept"), call or Call(30.0))
    store.close()
    return store


def attribute(lab: Any, name: str) -> str:
    (alias,) = lab.aliases()
    return str(lab.attribute(alias, name))


def test_key_chooses_its_own_nonces(lab: Any) -> None:
    """Randomized encryption is required of every key."""
    written(AndroidOptions())
    assert ("true", "false") == (attribute(lab, "randomized"), attribute(lab, "unlocked"))
    assert "" == attribute(lab, "seconds")


@pytest.mark.parametrize(
    ("has_hardware", "has_strongbox", "level", "protection"),
    [
        (False, False, "0", Protection.LOGIN),
        (True, False, "1", Protection.HARDWARE),
        (True, True, "2", Protection.HARDWARE),
    ],
)
def test_protection_is_the_keys_own_word(
    lab: Any, has_hardware: bool, has_strongbox: bool, level: str, protection: Protection
) -> None:
    """StrongBox when present, else the trusted environment; software is not HARDWARE."""
    lab.hasHardware, lab.hasStrongBox = has_hardware, has_strongbox
    store = AndroidStore(AndroidOptions())
    assert protection is store.facts.protection  # what the device promises
    store.write(ITEM, Secret("x"), Call(30.0))
    assert level == attribute(lab, "level")
    assert protection is store.facts.protection
    assert [] == Require(isolation=Isolation.APPLICATION, allow_backups=False).unmet(store.facts)


def test_key_weaker_than_the_device_promises_is_refused(lab: Any) -> None:
    """Nothing is kept behind it, and it does not stay."""
    lab.lies = True
    with pytest.raises(StoreUnavailable, match="in software"):
        written(AndroidOptions())
    assert [] == list(lab.aliases())


def test_strongbox_that_fails_is_done_without_only_if_that_is_allowed(lab: Any) -> None:
    """PREFERRED falls back; REQUIRED does not, with and without the chip."""
    missing = "android.security.keystore.StrongBoxUnavailableException"
    required = AndroidOptions(strongbox=StrongBox.REQUIRED)
    with pytest.raises(StoreUnavailable, match="no StrongBox"):
        probe(required, Call())
    with pytest.raises(StoreUnavailable, match="no StrongBox"):
        written(required)
    lab.hasStrongBox = True
    probe(required, Call())
    faults().inject("generateKey", missing, 1)
    with pytest.raises(StoreUnavailable):
        written(required)
    assert [] == list(lab.aliases())
    faults().inject("generateKey", missing, 1)
    written(AndroidOptions())
    assert "1" == attribute(lab, "level")


def test_strongbox_is_left_alone_if_told_so(lab: Any) -> None:
    """NEVER: many a chip is slow."""
    lab.hasStrongBox = True
    written(AndroidOptions(strongbox=StrongBox.NEVER))
    assert "1" == attribute(lab, "level")


def test_required_strongbox_is_checked_on_the_key(lab: Any) -> None:
    """A chip that is announced and not used is not what was asked for."""
    lab.hasStrongBox = lab.lies = True
    with pytest.raises(StoreUnavailable, match="not in StrongBox"):
        written(AndroidOptions(strongbox=StrongBox.REQUIRED))
    assert [] == list(lab.aliases())


def test_slow_strongbox_ends_by_the_deadline_with_a_remedy(lab: Any) -> None:
    """Some chips need many seconds for a key."""
    lab.hasStrongBox = True
    faults().pause(1_500)
    with pytest.raises(StoreTimeout, match="StrongBox") as caught:
        written(AndroidOptions(), Call(2.2))
    assert "half a minute" in (caught.value.hint or "")
    faults().clear()
    time.sleep(2)
    assert [] == list(lab.aliases()), "the key that came too late does not stay"


@pytest.mark.parametrize("step", ["generateKey", "getKeySpec", "init", "doFinal"])
@pytest.mark.parametrize(
    "trouble",
    [
        "java.lang.NullPointerException",
        # KeyMint's TOO_MANY_OPERATIONS: tried again until the deadline.
        "java.security.ProviderException<android.security.KeyStoreException(10,-31)",
    ],
)
def test_making_that_fails_at_any_step_leaves_no_key(lab: Any, step: str, trouble: str) -> None:
    """Neither in the Keystore nor on the disk, whatever failed."""
    faults().clear()
    faults().inject(step, trouble, -1)
    with pytest.raises(StoreError):
        written(AndroidOptions(), Call(1.5))
    assert faults().seen(step) > 0
    faults().clear()
    assert [] == list(lab.aliases())


def test_locked_device_keeps_the_vault_shut(lab: Any) -> None:
    """`unlocked_device_required`: locked, not lost; readable again once unlocked."""
    options = AndroidOptions(unlocked_device_required=True)
    store = written(options)
    assert "true" == attribute(lab, "unlocked")
    assert store.facts.readable_when_locked is False
    lab.isLocked = True
    with pytest.raises(StoreLocked):
        store.read(ITEM, Call())
    assert AndroidStore(AndroidOptions()).facts.readable_when_locked is False, "by its key"
    lab.isLocked = False
    assert Secret("kept") == store.read(ITEM, Call())


def test_locked_device_leaves_other_keys_usable(lab: Any) -> None:
    """The default's key asks for nobody, and says so; what options ask for now is for new keys."""
    store = written(AndroidOptions())
    lab.isLocked = True
    assert Secret("kept") == store.read(ITEM, Call())
    assert store.facts.readable_when_locked is True
    asking_more = AndroidStore(AndroidOptions(unlocked_device_required=True))
    assert asking_more.facts.readable_when_locked is True
    assert Secret("kept") == asking_more.read(ITEM, Call())


@pytest.mark.parametrize(
    ("level", "options", "needs"),
    [
        (27, AndroidOptions(unlocked_device_required=True), 28),
        (29, AndroidOptions(user_authentication=UserAuthentication(seconds=30)), 30),
    ],
)
def test_old_android_refuses_what_it_cannot_honour(
    lab: Any, level: int, options: AndroidOptions, needs: int
) -> None:
    """An option is never dropped in silence."""
    load("android.os.Build$VERSION").SDK_INT = level
    with pytest.raises(UnsupportedOption, match=f"level {needs}"):
        written(options)


def test_old_android_tells_hardware_only_by_yes_and_no(lab: Any) -> None:
    """Before API level 31 there is `isInsideSecureHardware` alone."""
    load("android.os.Build$VERSION").SDK_INT = 30
    assert Protection.HARDWARE is written(AndroidOptions()).facts.protection


def test_place_decides_about_backups(lab: Any, place: str) -> None:
    """The directory that no backup holds, unless another is asked for."""
    assert written(AndroidOptions()).facts.in_backups is False
    assert (Path(place) / "no_backup/tokenkeep/vault/vault.db").exists()
    other = written(AndroidOptions(place=Place.FILES))
    assert other.facts.in_backups is True
    assert (Path(place) / "files/tokenkeep/vault/vault.db").exists()


WITHIN = AndroidOptions(user_authentication=UserAuthentication(seconds=30, title="Your notes"))
EACH_TIME = AndroidOptions(user_authentication=UserAuthentication(by=Authenticator.BIOMETRIC))


def test_recent_authentication_opens_without_a_prompt(lab: Any) -> None:
    """Within the seconds; afterwards the store is locked, and nothing is shown unasked."""
    people().failing(10)
    with pytest.raises(StoreLocked):
        written(WITHIN)
    lab.authenticate()
    store = written(WITHIN)
    assert ("30", "3") == (attribute(lab, "seconds"), attribute(lab, "authenticators"))
    assert store.facts.may_prompt is True
    assert Secret("kept") == store.read(ITEM, Call())
    assert 0 == people().met


def test_prompt_is_shown_where_it_is_allowed(lab: Any) -> None:
    """Once for each opening, with the title that was asked for, after one unknown finger."""
    people().confirming()
    store = written(WITHIN, asking())
    assert (1, "Your notes", False) == (
        people().met,
        people().lastTitle,
        people().lastWasForCipher,
    )
    assert Secret("kept") == store.read(ITEM, Call())


def test_key_for_each_use_is_confirmed_in_the_middle_of_it(lab: Any) -> None:
    """The confirmation belongs to one cipher; without a prompt the store is locked."""
    people().confirming()
    store = written(EACH_TIME, asking(30.0))
    assert ("0", "2", "true") == tuple(
        attribute(lab, name) for name in ("seconds", "authenticators", "enrolment")
    )
    assert people().lastWasForCipher
    with pytest.raises(StoreLocked):
        store.read(ITEM, Call())
    assert Secret("kept") == store.read(ITEM, asking())


@pytest.mark.parametrize(
    ("code", "error"),
    [(10, InteractionDenied), (13, InteractionDenied), (7, StoreLocked), (9, StoreLocked),
     (11, StoreUnavailable), (4, StoreFull)],
)  # fmt: skip
@pytest.mark.parametrize("options", [WITHIN, EACH_TIME], ids=["within", "each time"])
def test_refused_prompt_is_told_and_loses_nothing(
    lab: Any, options: AndroidOptions, code: int, error: type[StoreError]
) -> None:
    """What ended the prompt is the error; the next attempt may succeed."""
    people().confirming()
    store = written(options, asking(30.0))
    lab.use(str(lab_root(store)))
    people().failing(code)
    with pytest.raises(error) as caught:
        store.read(ITEM, asking())
    assert "hunter2" not in str(caught.value)
    people().confirming()
    assert Secret("kept") == store.read(ITEM, asking())


@pytest.mark.parametrize("options", [WITHIN, EACH_TIME], ids=["within", "each time"])
def test_unanswered_prompt_is_taken_back(lab: Any, options: AndroidOptions) -> None:
    """`StoreTimeout` by the deadline, and no prompt stays on the screen."""
    people().absent()
    began = time.monotonic()
    with pytest.raises(StoreTimeout):
        written(options, asking(0.7))
    assert time.monotonic() - began < 3.0
    time.sleep(0.5)
    assert people().wasCancelled
    assert [] == list(lab.aliases())


@pytest.mark.parametrize("options", [WITHIN, EACH_TIME], ids=["within", "each time"])
def test_a_person_has_a_time_of_their_own(lab: Any, options: AndroidOptions) -> None:
    """`prompt_timeout` is not counted in the call's own, and ends a prompt before it, too."""
    people().confirming()
    store = written(options, asking(30.0))
    lab.use(str(lab_root(store)))
    people().hesitating(2500)
    with pytest.raises(StoreTimeout):
        store.read(ITEM, asking(2.0))
    assert Secret("kept") == store.read(ITEM, Call(2.0, Interaction.ALLOWED, prompt_timeout=30.0))
    store.close()
    lab.use(str(lab_root(store)))
    people().absent()
    began = time.monotonic()
    with pytest.raises(StoreTimeout):
        store.read(ITEM, Call(30.0, Interaction.ALLOWED, prompt_timeout=0.7))
    assert time.monotonic() - began < 5.0


def test_prompt_alone_confirms_a_person() -> None:
    """The binding under a presence gate: nothing but yes, or why not."""
    people().confirming()
    biometric.require_prompt(Call())
    biometric.confirm(asking(), "Confirm", biometric.BIOMETRIC_STRONG)
    with pytest.raises(InteractionDenied):
        biometric.confirm(Call(), "Confirm", biometric.BIOMETRIC_STRONG)
    people().failing(12)
    with pytest.raises(StoreUnavailable):
        biometric.confirm(asking(), "Confirm", biometric.DEVICE_CREDENTIAL)


def test_prompt_needs_a_recent_android(lab: Any) -> None:
    """Before API level 30 nobody can say what counts."""
    load("android.os.Build$VERSION").SDK_INT = 29
    with pytest.raises(StoreUnavailable, match="level 30"):
        biometric.confirm(asking(), "Confirm", biometric.BIOMETRIC_STRONG)


def test_probe_looks_and_makes_nothing(lab: Any, place: str) -> None:
    """No vault, no key, no prompt; a Keystore that fails is its error."""
    people().failing(10)
    probe(WITHIN, Call())
    assert ([], 0) == (list(lab.aliases()), people().met)
    assert [] == [path for path in Path(place).rglob("*") if path.is_file()]
    faults().inject("containsAlias", "java.security.KeyStoreException", -1)
    with pytest.raises(StoreUnavailable):
        probe(AndroidOptions(), Call(0.5))


def test_no_application_is_unavailable(lab: Any, place: str) -> None:
    """A program beside the application has no private storage of its."""
    load("org.kivy.android.PythonActivity").mActivity = None
    with pytest.raises(StoreUnavailable, match="no Android application"):
        probe(AndroidOptions(), Call())
    with pytest.raises(StoreUnavailable):
        AndroidStore(AndroidOptions()).read(ITEM, Call())
    open_store(place)


def test_removed_slot_takes_its_key_along(lab: Any, place: str) -> None:
    """`forget` erases the Keystore's key of a slot that is gone, and no other."""
    store = written(AndroidOptions())
    vault = store._vault
    header = vault.header()
    assert header is not None
    (slot,) = header.slots
    store._key.forget(slot, b"another vault id", Call())
    assert 1 == len(lab.aliases())
    store._key.forget(slot, header.vault_id, Call())
    assert [] == list(lab.aliases())


def lab_root(store: AndroidStore) -> Path:
    return Path(store.path).parents[2]
