"""What other libraries kept in an Android application, read inside it and moved out of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from on_android.device import device, faults, files_under, load
from tokenkeep.backends.android import AndroidOptions, AndroidStore
from tokenkeep.errors import (
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    StoreFull,
    StoreLocked,
    UnsupportedOption,
)
from tokenkeep.migrate.flutter_android import KEY_PREFIX, FlutterAndroid
from tokenkeep.migrate.jetpack_security import MASTER_KEY, JetpackSecurity
from tokenkeep.migrate.migration import Migration
from tokenkeep.migrate.source import Source
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage

VECTORS = Path(__file__).parent / "vectors"
VALUES = {"refresh token": "r3fresh", "ключ": "zażółć", "empty": "", "a_b": "x" * 400}


@pytest.fixture
def lab(tmp_path: Path) -> Any:
    return device(str(tmp_path))


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path)


def put(file: str, name: str, value: str) -> None:
    load("org.tokenkeep.lab.OldFlutterApp").putRaw(file, name, value)


def flutter(release: int, namespace: str | None = None) -> FlutterAndroid:
    """The plugin's data of that release, written by the JDK alone."""
    app = load("org.tokenkeep.lab.OldFlutterApp")(release, namespace)
    for name, value in VALUES.items():
        app.write(name, value)
    return FlutterAndroid(namespace, timeout=5.0)


def vector(lab: Any, name: str) -> dict[str, Any]:
    """A vector written by Tink, installed on the device."""
    content: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    lab.install(MASTER_KEY, "AES", bytes.fromhex(content["master_key"]))
    for place, value in content["entries"].items():
        put(content["file"], place, value)
    return content


@pytest.mark.parametrize("namespace", [None, "notes"])
@pytest.mark.parametrize("release", [8, 9, 10, 11, 0])
def test_flutters_values_are_read(
    lab: Any, place: str, release: int, namespace: str | None
) -> None:
    """Each release's ciphers, names and markers; reading changes nothing."""
    source = flutter(release, namespace)
    assert isinstance(source, Source)
    before = files_under(place)
    assert sorted(VALUES) == source.names()
    assert {name: Secret(value) for name, value in VALUES.items()} == {
        name: source.read(name) for name in VALUES
    }
    assert source.read("absent") is None
    assert before == files_under(place)
    assert f"flutter-android {namespace or 'FlutterSecureStorage'}" == source.identity


def test_flutters_copies_and_strangers_are_no_keys(lab: Any) -> None:
    """A migration's backup copy, another prefix, a number: nothing the application wrote."""
    source = flutter(10)
    put("FlutterSecureStorage", f"{KEY_PREFIX}_a_b_BACKUP", "AAAA")
    put("FlutterSecureStorage", f"{KEY_PREFIX}_number", "int:7")
    put("FlutterSecureStorage", "another", "AAAA")
    assert sorted(VALUES) == source.names()
    source.remove("a_b")
    assert source.read("a_b") is None
    assert sorted(VALUES.keys() - {"a_b"}) == source.names()


def test_flutters_values_move_into_the_vault(lab: Any, place: str) -> None:
    """The whole way: moved, compared, and taken out of the old place once that is confirmed."""
    source = flutter(10)
    store, state = AndroidStore(AndroidOptions()), str(Path(place) / "state")
    with SecureStorage("org.example.app", store, state_directory=state) as storage:
        migration = Migration(source, storage)
        migration.run()
        assert sorted(VALUES) == source.names()
        assert VALUES == {name: (storage.read(name) or Secret("?")).reveal() for name in VALUES}
        migration.confirm()
        assert [] == source.names()
        assert sorted(VALUES) == storage.names()


def test_flutters_keys_leave_in_one_commit(lab: Any) -> None:
    """What is not moved stays; a full disk changes nothing."""
    source = flutter(11)
    load("org.tokenkeep.lab.Preferences").fails = True
    with pytest.raises(StoreFull):
        source.remove("empty", "a_b")
    load("org.tokenkeep.lab.Preferences").fails = False
    assert sorted(VALUES) == source.names()
    source.remove("empty", "a_b", "absent")
    assert ["refresh token", "ключ"] == source.names()
    assert Secret("r3fresh") == source.read("refresh token")


def test_flutter_without_anything_is_empty(lab: Any, place: str) -> None:
    """An application that never used it."""
    source = FlutterAndroid()
    assert ([], None) == (source.names(), source.read("a"))
    source.remove("a")
    assert {} == files_under(place)


@pytest.mark.parametrize("release", [8, 10, 0])
def test_flutters_lost_key_is_told_and_loses_nothing(lab: Any, place: str, release: int) -> None:
    """A restored backup: the names are there, the key is not, and none is made."""
    source = flutter(release)
    for file in (Path(place) / "keystore").iterdir():
        file.unlink()
    before = files_under(place)
    assert sorted(VALUES) == source.names()
    with pytest.raises(SecretInvalidated, match="gone from this device"):
        source.read("a_b")
    assert before == files_under(place)


def test_flutters_wrapped_key_that_is_missing_is_a_lost_key(lab: Any, place: str) -> None:
    """The preferences with the key were not in the backup."""
    source = flutter(10)
    (Path(place) / "shared_prefs/FlutterSecureKeyStorage.properties").unlink()
    with pytest.raises(SecretInvalidated):
        source.read("a_b")


