"""Every error of Credential Manager, what it means to a caller, and that none of them erases."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from support.credential_manager import FolderOfCredentials, units
from tokenkeep.backends.windows import (
    WindowsCredentialStore,
    WindowsOptions,
    WindowsPersistence,
    probe,
)
from tokenkeep.errors import (
    AccessDenied,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
    UnsupportedOption,
    ValueTooLarge,
)
from tokenkeep.item import SESSION, Call, ItemName
from tokenkeep.native.wincred import ERRORS, NOT_FOUND, Credential, CredentialManager
from tokenkeep.native.winerror import meaning, problem
from tokenkeep.secret import Secret

ONE = ItemName("org.example", "one")

#: The platform's number and name, and our error; None: there is no such credential.
TABLE = [
    (1312, "ERROR_NO_SUCH_LOGON_SESSION", StoreUnavailable),
    (1168, "ERROR_NOT_FOUND", None),
    (87, "ERROR_INVALID_PARAMETER", UnsupportedOption),
    (1004, "ERROR_INVALID_FLAGS", UnsupportedOption),
    (2202, "ERROR_BAD_USERNAME", UnsupportedOption),
    (1783, "RPC_X_BAD_STUB_DATA", ValueTooLarge),
    (5, "ERROR_ACCESS_DENIED", AccessDenied),
    (8, "ERROR_NOT_ENOUGH_MEMORY", StoreTimeout),
    (1722, "RPC_S_SERVER_UNAVAILABLE", StoreUnavailable),
    (112, "ERROR_DISK_FULL", StoreFull),
    (32, "ERROR_SHARING_VIOLATION", StoreTimeout),
    (1015, "ERROR_CANTREAD", StoreTimeout),
    (1018, "ERROR_KEY_DELETED", StoreTimeout),
]
VERBS: list[tuple[str, tuple[Any, ...]]] = [
    ("read", (ONE,)),
    ("write", (ONE, Secret("new"))),
    ("delete", (ONE,)),
    ("names", (ONE.service,)),
]
each_row = pytest.mark.parametrize(("code", "name", "error"), TABLE, ids=lambda value: str(value))
each_verb = pytest.mark.parametrize(("verb", "arguments"), VERBS, ids=lambda each: str(each)[:6])


@pytest.fixture
def manager(tmp_path: Path) -> FolderOfCredentials:
    return FolderOfCredentials(tmp_path / "credentials")


@pytest.fixture
def store(manager: Any, tmp_path: Path) -> WindowsCredentialStore:
    return WindowsCredentialStore(manager=manager, lock_path=str(tmp_path / "lock"))


def kept(store: WindowsCredentialStore) -> str:
    value = store.read(ONE, Call(10.0))
    assert value is not None
    return value.reveal()


def test_the_table_is_this_page() -> None:
    """No code without a test, no test without a code."""
    assert {code: (name, error) for code, name, error in TABLE} == {
        code: (entry.name, entry.error) for code, entry in ERRORS.items()
    }


@each_row
def test_code_becomes_our_error(code: int, name: str, error: type[StoreError] | None) -> None:
    """As a Win32 code, as an HRESULT, and as an HRESULT that C calls negative."""
    for form in (code, 0x80070000 | code, (0x80070000 | code) - (1 << 32)):
        found = problem(ERRORS, form, "writing")
        if error is None:
            assert found is None
        else:
            assert error is type(found)
            assert name in str(found)


@each_row
@each_verb
def test_failure_erases_nothing(
    store: WindowsCredentialStore,
    manager: FolderOfCredentials,
    verb: str,
    arguments: tuple[Any, ...],
    code: int,
    name: str,
    error: type[StoreError] | None,
) -> None:
    """The call raises by its deadline and asks for no change; then the item is as it was."""
    if code == NOT_FOUND:
        return  # that is an answer: the contract has it
    store.write(ONE, Secret("kept"), Call(10.0))
    manager.failure, manager.calls = code, []
    with pytest.raises(StoreError) as caught:
        getattr(store, verb)(*arguments, Call(0.15))
    assert error is type(caught.value)
    assert not {"write", "delete"} & set(manager.calls)
    manager.failure = 0
    assert "kept" == kept(store)


@each_verb
def test_unknown_code_is_no_absence(
    store: WindowsCredentialStore,
    manager: FolderOfCredentials,
    verb: str,
    arguments: tuple[Any, ...],
) -> None:
    """A code that no header names: unavailable, with its number, and nothing erased."""
    store.write(ONE, Secret("kept"), Call(10.0))
    manager.failure = 0x80099999
    with pytest.raises(StoreUnavailable, match="0x80099999"):
        getattr(store, verb)(*arguments, Call(10.0))
    manager.failure = 0
    assert "kept" == kept(store)


@pytest.mark.parametrize("code", [8, 32, 1015, 1018])
def test_busy_windows_is_asked_again(
    store: WindowsCredentialStore, manager: FolderOfCredentials, code: int
) -> None:
    """What passes within the deadline is no failure."""
    store.write(ONE, Secret("kept"), Call(10.0))
    manager.failure = code
    threading.Timer(0.1, lambda: setattr(manager, "failure", 0)).start()
    assert "kept" == kept(store)
    assert meaning(ERRORS, code).is_busy


@each_verb
def test_hanging_service_ends_with_the_deadline(
    manager: FolderOfCredentials, tmp_path: Path, verb: str, arguments: tuple[Any, ...]
) -> None:
    """The service behind the calls never answers: StoreTimeout in time, for each call."""
    let_go = threading.Event()

    class Hanging(FolderOfCredentials):
        def read(self, target: str) -> tuple[int, Credential | None]:
            let_go.wait()
            return super().read(target)

        def all(self) -> tuple[int, list[Credential]]:
            let_go.wait()
            return super().all()

    hanging: Any = Hanging(manager.folder)
    store = WindowsCredentialStore(manager=hanging, lock_path=str(tmp_path / "lock"))
    began = time.monotonic()
    with pytest.raises(StoreTimeout):
        getattr(store, verb)(*arguments, Call(0.2))
    assert time.monotonic() - began < 5.0
    let_go.set()


def test_abandoned_write_keeps_others_out_until_it_ends(
    manager: FolderOfCredentials, tmp_path: Path
) -> None:
    """A write that hangs cannot land on top of a later one: the later one waits, or times out."""
    let_go, is_in = threading.Event(), threading.Event()

    class Slow(FolderOfCredentials):
        def write(self, credential: Credential) -> int:
            is_in.set()
            let_go.wait()
            return super().write(credential)

    slow: Any = Slow(manager.folder)
    lock = str(tmp_path / "lock")
    with pytest.raises(StoreTimeout):
        WindowsCredentialStore(manager=slow, lock_path=lock).write(ONE, Secret("old"), Call(0.2))
    assert is_in.is_set()
    usual: Any = manager
    store = WindowsCredentialStore(manager=usual, lock_path=lock)
    with pytest.raises(StoreTimeout):
        store.write(ONE, Secret("new"), Call(0.2))
    let_go.set()
    store.write(ONE, Secret("new"), Call(10.0))
    assert "new" == kept(store)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("plain", "item"),
        ("plain", SESSION),
        (" blanks ", "item"),
        ("x" * 255, "item"),
        ("\U0001f5dd" * 63, "item"),
    ],
    ids=ascii,
)
def test_every_name_fits_the_documented_lengths(
    store: WindowsCredentialStore, manager: FolderOfCredentials, name: str, kind: str
) -> None:
    """User name up to 513 units, target up to 32,767, with the longest service too."""
    for service in ("org.example", "s" * 255):
        item = ItemName(service, name, kind)
        store.write(item, Secret("x"), Call(10.0))
        assert [item] == store.names(service, Call(10.0))
        for each in manager.all()[1]:
            assert units(each.user) <= 512
            assert units(each.target) <= 255


def test_value_too_large_names_the_vault(store: WindowsCredentialStore) -> None:
    """2,560 bytes are kept and one more is refused before Windows is asked."""
    store.write(ONE, Secret(b"\xff" * 2560), Call(10.0))
    with pytest.raises(ValueTooLarge) as caught:
        store.write(ONE, Secret(b"\xff" * 2561), Call(10.0))
    assert caught.value.hint is not None
    assert "tokenkeep vault create" in caught.value.hint


def test_probe_says_why_not(manager: Any) -> None:
    """No credential set, a shorter persistence, and a failure: each its own error."""
    probe(WindowsOptions(), Call(10.0), manager)
    manager.longest = 0
    with pytest.raises(StoreUnavailable, match="keeps no credentials") as caught:
        probe(WindowsOptions(), Call(10.0), manager)
    assert "tokenkeep vault create" == caught.value.hint
    manager.longest = 2
    with pytest.raises(UnsupportedOption, match="LOCAL_MACHINE"):
        probe(WindowsOptions(WindowsPersistence.ENTERPRISE), Call(10.0), manager)
    manager.failure = 5
    with pytest.raises(AccessDenied):
        probe(WindowsOptions(), Call(10.0), manager)
    assert {"longest_persistence"} == set(manager.calls)


def test_options_take_no_words() -> None:
    """A persistence is one of the enumeration's: a word or a number is refused, with the way."""
    wrong: Any
    for wrong in ("local machine", 2, None):
        with pytest.raises(UnsupportedOption) as caught:
            WindowsOptions(wrong)
        assert "persistence=WindowsPersistence.LOCAL_MACHINE" == caught.value.hint


@pytest.mark.skipif("sys.platform == 'win32'")
def test_elsewhere_it_is_unavailable() -> None:
    """Where there is no Windows every call says so."""
    for verb, arguments in VERBS:
        with pytest.raises(StoreUnavailable, match="only on Windows"):
            getattr(WindowsCredentialStore(), verb)(*arguments, Call(10.0))
    with pytest.raises(StoreUnavailable):
        CredentialManager().longest_persistence()
