"""Every documented failure of the Keystore, injected: the right error, and nothing erased."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from traceback import TracebackException
from typing import Any

import pytest

from native.test_android_codes import (
    INTERNAL_CODES,
    MESSAGES,
    PUBLIC_CODES,
    THROWABLES,
    UNKNOWN_MESSAGES,
    WRAPPERS,
)
from on_android.device import device, faults, files_under, open_store
from tokenkeep.backends.android import AndroidStore
from tokenkeep.errors import (
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    VaultDamaged,
)
from tokenkeep.item import Call, ItemName
from tokenkeep.native.android.codes import Meaning
from tokenkeep.native.android.keystore import NoStrongBox
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage

ITEM = ItemName("org.example", "token")
INVALID_KEY = "java.security.InvalidKeyException"
KEYSTORE = "android.security.KeyStoreException"
CODED = f"{INVALID_KEY}<{KEYSTORE}"

FAILURES: list[tuple[str, Meaning]] = [
    *((name, meaning) for name, meaning in THROWABLES if not name.endswith("y.KeyStoreException")),
    *((f"{CODED}({code},-1000)", meaning) for code, meaning in PUBLIC_CODES),
    *((f"{CODED}(10,{code})", meaning) for code, meaning in INTERNAL_CODES),
    (
        f"{INVALID_KEY}<android.security.keystore.KeyPermanentlyInvalidatedException",
        Meaning.INVALIDATED,
    ),
    (
        "java.security.UnrecoverableKeyException<"
        "android.security.keystore.KeyPermanentlyInvalidatedException",
        Meaning.INVALIDATED,
    ),
    ("java.security.ProviderException<android.security.KeyStoreException(10,-72)", Meaning.LOCKED),
    ("java.lang.NullPointerException", Meaning.UNAVAILABLE),
]

#: The same as Android 9 to 12 tell them.
OLDER_FAILURES = [
    *((f"{INVALID_KEY}<{KEYSTORE}[{text}]", meaning) for text, meaning in MESSAGES),
    *((f"{INVALID_KEY}<{KEYSTORE}[{code}]", meaning) for code, meaning in INTERNAL_CODES),
    *(
        (f"{wrapper}<{KEYSTORE}[{text}]", Meaning.UNAVAILABLE)
        for wrapper in WRAPPERS
        for text in UNKNOWN_MESSAGES
    ),
]

#: Where a failure of such a kind comes from on a device: while the key is looked up or used.
STEPS = ("getKey", "init", "doFinal")


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A device whose application has one item, in a store that is closed."""
    directory = str(tmp_path / "device")
    device(directory)
    store = open_store(directory)
    store.write(ITEM, Secret("kept"), Call(30.0))
    store.close()
    faults().clear()
    return directory


def read(store: AndroidStore, seconds: float = 0.4) -> bytes:
    value = store.read(ITEM, Call(seconds))
    assert value is not None
    return value.reveal_bytes()


def final_error(error: type[StoreError]) -> type[StoreError]:
    # The bytes that do not fit are a slot's: `reset` may then set the vault aside.
    return VaultDamaged if error is SecretDamaged else error


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("chain", "meaning"), FAILURES)
def test_failure_is_told_and_erases_nothing(
    place: str, chain: str, meaning: Meaning, step: str
) -> None:
    """A failure that lasts ends as its error, by the deadline; afterwards everything is there."""
    if step != "getKey" and "Unrecoverable" in chain.split("<")[0]:
        return  # a cipher never throws it, and wraps what it throws
    lasting_failure_erases_nothing(place, chain, meaning, step)


@pytest.mark.parametrize(("chain", "meaning"), OLDER_FAILURES)
def test_failure_of_an_older_android_is_told_and_erases_nothing(
    place: str, chain: str, meaning: Meaning
) -> None:
    """Without codes, a key that is locked or busy is neither gone nor damaged."""
    lasting_failure_erases_nothing(place, chain, meaning, "init")


@pytest.mark.parametrize(("text", "meaning"), MESSAGES)
def test_failure_of_an_older_android_is_told_at_the_end_too(
    place: str, text: str, meaning: Meaning
) -> None:
    """`doFinal` wraps whatever it has no class for as if the bytes were of a wrong size."""
    chain = f"javax.crypto.IllegalBlockSizeException<{KEYSTORE}[{text}]"
    lasting_failure_erases_nothing(place, chain, meaning, "doFinal")


