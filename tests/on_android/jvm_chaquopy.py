"""The store through the bridge's other half: Chaquopy's `java` module, imitated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from native.test_android_codes import INTERNAL_CODES
from on_android import chaquopy, jvm_contract
from on_android.device import device, faults, load, open_store, people
from tokenkeep.backends.android import AndroidOptions, AndroidStore, UserAuthentication, probe
from tokenkeep.errors import StoreError, StoreUnavailable
from tokenkeep.item import Call, Interaction, ItemName
from tokenkeep.migrate.flutter_android import FlutterAndroid
from tokenkeep.migrate.jetpack_security import JetpackSecurity
from tokenkeep.native.android import jvm
from tokenkeep.native.android.codes import Meaning
from tokenkeep.secret import Secret
from tokenkeep.store import Protection

ITEM = ItemName("org.example", "token")


@pytest.fixture(autouse=True)
def through_chaquopy(tmp_path: Path) -> Iterator[None]:
    """The module is there before anybody looks for a bridge."""
    chaquopy.install()
    device(str(tmp_path / "device"))
    yield
    assert "Chaquopy" in type(jvm.bridge()).__name__


class TestThroughChaquopy(jvm_contract.TestAndroidStore):
    """The whole contract again."""


def test_key_tells_its_level() -> None:
    """Casts and class objects are Chaquopy's."""
    store = AndroidStore(AndroidOptions())
    store.write(ITEM, Secret("x"), Call(30.0))
    assert Protection.HARDWARE is store.facts.protection
    probe(AndroidOptions(), Call())


@pytest.mark.parametrize(("code", "meaning"), INTERNAL_CODES)
def test_codes_are_found_in_the_chain_of_causes(
    tmp_path: Path, code: int, meaning: Meaning
) -> None:
    """By `toString` and `getCause`, with no message in what we raise."""
    store = open_store(str(tmp_path / "device"))
    store.write(ITEM, Secret("kept"), Call(30.0))
    store.close()
    chain = f"java.security.InvalidKeyException<android.security.KeyStoreException(10,{code})"
    faults().inject("init", chain, -1)
    with pytest.raises(StoreError) as caught:
        store.read(ITEM, Call(0.3))
    assert isinstance(caught.value, meaning.error)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None
    faults().clear()
    assert Secret("kept") == store.read(ITEM, Call(30.0))


def test_prompt_is_shown() -> None:
    """The Java file's class is called as any other."""
    people().confirming()
    store = AndroidStore(AndroidOptions(user_authentication=UserAuthentication(seconds=30)))
    store.write(ITEM, Secret("x"), Call(30.0, Interaction.ALLOWED))
    assert 1 == people().met


def test_application_without_the_java_file_cannot_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is made, with the remedy."""
    monkeypatch.setattr("tokenkeep.native.android.biometric._OUTCOME", "org.tokenkeep.Missing")
    options = AndroidOptions(user_authentication=UserAuthentication())
    with pytest.raises(StoreUnavailable, match="Java file") as caught:
        probe(options, Call())
    assert "java_folder" in (caught.value.hint or "")


def test_older_formats_are_read(tmp_path: Path) -> None:
    """Preferences, unwrapping, and keys without bytes."""
    app: Any = load("org.tokenkeep.lab.OldFlutterApp")(10, None)
    app.write("refresh", "r3fresh")
    assert Secret("r3fresh") == FlutterAndroid().read("refresh")
    FlutterAndroid().remove("refresh")
    assert [] == FlutterAndroid().names()
    assert [] == JetpackSecurity("nothing").names()
