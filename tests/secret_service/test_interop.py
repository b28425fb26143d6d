"""Our items, python-keyring's and secret-tool's are found by each other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

from secret_service.daemons import EACH, running
from support.desktop import attributes_of, delete, found, gnome_desktop, items, label_of, put
from support.gnome_keyring import COLLECTION, GnomeKeyring
from tokenkeep.backends.secret_service import SecretServiceStore
from tokenkeep.item import MIGRATION, SESSION, Call, ItemName
from tokenkeep.secret import Secret

pytestmark = pytest.mark.requires("gnome-keyring", "secret-tool")

SERVICE = "org.example.notes"
NAME = ItemName(SERVICE, "api key")


@pytest.fixture
def keyring() -> Iterator[GnomeKeyring]:
    with gnome_desktop() as keyring:
        yield keyring


@pytest.fixture
def store(keyring: GnomeKeyring) -> Iterator[SecretServiceStore]:
    made = SecretServiceStore()
    yield made
    made.close()


def call() -> Call:
    return Call(20.0)


def run(command: Sequence[str], value: bytes = b"") -> bytes:
    """What a program of other people's prints.

    One run in 128 or so fails with KWallet, and is made again. libsecret and secretstorage send
    their public number without leading zeros, and KWallet takes none that is shorter than the
    group's; and it leaves out leading zeros of the number agreed on, where they keep them: then
    they have another key than it, and secret-tool says nothing, python-keyring perhaps "".
    """
    env = {**os.environ, "PYTHON_KEYRING_BACKEND": "keyring.backends.SecretService.Keyring"}
    for _attempt in range(3):
        answer = subprocess.run(command, input=value, capture_output=True, env=env)
        if answer.returncode == 0 and not answer.stderr and answer.stdout != b"\n":
            break
    assert b"" == answer.stderr
    return answer.stdout


def secret_tool(*arguments: str, value: bytes = b"") -> bytes:
    return run(["secret-tool", *arguments], value)


def by_python_keyring(verb: str, *arguments: str) -> str:
    """What python-keyring prints, in a process of its own, with its own choice of backend."""
    script = f"import sys, keyring; print(keyring.{verb}(*sys.argv[1:]))"
    return run([sys.executable, "-c", script, *arguments]).decode().rstrip("\n")


@pytest.mark.parametrize("daemon", EACH)
def test_each_finds_what_the_others_wrote(daemon: str) -> None:
    """We, secret-tool and python-keyring, on every keyring: by `service` and `username`."""
    with running(daemon):
        store = SecretServiceStore()
        names = {writer: ItemName(SERVICE, writer) for writer in ("us", "secret-tool", "keyring")}
        store.write(names["us"], Secret("of us"), call())
        where = ("service", SERVICE, "username", "secret-tool")
        secret_tool("store", "--label=theirs", *where, value=b"of secret-tool")
        by_python_keyring("set_password", SERVICE, "keyring", "of keyring")
        for writer, name in names.items():
            value = f"of {writer}"
            assert Secret(value) == store.read(name, call()), writer
            assert store.contains(name, call()), writer
            found = secret_tool("lookup", "service", SERVICE, "username", writer)
            assert value.encode() == found, writer
            assert value == by_python_keyring("get_password", SERVICE, writer)
        assert sorted(names.values()) == store.names(SERVICE, call())
        store.close()


@pytest.mark.parametrize("daemon", EACH)
@pytest.mark.parametrize("writer", ["python-keyring", "secret-tool"])
def test_what_others_wrote_is_changed_in_place(daemon: str, writer: str) -> None:
    """On every keyring: one item, its label stays, and who wrote it reads the new value."""
    with running(daemon) as keyring:
        where = ("service", SERVICE, "username", NAME.name)
        if writer == "secret-tool":
            secret_tool("store", "--label=theirs", *where, value=b"theirs")
        else:
            by_python_keyring("set_password", SERVICE, NAME.name, "theirs")
        (item,) = items(keyring.bus)
        before = label_of(keyring.bus, item)
        store = SecretServiceStore()
        store.write(NAME, Secret("ours"), call())
        store.close()
        assert [item] == items(keyring.bus)
        assert before == label_of(keyring.bus, item)
        assert b"ours" == secret_tool("lookup", *where)
        assert "ours" == by_python_keyring("get_password", SERVICE, NAME.name)


@pytest.mark.parametrize("writer", ["python-keyring", "secret-tool"])
def test_we_find_list_change_and_delete_what_others_wrote(
    store: SecretServiceStore, keyring: GnomeKeyring, writer: str
) -> None:
    """Changed in place: their attributes and label stay, and there is one item."""
    if writer == "secret-tool":
        where = ("service", SERVICE, "username", NAME.name)
        secret_tool("store", "--label=theirs", *where, value=b"theirs")
    else:
        by_python_keyring("set_password", SERVICE, NAME.name, "theirs")
    assert Secret("theirs") == store.read(NAME, call())
    assert [NAME] == store.names(SERVICE, call())
    assert store.contains(NAME, call())
    (item,) = items(keyring.bus)
    before = attributes_of(keyring.bus, item), label_of(keyring.bus, item)
    store.write(NAME, Secret("ours"), call())
    assert [item] == items(keyring.bus)
    assert before == (attributes_of(keyring.bus, item), label_of(keyring.bus, item))
    assert "ours" == by_python_keyring("get_password", SERVICE, NAME.name)
    assert store.delete(NAME, call()) is True
    assert [] == items(keyring.bus)


@pytest.mark.parametrize("writer", ["python-keyring", "secret-tool"])
def test_others_write_over_our_item(
    store: SecretServiceStore, keyring: GnomeKeyring, writer: str
) -> None:
    """They replace it rather than put a second one beside it: everybody sees the new value."""
    store.write(NAME, Secret("ours"), call())
    if writer == "secret-tool":
        where = ("service", SERVICE, "username", NAME.name)
        secret_tool("store", "--label=theirs", *where, value=b"theirs")
    else:
        by_python_keyring("set_password", SERVICE, NAME.name, "theirs")
    assert 1 == len(items(keyring.bus))
    assert Secret("theirs") == store.read(NAME, call())


def test_others_delete_our_item(store: SecretServiceStore) -> None:
    """Then it is absent."""
    store.write(NAME, Secret("ours"), call())
    secret_tool("clear", "service", SERVICE, "username", NAME.name)
    assert store.read(NAME, call()) is None
    store.write(NAME, Secret("ours"), call())
    by_python_keyring("delete_password", SERVICE, NAME.name)
    assert store.read(NAME, call()) is None


@pytest.mark.parametrize(
    ("kind", "attribute"), [(SESSION, "tokenkeep:account"), (MIGRATION, "tokenkeep:migration")]
)
def test_a_record_of_ours_is_nobodys_password(
    store: SecretServiceStore, keyring: GnomeKeyring, kind: str, attribute: str
) -> None:
    """Neither under the record's name nor among the service's passwords."""
    record = ItemName(SERVICE, NAME.name, kind)
    store.write(record, Secret("record"), call())
    assert b"" == secret_tool("lookup", "service", SERVICE, "username", record.name)
    assert b"" == secret_tool("search", "--all", "service", SERVICE)
    assert "None" == by_python_keyring("get_password", SERVICE, record.name)
    (item,) = items(keyring.bus)
    expected = {"tokenkeep:service": SERVICE, attribute: record.name}
    assert expected == attributes_of(keyring.bus, item)
    assert label_of(keyring.bus, item)


def test_items_of_a_service_that_are_not_named_are_left_alone(
    store: SecretServiceStore, keyring: GnomeKeyring
) -> None:
    """Other programs' items with a `service` and no `username`, or none that can be a name."""
    for attributes in ({"service": SERVICE}, {"service": SERVICE, "username": ""},
                       {"service": SERVICE, "username": "x" * 300}):  # fmt: skip
        put(keyring.bus, COLLECTION, attributes, b"theirs", replace=False)
    assert [] == store.names(SERVICE, call())
    store.write(NAME, Secret("ours"), call())
    assert [NAME] == store.names(SERVICE, call())
    assert store.delete(NAME, call()) is True
    assert 3 == len(items(keyring.bus))