def test_reset_leaves_a_vault_alone_that_an_older_android_locks(place: str, tmp_path: Path) -> None:
    """What opens again once the device is unlocked is not set aside."""
    before = files_under(place)
    storage = SecureStorage(
        ITEM.service, open_store(place), state_directory=str(tmp_path / "state"), timeout=5.0
    )
    faults().inject("init", f"{INVALID_KEY}<{KEYSTORE}[Device locked]", -1)
    with pytest.raises(StoreLocked):
        storage.reset()
    assert before == files_under(place)


def lasting_failure_erases_nothing(place: str, chain: str, meaning: Meaning, step: str) -> None:
    before = files_under(place)
    store = open_store(place)
    faults().inject(step, chain, -1)
    began = time.monotonic()
    with pytest.raises(StoreError) as caught:
        read(store)
    expected = NoStrongBox if meaning is Meaning.NO_STRONGBOX else final_error(meaning.error)
    assert expected is type(caught.value)
    assert time.monotonic() - began < 3.0
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert before == files_under(place)
    faults().clear()
    assert b"kept" == read(store, 30.0)


@pytest.mark.parametrize(
    ("chain", "meaning"),
    [(chain, meaning) for chain, meaning in FAILURES if meaning is Meaning.BUSY],
)
def test_busy_keystore_is_asked_again(place: str, chain: str, meaning: Meaning) -> None:
    """What is busy twice and then answers was never a failure."""
    faults().inject("doFinal", chain, 2)
    assert b"kept" == read(open_store(place), 10.0)
    assert 3 == faults().seen("doFinal")


@pytest.mark.parametrize(
    ("step", "chain"),
    [
        ("doFinal", "javax.crypto.AEADBadTagException"),
        ("doFinal", "javax.crypto.BadPaddingException"),
        ("doFinal", "javax.crypto.IllegalBlockSizeException"),
        ("doFinal", "javax.crypto.AEADBadTagException<android.security.KeyStoreException(10,-30)"),
        ("getKey", "java.security.UnrecoverableKeyException"),
    ],
)
def test_what_may_pass_is_tried_once_more(place: str, step: str, chain: str) -> None:
    """Android now and then refuses a good key once."""
    faults().inject(step, chain, 1)
    assert b"kept" == read(open_store(place), 10.0)
    assert 2 == faults().seen(step)


def test_wrong_tag_with_the_key_there_is_damage(place: str) -> None:
    """The key is asked for before the bytes are called damaged."""
    faults().inject("doFinal", "javax.crypto.AEADBadTagException", -1)
    with pytest.raises(VaultDamaged, match="the key is there"):
        read(open_store(place))


def test_wrong_tag_with_the_key_gone_is_a_lost_key(place: str) -> None:
    """Somebody removed the key while it was used."""
    faults().inject("doFinal", "javax.crypto.AEADBadTagException", -1)
    store = open_store(place)
    gone = threading.Thread(target=_remove_keys_after, args=(place, "doFinal"))
    gone.start()
    try:
        with pytest.raises(SecretInvalidated):
            read(store, 5.0)
    finally:
        gone.join()


def test_restored_backup_without_its_key_is_recognised(place: str) -> None:
    """A vault came back, its key did not: nothing is made, and everything is kept."""
    _remove_keys(place)
    before = files_under(place)
    store = open_store(place)
    for attempt in (
        lambda: store.read(ITEM, Call()),
        lambda: store.write(ITEM, Secret("new"), Call()),
        lambda: store.delete(ITEM, Call()),
        lambda: store.names(ITEM.service, Call()),
        lambda: store.contains(ITEM, Call()),
        lambda: store.replace(ITEM, None, Secret("new"), Call()),
        lambda: store.erase(ITEM.service, Call()),
    ):
        with pytest.raises(SecretInvalidated, match="gone from this device") as caught:
            attempt()
        assert "reset" in (caught.value.hint or "")
    assert before == files_under(place)
    assert 0 == faults().seen("generateKey")


