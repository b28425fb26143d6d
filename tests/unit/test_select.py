"""Which store is used, and what is said when none is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tokenkeep import select
from tokenkeep.backends.memory import MemoryOptions, MemoryStore
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.config import Config, vault_options
from tokenkeep.errors import (
    AccessDenied,
    MissingExtra,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    TokenkeepError,
    UnsupportedOption,
)
from tokenkeep.select import candidates, is_store, open_store
from tokenkeep.store import Protection, Require

NEEDS_LOGIN = Require(protection=Protection.LOGIN)


class LockedStore(MemoryStore):
    """A store whose facts cannot be had."""

    @property
    def facts(self) -> object:  # type: ignore[override]
        raise StoreLocked("locked")


@pytest.mark.requires("key-file default")
def test_nothing_asked_for_is_nothing_used() -> None:
    """No store is fallen back to; one error names every store, why not, and what to do."""
    with pytest.raises(StoreUnavailable) as caught:
        open_store([])
    message = str(caught.value)
    for candidate in candidates([]):
        assert candidate.usable is False
        for part in (candidate.name, candidate.reason, candidate.remedy):
            assert part
            assert part in message
    assert "tokenkeep vault create" == caught.value.hint


def test_what_is_asked_for_is_used() -> None:
    """Options give their store."""
    assert isinstance(open_store([MemoryOptions()]), MemoryStore)
    assert isinstance(open_store([VaultOptions("nowhere")]), VaultStore)


def test_ready_store_is_used_as_it_is() -> None:
    """The very object, before any options."""
    store = MemoryStore()
    assert is_store(store)
    assert not is_store(MemoryOptions())
    assert store is open_store([MemoryOptions(), store])


def test_stronger_store_is_preferred_whatever_the_order_of_options() -> None:
    """The order of preference is ours; the vault stands before memory."""
    for options in (
        [MemoryOptions(), VaultOptions("nowhere")],
        [VaultOptions("nowhere"), MemoryOptions()],
    ):
        assert isinstance(open_store(options), VaultStore)


def test_store_that_does_not_satisfy_is_passed_over() -> None:
    """The next one that does is used."""

    class Strong(MemoryStore):
        @property
        def facts(self) -> object:  # type: ignore[override]
            from dataclasses import replace

            return replace(MemoryStore().facts, protection=Protection.HARDWARE)

    strong = Strong()
    assert strong is open_store([MemoryStore(), strong, MemoryOptions()], NEEDS_LOGIN)


def test_unmet_demand_is_a_reason() -> None:
    """What is required and what there is."""
    with pytest.raises(StoreUnavailable, match="protection is MEMORY, LOGIN is required"):
        open_store([MemoryOptions()], NEEDS_LOGIN)
    memory = candidates([MemoryOptions()], NEEDS_LOGIN)[-1]
    assert ("memory", False) == (memory.name, memory.usable)
    assert "LOGIN is required" in memory.reason


def test_error_of_a_store_that_was_asked_for_is_not_passed_over() -> None:
    """A locked store does not give way to a weaker one."""
    with pytest.raises(StoreLocked):
        open_store([LockedStore(), MemoryOptions()], Require())


def test_facts_are_not_asked_for_without_a_demand() -> None:
    """Selection then does no input or output."""
    store = LockedStore()
    assert store is open_store([store])


@pytest.mark.parametrize("option", [3, "vault", None, MemoryOptions, object()])
def test_anything_else_is_no_option(option: object) -> None:
    """The error names the type, not the value."""
    with pytest.raises(UnsupportedOption, match=f"^{type(option).__name__} is no store's options"):
        open_store([MemoryStore(), option])


def test_options_of_one_store_come_once() -> None:
    """Twice is a contradiction, also if they are equal."""
    with pytest.raises(UnsupportedOption, match="memory were given more than once"):
        open_store([MemoryOptions(), MemoryOptions()])


def test_selection_imports_no_store_that_nobody_asked_for() -> None:
    """Asking for memory does not load the vault, nor cryptography."""
    code = (
        "import sys; from tokenkeep import SecureStorage, MemoryOptions;"
        "SecureStorage('s', MemoryOptions());"
        "unasked = {'tokenkeep.backends.vault', 'cryptography', 'tokenkeep.store'};"
        "assert not unasked & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_default_vault_is_the_command_lines() -> None:
    """A program that names neither path nor key opens what `tokenkeep vault create` makes."""
    chosen, default = vault_options(Config(store="vault")), VaultOptions()
    assert (chosen.path, chosen.keys) == (default.path, default.keys)


@pytest.mark.parametrize(
    "problem",
    [StoreLocked("x"), StoreTimeout("x"), AccessDenied("x"), MissingExtra("x", extra="y")],
)
def test_the_platforms_own_store_that_does_not_open_now_says_so_itself(
    monkeypatch: pytest.MonkeyPatch, problem: TokenkeepError
) -> None:
    """Locked and late are temporary, a package can be installed: no reason for another store."""
    own = next(kind for kind in select._KINDS if kind.is_default() and kind.is_here())
    monkeypatch.setattr(
        type(own), "problem", lambda kind, _options: problem if kind is own else None
    )
    with pytest.raises(type(problem)) as caught:
        open_store([])
    assert caught.value is problem
    shown = next(each for each in candidates([]) if each.name == own.name)
    assert (False, "x") == (shown.usable, shown.reason)
