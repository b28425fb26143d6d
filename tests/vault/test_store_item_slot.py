"""A vault's key that is an item in another store."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from contract.places import spoil
from support.captured import assert_nothing_leaks
from support.tpm import call, keys
from tokenkeep.backends.store_item import StoreItemKey
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    VaultKeyMissing,
    WrongKey,
)
from tokenkeep.oauth.provider import Provider
from tokenkeep.secret import Secret
from tokenkeep.session.session import Session
from tokenkeep.session.state import State
from tokenkeep.storage import SecureStorage
from tokenkeep.store import Persistence, Protection, Require, StoreFacts
from tokenkeep.tokens.storage import TokenStorage
from tokenkeep.vault import access
from tokenkeep.vault.check import check
from tokenkeep.vault.format import Header
from tokenkeep.vault.rekey import rekey
from tokenkeep.vault.vault import Vault
from vault.places import filled_by, item, passphrase, read_by
from vault.platforms import Platform, items


def test_item_opens_the_vault(tmp_path: Path) -> None:
    """The key is one item, named by vault and slot, written and read back before it is used."""
    platform = Platform()
    filled_by(tmp_path / "vault", StoreItemKey(platform))
    header = Vault(str(tmp_path / "vault"), ()).header()
    assert header is not None
    slot = next(slot for slot in header.slots if slot.kind == "store-item")
    assert [f"{header.vault_id.hex()}.{slot.id.hex()}"] == [each.name for each in items(platform)]
    assert ["write", "read"] == platform.log[:2]
    assert Secret("kept") == read_by(tmp_path / "vault", StoreItemKey(platform))


def test_vault_s_facts_are_the_store_s(tmp_path: Path) -> None:
    """A vault is protected no better than its key, and its key stays no longer than its store."""
    platform, place = Platform(), tmp_path / "vault"
    only = VaultStore(VaultOptions(place, StoreItemKey(platform)))
    only.write(item("a"), Secret("kept"), call())
    assert Protection.MEMORY is only.facts.protection
    assert Persistence.PROCESS is only.facts.persistence
    access.add_key(Vault(str(place), keys(StoreItemKey(platform))), passphrase(), call())
    assert Persistence.UNTIL_DELETED is only.facts.persistence


def said(store: VaultStore) -> tuple[bool | None, ...]:
    facts = store.facts
    return facts.readable_when_locked, facts.locked_after_boot, facts.opens_elsewhere


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ((False, True, True, True), (False, True, True)),
        ((True, False, True, False), (True, False, False)),
        ((False, True, False, True), (False, True, False)),  # the item is in no backup
        ((None, None, None, None), (None, None, None)),
        ((None, True, None, False), (None, True, False)),
    ],
)
def test_vault_is_as_readable_as_the_store_of_its_key(
    tmp_path: Path,
    inner: tuple[bool | None, bool | None, bool | None, bool | None],
    expected: tuple[bool | None, ...],
) -> None:
    """Before there is a vault, and from its slot alone; a key beside it that opens counts."""

    class Says(Platform):
        @property
        def facts(self) -> StoreFacts:
            names = ("readable_when_locked", "locked_after_boot", "in_backups", "opens_elsewhere")
            told = dict(zip(names, inner, strict=True))
            return replace(super().facts, persistence=Persistence.UNTIL_DELETED, **told)  # type: ignore[arg-type]

    place, platform = tmp_path / "vault", Says()
    store = VaultStore(VaultOptions(place, StoreItemKey(platform)))
    assert expected == said(store)
    store.write(item("a"), Secret("kept"), call())
    assert expected == said(store)
    # Whatever the store of a key at hand says now, the slot's is another one.
    assert expected == said(VaultStore(VaultOptions(place, StoreItemKey(Platform()))))
    is_noted = any("stays readable until the store is closed" in each for each in store.facts.notes)
    assert is_noted is (expected[0] is not True)
    assert store.facts.in_backups, "the vault's own files are"
    access.add_key(Vault(str(place), keys(StoreItemKey(platform))), passphrase(), call())
    both = keys(StoreItemKey(platform), passphrase())
    assert (True, False, True) == said(VaultStore(VaultOptions(place, both)))
    assert expected == said(store), "the passphrase is not at hand"


def test_slot_that_does_not_say_is_not_known(tmp_path: Path) -> None:
    """A slot of another program claims nothing; its protection is the weakest."""
    platform, place = Platform(), tmp_path / "vault"
    filled_by(place, StoreItemKey(platform))
    header = Header.decode((place / "header").read_bytes())
    for slot in header.slots:
        slot.extra = {name: value for name, value in slot.extra.items() if name == "store"}
    (place / "header").write_bytes(header.encode())
    store = VaultStore(VaultOptions(place, StoreItemKey(platform)))
    assert (None, None, None) == said(store)
    assert Protection.FILE_PERMISSIONS is store.facts.protection
    assert Secret("kept") == store.read(item("a"), call())


def test_vault_that_will_go_with_its_key_says_so_beforehand(tmp_path: Path) -> None:
    """A demand for lasting items is not met by a vault that the first write would make."""
    store = VaultStore(VaultOptions(tmp_path / "vault", StoreItemKey(Platform())))
    assert Persistence.PROCESS is store.facts.persistence
    with pytest.raises(StoreUnavailable, match="persistence is 'process'"):
        SecureStorage(
            "org.example",
            VaultOptions(tmp_path / "vault", StoreItemKey(Platform())),
            require=Require(persistence=Persistence.UNTIL_DELETED),
        ).read("a")


def test_store_that_does_not_keep_the_key_ends_the_creation(tmp_path: Path) -> None:
    """A vault is never published with a key that is not there."""
    platform = Platform()
    platform.forgets_writes = True
    with pytest.raises(SecretDamaged):
        filled_by(tmp_path / "vault", StoreItemKey(platform))
    assert not (tmp_path / "vault").exists()


def test_vault_on_another_machine_is_recognised(tmp_path: Path) -> None:
    """Copied, or restored without the store: gone for good, with the ways out; nothing is lost."""
    platform, place = Platform(), tmp_path / "vault"
    filled_by(place, StoreItemKey(platform))
    shutil.copytree(place, tmp_path / "copied")
    elsewhere = Platform()
    for key in (StoreItemKey(elsewhere), StoreItemKey(elsewhere)):
        with pytest.raises(SecretInvalidated) as caught:
            read_by(tmp_path / "copied", key)
        for way in ("add-key --store-item memory", "vault reset", "storage.reset()"):
            assert way in str(caught.value.hint)
    report = check(Vault(str(tmp_path / "copied"), keys(StoreItemKey(elsewhere))), call)
    assert ["secret-invalidated"] == [finding.error.code for finding in report.findings]
    assert [] == items(elsewhere)
    access.add_key(
        Vault(str(tmp_path / "copied"), keys(passphrase())), StoreItemKey(elsewhere), call()
    )
    assert Secret("kept") == read_by(tmp_path / "copied", StoreItemKey(elsewhere))
    assert Secret("kept") == read_by(place, StoreItemKey(platform))


def test_quarantine_survives_a_vault_without_its_key(tmp_path: Path) -> None:
    """What was kept aside before the key was lost is there when another key opens the vault."""
    platform, place = Platform(), tmp_path / "vault"
    filled_by(place, StoreItemKey(platform))

    def opened() -> VaultStore:
        return VaultStore(VaultOptions(place, passphrase()))

    spoil(opened, str(place), item("a"))
    opened().write(item("a"), Secret("anew"), call())
    for _ in range(2):
        with pytest.raises(SecretInvalidated):
            read_by(place, StoreItemKey(Platform()))
    report = check(Vault(str(place), keys(passphrase())), call)
    assert (1, 1, []) == (report.items, report.quarantined, report.findings)


def test_reset_sets_aside_a_vault_whose_item_is_gone(tmp_path: Path) -> None:
    """The explicit way, and no other: until then the vault stays, and so does every answer."""
    platform, place = Platform(), tmp_path / "vault"
    filled_by(place, StoreItemKey(platform))
    store = VaultStore(VaultOptions(place, StoreItemKey(Platform())))
    storage = SecureStorage("org.example", store, state_directory=str(tmp_path / "state"))
    for ask in (lambda: storage.read("a"), storage.names, storage.delete_all):
        with pytest.raises(SecretInvalidated):
            ask()
    aside = storage.reset().set_aside
    assert aside is not None
    storage.write("a", "anew")
    assert Secret("kept") == read_by(Path(aside), StoreItemKey(platform))


def test_session_whose_item_is_gone_asks_for_a_login(tmp_path: Path) -> None:
    """Restoring raises nothing, and says that only a new login helps; after a reset it does."""

    def storage(platform: Platform) -> SecureStorage:
        options = VaultOptions(tmp_path / "vault", StoreItemKey(platform))
        return SecureStorage("org.example", options, state_directory=str(tmp_path / "state"))

    def session(storage: SecureStorage) -> Session:
        return Session(Provider("https://issuer.example", client_id="c"), TokenStorage(storage))

    TokenStorage(storage(Platform())).save_refresh_token(
        "token", issuer="https://issuer.example", client_id="c"
    )
    elsewhere = storage(Platform())
    with session(elsewhere) as restored:
        assert State.LOGIN_REQUIRED is restored.restore() is restored.state
        assert elsewhere.reset().set_aside is not None
        assert State.SIGNED_OUT is restored.restore()


def test_store_that_each_login_has_for_itself_says_only_that_the_key_is_missing(
    tmp_path: Path,
) -> None:
    """Another login's keyring may have the item, so it is not gone for good."""

    class OfOneLogin(Platform):
        @property
        def facts(self) -> StoreFacts:
            return replace(super().facts, persistence=Persistence.LOGIN)

    place = tmp_path / "vault"
    filled_by(place, StoreItemKey(OfOneLogin()))
    with pytest.raises(VaultKeyMissing) as caught:
        read_by(place, StoreItemKey(OfOneLogin()))
    assert "from the login that made it" in str(caught.value.hint)