def test_reset_is_the_way_out_of_a_lost_key(place: str, tmp_path: Path) -> None:
    """The old vault is set aside whole; the next write makes a new one with a key of its own."""
    storage = SecureStorage(
        ITEM.service, open_store(place), state_directory=str(tmp_path / "state"), timeout=30.0
    )
    _remove_keys(place)
    with pytest.raises(SecretInvalidated):
        storage.read(ITEM.name)
    erased = storage.reset()
    assert erased.set_aside is not None
    assert any(erased.set_aside.endswith(Path(name).parts[-2]) for name in files_under(place))
    assert storage.read(ITEM.name) is None
    storage.write(ITEM.name, "new")
    assert Secret("new") == storage.read(ITEM.name)
    assert 1 == len(device_aliases())


def test_invalidated_key_stays_in_the_keystore(place: str) -> None:
    """A new finger ends a key: told as such, and not removed by us."""
    alias = device_aliases()[0]
    _lab().invalidate(alias)
    with pytest.raises(SecretInvalidated):
        read(open_store(place))
    assert [alias] == device_aliases()


def test_hanging_keystore_ends_by_the_deadline(place: str) -> None:
    """A call that does not come back is `StoreTimeout`; the next one waits its turn, no longer."""
    store = open_store(place)
    faults().pause(2_000)
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(StoreTimeout):
            read(store, 0.3)
        assert time.monotonic() - began < 1.5
    faults().clear()
    time.sleep(2.5)  # what hung is still at it
    assert b"kept" == read(store, 30.0)


def test_application_that_does_not_answer_ends_by_the_deadline(place: str) -> None:
    """Also while the store asks for its directory, which it does once."""
    store = open_store(place)
    faults().pause(1_000)
    began = time.monotonic()
    with pytest.raises(StoreTimeout):
        store.read(ITEM, Call(0.2))
    assert time.monotonic() - began < 0.9
    assert 0 == faults().seen("getKey")
    faults().clear()
    time.sleep(1.2)
    assert b"kept" == read(store, 30.0)
    store.close()
    assert b"kept" == read(store, 30.0)
    assert 1 == faults().seen("directory")


@pytest.mark.parametrize("step", ["generateKey", "getKeySpec", "init", "doFinal"])
def test_failed_creation_leaves_neither_vault_nor_key(tmp_path: Path, step: str) -> None:
    """A first write that fails anywhere can simply be done again."""
    directory = str(tmp_path / "device")
    lab = device(directory)
    store = open_store(directory)
    faults().inject(step, "java.lang.SecurityException", 1)
    with pytest.raises(StoreError) as caught:
        store.write(ITEM, Secret("hunter" + "3"), Call(30.0))
    told = "".join(TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "hunter3" not in told
    assert "hunter2" not in told
    assert [] == list(lab.aliases())
    assert {} == files_under(directory)
    store.write(ITEM, Secret("x"), Call(30.0))
    assert 1 == len(lab.aliases())


def test_reading_an_empty_device_makes_nothing(tmp_path: Path) -> None:
    """Neither vault nor key, before the first write."""
    directory = str(tmp_path / "device")
    lab = device(directory)
    store = open_store(directory)
    assert store.read(ITEM, Call()) is None
    assert [] == store.names(ITEM.service, Call())
    assert store.delete(ITEM, Call()) is False
    store.facts  # noqa: B018
    assert [] == list(lab.aliases())
    assert {} == files_under(directory)


def test_no_prompt_is_shown_for_a_key_without_one(place: str) -> None:
    """A locked failure without user authentication is told, whatever the call allows."""
    faults().inject("init", "android.security.keystore.UserNotAuthenticatedException", -1)
    with pytest.raises(StoreLocked):
        open_store(place).read(ITEM, Call(1.0, "allowed"))


def test_java_does_not_survive_a_fork(place: str) -> None:
    """A child that would have to ask Java is told so at once."""
    from tokenkeep.testing.together import forked

    def child() -> bool:
        with pytest.raises(StoreUnavailable, match="fork"):
            open_store(place).read(ITEM, Call())
        return True

    open_store(place).names(ITEM.service, Call())
    assert forked(child)


def device_aliases() -> list[str]:
    return list(_lab().aliases())


def _lab() -> Any:
    from on_android.device import load

    return load("org.tokenkeep.lab.Device")


def _remove_keys(place: str) -> None:
    for file in (Path(place) / "keystore").iterdir():
        file.unlink()


def _remove_keys_after(place: str, step: str) -> None:
    until = time.monotonic() + 10
    while faults().seen(step) == 0 and time.monotonic() < until:
        time.sleep(0.002)
    _remove_keys(place)
    from jnius import detach

    detach()
