"""What an import brings is this installation's own: no check takes it for left over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from support.children import Child
from tokenkeep.errors import (
    StoreError,
    StoreFull,
    StoreLocked,
    StoreTimeout,
    WriteConflict,
)
from tokenkeep.install import Installation, check_fresh_install
from tokenkeep.installation import Marker
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.testing.faulty import Fails, FaultyStore
from tokenkeep.vault import transfer
from tokenkeep.vault.vault import Vault
from vault.places import SERVICE, call, item, key_file, open_store, passphrase

OTHER = "org.example.other"


@pytest.fixture
def export(tmp_path: Path) -> str:
    """Items of two services."""
    place = tmp_path / "source"
    place.mkdir()
    store = open_store(place)
    for name in (item("a"), item("b"), ItemName(OTHER, "a")):
        store.write(name, Secret("imported"), call())
    vault = Vault(str(place / "vault"), (key_file(place),))
    path = str(tmp_path / "items.export")
    transfer.export(vault, path, passphrase(), call)
    vault.close()
    store.close()
    return path


class Place:
    """A vault that outlives installations, and a new installation's first start, which failed."""

    def __init__(self, directory: Path, *left_over: str) -> None:
        self.directory = directory
        self.state = str(directory / "state")
        self.store = open_store(directory)
        for name in left_over:
            self.store.write(item(name), Secret("left over"), call())
        for service in (SERVICE, OTHER):
            locked = FaultyStore(self.store, {"names": Fails(StoreLocked)})
            with pytest.raises(StoreLocked):
                check_fresh_install(self.storage(locked, service))

    def storage(self, store: object | None = None, service: str = SERVICE) -> SecureStorage:
        return SecureStorage(service, store or self.store, state_directory=self.state)

    def vault(self, kind: type[Vault] = Vault) -> Vault:
        return kind(str(self.directory / "vault"), (key_file(self.directory),), create=True)

    def bring(self, export: str, vault: Vault | None = None, **how: Any) -> transfer.TransferReport:
        return transfer.import_items(
            vault or self.vault(), export, passphrase(), call(), state_directory=self.state, **how
        )

    def cleared(self) -> dict[str, list[str]]:
        """What is left of each service once the next start has come through."""
        for service in (SERVICE, OTHER):
            check_fresh_install(self.storage(service=service))
        return {service: self.storage(service=service).names() for service in (SERVICE, OTHER)}


def test_what_is_imported_before_it_is_settled_is_not_left_over(
    tmp_path: Path, export: str
) -> None:
    """Of every service in the file; what was left by another installation goes all the same."""
    place = Place(tmp_path, "c")
    place.bring(export)
    assert {SERVICE: ["a", "b"], OTHER: ["a"]} == place.cleared()
    assert Installation.KNOWN is check_fresh_install(place.storage())


@pytest.mark.parametrize(("existing", "names"), [("skip", ["b"]), ("replace", ["a", "b"])])
def test_an_item_that_stays_is_left_over_and_one_that_is_replaced_is_not(
    tmp_path: Path, export: str, existing: str, names: list[str]
) -> None:
    """Another person's value does not become ours because we have one of the same name."""
    place = Place(tmp_path, "a")
    place.bring(export, existing=existing)
    assert names == place.cleared()[SERVICE]


def test_an_import_that_fails_claims_nothing(tmp_path: Path, export: str) -> None:
    """Nothing was written, so that what is there is still another installation's."""
    place = Place(tmp_path, "a", "b")
    with pytest.raises(WriteConflict):
        place.bring(export)
    assert {SERVICE: [], OTHER: []} == place.cleared()


class Dies(Vault):
    """The process is killed before the transaction."""

    __slots__ = ()

    def transaction(self, *arguments: Any, **options: Any) -> Any:
        os._exit(9)


class DiesLater(Vault):
    """The process is killed when the transaction is durable."""

    __slots__ = ()

    def transaction(self, *arguments: Any, **options: Any) -> Any:
        super().transaction(*arguments, **options)
        os._exit(9)


@pytest.mark.requires("fork")
@pytest.mark.parametrize(("kind", "names"), [(Dies, []), (DiesLater, ["a", "b"])])
def test_killed_on_either_side_of_the_write_nothing_imported_is_cleared(
    tmp_path: Path, export: str, kind: type[Vault], names: list[str]
) -> None:
    """What is said of an item is durable before the item is."""
    place = Place(tmp_path, "c")
    with Child(lambda: place.bring(export, place.vault(kind))) as child:
        assert 9 == child.wait()
    assert names == place.cleared()[SERVICE]


def test_an_item_that_is_cleared_between_the_look_and_the_write_is_claimed(
    tmp_path: Path, export: str
) -> None:
    """It was to stay; now it is written, and said to be ours before that."""
    place = Place(tmp_path, "a")

    class Meanwhile(Vault):
        __slots__ = ()
        is_first = True

        def transaction(self, *arguments: Any, **options: Any) -> Any:
            if Meanwhile.is_first:
                Meanwhile.is_first = False
                place.store.delete(item("a"), call())
            return super().transaction(*arguments, **options)

    report = place.bring(export, place.vault(Meanwhile), existing="skip")
    assert ([], 3) == (report.skipped, len(report.items))
    assert {SERVICE: ["a", "b"], OTHER: ["a"]} == place.cleared()


def test_what_cannot_be_noted_is_not_imported(tmp_path: Path, export: str) -> None:
    """Else the next start would take it for left over: nothing at all is written."""
    place = Place(tmp_path)
    lock = Path(place.state) / SERVICE / "install.lock"
    lock.unlink()
    lock.mkdir()
    with pytest.raises(StoreError):
        place.bring(export)
    assert [] == place.storage().names()


def test_a_check_under_way_is_waited_for_within_the_deadline(tmp_path: Path, export: str) -> None:
    """Whoever settles has the word; the import says that it had no time."""
    place = Place(tmp_path)
    marker = Marker(place.state, SERVICE)
    with marker.hold(place.storage().clock, Call()), pytest.raises(StoreTimeout):
        transfer.import_items(
            place.vault(), export, passphrase(), Call(0.5), state_directory=place.state
        )
    assert [] == place.storage().names()


@pytest.mark.parametrize(("error", "names"), [(StoreLocked, []), (StoreFull, ["a"])])
def test_what_a_locked_vault_did_not_take_is_still_left_over(
    tmp_path: Path, export: str, error: type[StoreError], names: list[str]
) -> None:
    """Where nobody knows whether anything was written, nothing is cleared."""
    place = Place(tmp_path, "a")

    class Fails(Vault):
        __slots__ = ()

        def transaction(self, *arguments: Any, **options: Any) -> Any:
            raise error

    with pytest.raises(error):
        place.bring(export, place.vault(Fails), existing="replace")
    assert names == place.cleared()[SERVICE]


def test_once_it_is_settled_nothing_is_noted(tmp_path: Path, export: str) -> None:
    """Almost every import finds nothing to do there."""
    place = Place(tmp_path)
    place.cleared()
    place.bring(export)
    assert {SERVICE: ["a", "b"], OTHER: ["a"]} == place.cleared()
    assert b"" == (tmp_path / "state" / SERVICE / "installed").read_bytes()