def test_item_that_died_in_its_store_is_gone_for_good(tmp_path: Path) -> None:
    """Its time is over, or it was revoked: the ways out are the vault's, not the store's."""
    platform, place = Platform(), tmp_path / "vault"
    filled_by(place, StoreItemKey(platform))
    platform.fails = SecretInvalidated("its time is over", hint="write it anew")
    with pytest.raises(SecretInvalidated, match="its time is over") as caught:
        read_by(place, StoreItemKey(platform))
    assert "vault reset" in str(caught.value.hint)


@pytest.mark.parametrize(
    "error", [StoreLocked, StoreTimeout, StoreUnavailable, AccessDenied, InteractionDenied]
)
def test_store_s_failure_is_the_vault_s(tmp_path: Path, error: type[StoreError]) -> None:
    """What the store says is said; nothing is erased, and another key still opens."""
    platform, place = Platform(), tmp_path / "vault"
    filled_by(place, StoreItemKey(platform))
    before = (place / "header").read_bytes()
    platform.fails = error("not now")
    with pytest.raises(error) as caught:
        read_by(place, StoreItemKey(platform))
    assert_nothing_leaks(caught.value, "kept")
    assert Secret("kept") == read_by(place, StoreItemKey(platform), passphrase())
    platform.fails = None
    assert before == (place / "header").read_bytes()
    assert Secret("kept") == read_by(place, StoreItemKey(platform))