@pytest.mark.parametrize(
    ("chain", "error"),
    [
        ("android.security.keystore.UserNotAuthenticatedException", StoreLocked),
        ("java.security.InvalidKeyException", SecretDamaged),
        ("android.security.keystore.KeyPermanentlyInvalidatedException", SecretInvalidated),
        (
            "java.security.InvalidKeyException<android.security.KeyStoreException(10,-72)",
            StoreLocked,
        ),
    ],
)
def test_flutters_key_that_does_not_unwrap(
    lab: Any, place: str, chain: str, error: type[StoreError]
) -> None:
    """A key that does not unwrap though its own key is there is damage; what passes is no loss."""
    source = flutter(10)
    before = files_under(place)
    faults().inject("unwrap", chain, -1)
    with pytest.raises(error) as caught:
        source.read("a_b")
    assert "hunter2" not in str(caught.value)
    assert before == files_under(place)
    faults().clear()
    assert Secret(VALUES["a_b"]) == source.read("a_b")


@pytest.mark.parametrize("release", [8, 10])
@pytest.mark.parametrize("content", ["AAAA", "!", "", "QUJDRA==" * 20])
def test_flutters_damaged_value_is_damage(lab: Any, release: int, content: str) -> None:
    """Never absent, and never another value."""
    source = flutter(release)
    put("FlutterSecureStorage", f"{KEY_PREFIX}_a_b", content)
    with pytest.raises(SecretDamaged):
        source.read("a_b")
    assert Secret("r3fresh") == source.read("refresh token")


def test_flutters_unknown_cipher_is_refused(lab: Any) -> None:
    """A later release's: guessing would only say damaged."""
    source = flutter(11)
    put("FlutterSecureStorageConfiguration:FlutterSecureStorage", "FlutterSecureSAlgorithmKey", "X")
    with pytest.raises(UnsupportedOption):
        source.read("a_b")


@pytest.mark.parametrize("name", ["secret_shared_prefs", "FlutterSecureStorage"])
def test_jetpacks_values_are_read(lab: Any, place: str, name: str) -> None:
    """Vectors by Tink: every type, a retired and a disabled key in the keyset."""
    content = vector(lab, name)
    source = JetpackSecurity(content["file"], timeout=5.0)
    assert isinstance(source, Source)
    before = files_under(place)
    assert sorted(content["values"]) == source.names()
    for key, expected in content["values"].items():
        if isinstance(expected, dict):
            with pytest.raises(UnsupportedOption):
                source.read(key)
        elif expected is None:
            assert source.read(key) is None
        else:
            assert Secret(expected) == source.read(key)
    assert source.read("absent") is None
    assert before == files_under(place)


def test_flutter_over_jetpack_is_read_by_its_own_names(lab: Any) -> None:
    """`encryptedSharedPreferences: true`; keys that were moved to its own cipher come first."""
    vector(lab, "FlutterSecureStorage")
    source = FlutterAndroid()
    assert ["refresh"] == source.names()
    assert Secret("flutter's") == source.read("refresh")
    app = load("org.tokenkeep.lab.OldFlutterApp")(10, None)
    app.write("refresh", "newer")
    app.write("token", "t")
    assert ["refresh", "token"] == source.names()
    assert Secret("newer") == source.read("refresh")
    source.remove("refresh")
    assert ["token"] == source.names()
    assert source.read("refresh") is None


def test_jetpacks_entries_leave_alone(lab: Any) -> None:
    """The keysets stay for what stays."""
    content = vector(lab, "secret_shared_prefs")
    source = JetpackSecurity(content["file"])
    source.remove("token", "absent")
    assert sorted(content["values"].keys() - {"token"}) == source.names()
    assert Secret("-7") == source.read("int")


def test_jetpacks_lost_master_key_is_told_and_loses_nothing(lab: Any, place: str) -> None:
    """A restored backup; the application's own classes would have made a new key here."""
    content = vector(lab, "secret_shared_prefs")
    for file in (Path(place) / "keystore").iterdir():
        file.unlink()
    before = files_under(place)
    source = JetpackSecurity(content["file"])
    with pytest.raises(SecretInvalidated, match="master key"):
        source.names()
    assert before == files_under(place)


def test_jetpacks_other_master_key_is_damage(lab: Any) -> None:
    """The alias is there, with another key under it."""
    content = vector(lab, "secret_shared_prefs")
    lab.install(MASTER_KEY, "AES", bytes(32))
    with pytest.raises(SecretDamaged):
        JetpackSecurity(content["file"]).names()


@pytest.mark.parametrize("which", [0, 1, 2, 3])
@pytest.mark.parametrize("spoilt", ["", "zz", "ff", "12ff"])
def test_jetpacks_spoilt_entry_is_damage(lab: Any, which: int, spoilt: str) -> None:
    """Keysets, names and values: one of our errors, whatever lies there."""
    content = vector(lab, "secret_shared_prefs")
    place = list(content["entries"])[which]
    put(content["file"], place, spoilt)
    source = JetpackSecurity(content["file"])
    found = []
    try:
        for name in source.names():
            try:
                source.read(name)
            except SecretDamaged:
                found.append(name)
            except UnsupportedOption:
                pass
    except SecretDamaged:
        found.append("names")
    assert found


def test_jetpack_without_a_file_is_empty(lab: Any, place: str) -> None:
    """Nothing is made by looking."""
    source = JetpackSecurity("nothing")
    assert ([], None) == (source.names(), source.read("a"))
    source.remove("a")
    assert {} == files_under(place)