def test_of_two_items_of_one_name_the_last_change_counts_and_a_write_leaves_one(
    store: SecretServiceStore, keyring: GnomeKeyring
) -> None:
    """Two programs made one each: every process reads the same one, and a write mends it."""
    attributes = {"service": SERVICE, "username": NAME.name}
    put(keyring.bus, COLLECTION, attributes, b"older", replace=False)
    put(keyring.bus, COLLECTION, attributes, b"newer", replace=False)
    assert 2 == len(found(keyring.bus, **attributes))
    assert Secret("newer") == store.read(NAME, call())
    assert [NAME] == store.names(SERVICE, call())
    store.write(NAME, Secret("ours"), call())
    assert 1 == len(found(keyring.bus, **attributes))
    assert Secret("ours") == store.read(NAME, call())


def test_item_that_somebody_tells_apart_is_not_taken_for_a_second_one(
    store: SecretServiceStore, keyring: GnomeKeyring
) -> None:
    """An item with an attribute more: the plain one counts, and the other one stays as it is."""
    plain = {"service": SERVICE, "username": NAME.name}
    put(keyring.bus, COLLECTION, plain, b"plain", replace=False)
    other = put(keyring.bus, COLLECTION, {**plain, "target": "staging"}, b"other", replace=False)
    assert Secret("plain") == store.read(NAME, call())
    store.write(NAME, Secret("ours"), call())
    assert [other] == found(keyring.bus, target="staging")
    assert Secret("ours") == store.read(NAME, call())


def test_delete_takes_every_item_of_the_name(
    store: SecretServiceStore, keyring: GnomeKeyring
) -> None:
    """After it there is nothing to read, for anybody."""
    attributes = {"service": SERVICE, "username": NAME.name}
    for value in (b"1", b"2", b"3"):
        put(keyring.bus, COLLECTION, attributes, value, replace=False)
    assert store.delete(NAME, call()) is True
    assert [] == items(keyring.bus)
    assert store.delete(NAME, call()) is False


def test_item_deleted_between_two_calls_is_made_anew(
    store: SecretServiceStore, keyring: GnomeKeyring
) -> None:
    """A store remembers where its collection is, never where an item was."""
    store.write(NAME, Secret("first"), call())
    (item,) = items(keyring.bus)
    delete(keyring.bus, item)
    store.write(NAME, Secret("second"), call())
    assert Secret("second") == store.read(NAME, call())