def test_item_that_is_no_key_is_a_wrong_key(tmp_path: Path) -> None:
    """Somebody else's item under the name, or another slot's key, opens nothing."""
    platform, place = Platform(), tmp_path / "vault"
    filled_by(place, StoreItemKey(platform))
    name = items(platform)[0]
    for other in (Secret("short"), Secret(bytes(32))):
        platform.write(name, other, call())
        with pytest.raises(WrongKey):
            read_by(place, StoreItemKey(platform))


def test_several_stores_do_not_mix(tmp_path: Path) -> None:
    """A slot names its store: another store is not asked for it."""
    one, two, place = Platform(), Platform(), tmp_path / "vault"
    both = keys(StoreItemKey(one, "one"), StoreItemKey(two, "two"))
    VaultStore(VaultOptions(place, both)).write(item("a"), Secret("kept"), call())
    one.log.clear()
    assert Secret("kept") == read_by(place, StoreItemKey(two, "two"))
    assert [] == one.log


def test_rekey_goes_through_the_item(tmp_path: Path) -> None:
    """The item stays the same; what it wraps is new."""
    platform, place = Platform(), tmp_path / "vault"
    filled_by(place, StoreItemKey(platform))
    rekey(Vault(str(place), keys(StoreItemKey(platform), passphrase())), call, root=True)
    assert Secret("kept") == read_by(place, StoreItemKey(platform))


def test_key_is_a_value() -> None:
    """It cannot be changed, and shows no more than the store's name."""
    key = StoreItemKey(Platform())
    with pytest.raises(AttributeError):
        key.name = "other"
    assert repr(key) == "StoreItemKey('memory')"
