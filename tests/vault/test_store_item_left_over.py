"""A key in another store, made in vain or not needed any more, is erased there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.tpm import call, keys
from tokenkeep.backends.store_item import StoreItemKey
from tokenkeep.errors import (
    SecretDamaged,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
)
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.testing.clock import FakeClock
from tokenkeep.vault import access
from tokenkeep.vault.creation import create
from tokenkeep.vault.rekey import rekey
from tokenkeep.vault.replace import replace_all
from tokenkeep.vault.vault import Vault
from vault.places import filled_by, passphrase, read_by
from vault.platforms import Platform, items


def test_removed_slot_takes_its_item_along(tmp_path: Path) -> None:
    """The item goes last, once the slot is gone; rekeyed or not."""
    for replace_root in (False, True):
        platform, place = Platform(), tmp_path / f"vault-{replace_root}"
        filled_by(place, StoreItemKey(platform))
        vault = Vault(str(place), keys(StoreItemKey(platform), passphrase()))
        slot = next(each for each in access.list_keys(vault) if each.kind == "store-item")
        if replace_root:
            rekey(vault, call, remove=slot.id)
        else:
            access.remove_key(vault, slot.id, call())
        assert [] == items(platform)
        assert Secret("kept") == read_by(place, passphrase())


def test_item_that_cannot_be_removed_is_said(tmp_path: Path) -> None:
    """The slot is gone all the same; what is left over is named."""
    platform, place = Platform(), tmp_path / "vault"
    filled_by(place, StoreItemKey(platform))
    vault = Vault(str(place), keys(passphrase(), StoreItemKey(platform)))
    slot = next(each for each in access.list_keys(vault) if each.kind == "store-item")
    vault.opened(call())
    platform.fails = StoreLocked("the platform is locked")
    with pytest.raises(StoreLocked, match="still there"):
        access.remove_key(vault, slot.id, call())
    assert ["passphrase"] == [each.kind for each in access.list_keys(vault)]


def test_rekey_is_reported_though_the_removed_slots_item_cannot_be_erased(tmp_path: Path) -> None:
    """Everything is done by then: what is left over opens nothing."""
    platform, place = Platform(), tmp_path / "vault"
    filled_by(place, StoreItemKey(platform))
    vault = Vault(str(place), keys(passphrase(), StoreItemKey(platform)))
    slot = next(each for each in access.list_keys(vault) if each.kind == "store-item")
    vault.opened(call())

    def lock(step: str) -> None:
        if step == "forget":
            platform.fails = StoreLocked("the platform is locked")

    report = rekey(vault, call, remove=slot.id, step=lock)
    assert 1 == report.items
    assert isinstance(report.problem, StoreLocked)
    assert [passphrase().kind] == [each.kind for each in access.list_keys(vault)]


def ending_at(number: int, steps: list[str], error: BaseException) -> Callable[[str], None]:
    """What ends the work at its step of that number; the steps' names are noted."""

    def step(name: str) -> None:
        steps.append(name)
        if len(steps) == number + 1:
            raise error

    return step


class Killed(BaseException):
    """What no code of ours catches."""


@pytest.mark.parametrize("error", [StoreFull("the disk is full"), StoreTimeout("slow"), Killed()])
def test_creation_that_ends_at_any_step_leaves_no_item(
    tmp_path: Path, error: BaseException
) -> None:
    """Until the vault is published; from then on the items are its keys, and stay."""
    outcomes, number = {}, 0
    while True:
        one, two, place, steps = Platform(), Platform(), tmp_path / str(number), list[str]()
        both = keys(StoreItemKey(one, "one"), StoreItemKey(two, "two"))
        try:
            create(str(place), both, call(), ending_at(number, steps, error))
        except (StoreError, Killed):
            outcomes[number, steps[-1]] = (place.exists(), len(items(one)), len(items(two)))
            number += 1
            continue
        break
    published = {step: found for (_, step), found in outcomes.items() if found[0]}
    assert {"published": (True, 1, 1), "name": (True, 1, 1)} == published
    assert {(False, 0, 0)} == set(outcomes.values()) - {(True, 1, 1)}
    assert 8 <= len(outcomes) == len(steps)


@pytest.mark.parametrize(
    ("trouble", "value"),
    [
        ("ends_at", 1),  # not written
        ("is_late", True),  # written, and not said so in time
        ("ends_at", 2),  # not read back
        ("spoils", True),  # read back as something else
        ("ends_at", 3),  # not read once more, to open the slot
    ],
)
def test_key_that_cannot_be_made_leaves_no_item(
    tmp_path: Path, trouble: str, value: object
) -> None:
    """Neither of its own nor of the keys that were made before it."""
    one, two, place = Platform(), Platform(), tmp_path / "vault"
    setattr(two, trouble, value)
    both = keys(StoreItemKey(one, "one"), StoreItemKey(two, "two"))
    with pytest.raises((StoreTimeout, SecretDamaged)):
        create(str(place), both, call())
    assert [[], []] == [items(one), items(two)]
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("ends_at", [1, 2, 3])
def test_added_key_that_cannot_be_made_leaves_no_item(tmp_path: Path, ends_at: int) -> None:
    """The vault stays as it was; `replace_all` takes back the keys that it made before, too."""
    place, one, two = tmp_path / "vault", Platform(), Platform()
    filled_by(place, StoreItemKey(Platform()))
    before = (place / "header").read_bytes()
    two.ends_at = ends_at
    with pytest.raises(StoreTimeout):
        access.add_key(Vault(str(place), keys(passphrase())), StoreItemKey(two, "two"), call())
    assert [] == items(two)
    two.log.clear()
    both = keys(StoreItemKey(one, "one"), StoreItemKey(two, "two"))
    with pytest.raises(StoreTimeout):
        replace_all(Vault(str(place), keys(passphrase(), *both)), both, call)
    assert [[], []] == [items(one), items(two)]
    assert before == (place / "header").read_bytes()


def test_time_that_is_over_leaves_a_moment_to_take_the_item_back(tmp_path: Path) -> None:
    """The deadline that ended the making does not end the taking back as well."""
    clock, platform = FakeClock(), Platform()
    platform.takes = lambda: clock.advance(0 if platform.log[-1] == "delete" else 4)
    with pytest.raises(StoreTimeout):
        create(str(tmp_path / "vault"), keys(StoreItemKey(platform)), Call(5.0, clock=clock))
    assert [] == items(platform)


def test_creator_that_was_not_first_leaves_no_item(tmp_path: Path) -> None:
    """Of two creators one wins; the other's key for the vault that never was is erased."""
    platform, place = Platform(), tmp_path / "vault"

    def somebody_else(step: str) -> None:
        if step == "publish":
            filled_by(place, StoreItemKey(platform))

    assert not create(str(place), keys(StoreItemKey(platform)), call(), somebody_else)
    assert len(items(platform)) == 1
    assert Secret("kept") == read_by(place, StoreItemKey(platform))


def test_slot_that_was_never_published_leaves_no_item(tmp_path: Path) -> None:
    """What keeps the header from being replaced takes the new item back."""
    platform, place = Platform(), tmp_path / "vault"
    filled_by(place, StoreItemKey(platform))
    vault = Vault(str(place), keys(passphrase()))

    def full(step: str) -> None:
        if step == "header":
            raise StoreUnavailable("the disk is full")

    with pytest.raises(StoreUnavailable):
        access.add_key(vault, StoreItemKey(platform), call(), step=full)
    assert len(items(platform)) == 1
