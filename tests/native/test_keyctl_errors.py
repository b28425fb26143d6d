"""Every error of the kernel's keys, what it means to a caller, and that none of them erases."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from support.captured import assert_nothing_leaks, raised_in_library
from support.fake_kernel import FakeKernel
from tokenkeep.backends.kernel_keyring import (
    KernelKeyringOptions,
    KernelKeyringStore,
    Keyring,
    probe,
)
from tokenkeep.errors import (
    AccessDenied,
    SecretInvalidated,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
    UnsupportedOption,
)
from tokenkeep.item import Call, ItemName
from tokenkeep.native.keyctl import DEAD, ERRORS, Keyctl, numbers, translated
from tokenkeep.secret import Secret

ONE = ItemName("org.example", "one")

#: The platform's number and name, and our error; None: there is no such key.
TABLE = [
    (126, "ENOKEY", None),
    (127, "EKEYEXPIRED", SecretInvalidated),
    (128, "EKEYREVOKED", SecretInvalidated),
    (129, "EKEYREJECTED", AccessDenied),
    (122, "EDQUOT", StoreFull),
    (13, "EACCES", AccessDenied),
    (1, "EPERM", AccessDenied),
    (38, "ENOSYS", StoreUnavailable),
    (95, "EOPNOTSUPP", StoreUnavailable),
    (19, "ENODEV", StoreUnavailable),
    (22, "EINVAL", UnsupportedOption),
    (20, "ENOTDIR", UnsupportedOption),
    (12, "ENOMEM", StoreTimeout),
    (110, "ETIMEDOUT", StoreTimeout),
]
VERBS = [
    ("read", (ONE,)),
    ("write", (ONE, Secret("new"))),
    ("delete", (ONE,)),
    ("names", (ONE.service,)),
    ("contains", (ONE,)),
]


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


@pytest.fixture
def store(kernel: FakeKernel) -> KernelKeyringStore:
    store = KernelKeyringStore(keys=Keyctl(kernel))
    store.write(ONE, Secret("kept"), Call())
    return store


def test_the_table_is_complete() -> None:
    """What is translated is what is tested."""
    assert {getattr(errno, name) for _number, name, _kind in TABLE} == ERRORS.keys()


@pytest.mark.parametrize(("number", "name", "kind"), TABLE)
def test_error_means(number: int, name: str, kind: type | None) -> None:
    """One code, one of our errors."""
    assert number == getattr(errno, name)
    assert kind is ERRORS[number]
    if kind is not None:
        assert type(translated(number, "reading")) is kind


def test_unknown_error_is_not_absent() -> None:
    """What nobody foresaw says its name and that the store cannot be used now."""
    problem = translated(errno.EIO, "reading")
    assert isinstance(problem, StoreUnavailable)
    assert "EIO" in str(problem)


@pytest.mark.parametrize(("verb", "arguments"), VERBS, ids=lambda each: str(each)[:8])
@pytest.mark.parametrize("code", [errno.ENOMEM, errno.ETIMEDOUT], ids=["ENOMEM", "ETIMEDOUT"])
def test_temporary_error_is_tried_again_and_erases_nothing(
    store: KernelKeyringStore, kernel: FakeKernel, code: int, verb: str, arguments: tuple[object]
) -> None:
    """Again until the deadline, then `StoreTimeout`; afterwards everything is as it was."""
    before, kernel.failure = kernel.calls, code
    with pytest.raises(StoreTimeout) as caught:
        getattr(store, verb)(*arguments, Call(0.05))
    assert caught.value.is_temporary
    assert kernel.calls - before > 3
    kernel.failure = 0
    assert Secret("kept") == store.read(ONE, Call())
    assert [ONE] == store.names(ONE.service, Call())


@pytest.mark.parametrize(("verb", "arguments"), VERBS, ids=lambda each: str(each)[:8])
@pytest.mark.parametrize(
    ("code", "kind"),
    [(number, kind) for number, _name, kind in TABLE if kind not in (None, StoreTimeout)],
)
def test_no_error_is_taken_for_absent_or_erases(
    store: KernelKeyringStore,
    kernel: FakeKernel,
    code: int,
    kind: type[Exception],
    verb: str,
    arguments: tuple[object],
) -> None:
    """Every call raises our error, whatever it is, and the item is there when it has passed."""
    kernel.failure = code
    if verb == "contains" and code in DEAD:
        assert store.contains(ONE, Call()) is True
    else:
        with pytest.raises(kind):
            getattr(store, verb)(*arguments, Call())
    kernel.failure = 0
    assert Secret("kept") == store.read(ONE, Call())


class Vanishing(FakeKernel):
    """The key is deleted by another process after it was found or made, once."""

    def __init__(self, operation: int) -> None:
        super().__init__()
        self.operation = operation
        self.is_armed = False

    def __call__(self, name: str, *arguments: object) -> int:
        is_key = len(arguments) > 1 and arguments[1] in self._values
        if self.is_armed and name == "keyctl" and arguments[0] == self.operation and is_key:
            self.is_armed = False
            for ring in self._rings.values():
                ring.clear()
            return -errno.ENOKEY
        return super().__call__(name, *arguments)


def test_key_deleted_between_search_and_read_is_absent() -> None:
    """No such key any more: there is nothing wrong with the store."""
    kernel = Vanishing(operation=11)
    store = KernelKeyringStore(keys=Keyctl(kernel))
    store.write(ONE, Secret("kept"), Call())
    kernel.is_armed = True
    assert store.read(ONE, Call()) is None


def test_key_deleted_in_the_middle_of_a_write_is_written_again() -> None:
    """Whoever deleted it was before the write, or is after it; the write itself holds."""
    kernel = Vanishing(operation=5)
    store = KernelKeyringStore(keys=Keyctl(kernel))
    kernel.is_armed = True
    store.write(ONE, Secret("new"), Call())
    assert Secret("new") == store.read(ONE, Call())


class Unready(Keyctl):
    """A machine whose system calls nobody knows."""

    def _ready(self) -> Callable[..., int]:
        raise StoreUnavailable("the kernel's keys are not known here")


@pytest.mark.parametrize(("verb", "arguments"), VERBS[:4], ids=lambda each: str(each)[:8])
@pytest.mark.parametrize("code", [number for number, _name, kind in TABLE if kind] + [0])
def test_no_value_is_in_a_traceback(code: int, verb: str, arguments: tuple[object]) -> None:
    """Neither the one that is there nor the one to be written, whatever the kernel says."""
    kernel = FakeKernel()
    options = KernelKeyringOptions(Keyring.USER)
    store = KernelKeyringStore(options, keys=Keyctl(kernel))
    store.write(ONE, Secret("kept-secret-value"), Call())
    if code == 0:
        store = KernelKeyringStore(options, keys=Unready())
    kernel.failure = code
    if verb == "write":
        arguments = (ONE, Secret("written-secret-value"))  # type: ignore[assignment]
    with pytest.raises(StoreError) as caught:
        getattr(store, verb)(*arguments, Call(0.02))
    assert raised_in_library(caught.value)
    assert_nothing_leaks(caught.value, "kept-secret-value", "written-secret-value")


@pytest.mark.parametrize("keyring", [Keyring.USER, Keyring.PERSISTENT])
def test_forbidden_system_calls_are_told_by_the_probe(keyring: Keyring) -> None:
    """A container without them: denied, with the way out, and no prompt."""

    def forbidden(_name: str, *_arguments: object) -> int:
        return -errno.EPERM

    with pytest.raises(AccessDenied, match="containers") as caught:
        probe(KernelKeyringOptions(keyring), Call(), Keyctl(forbidden))
    assert "tokenkeep vault create" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("machine", "is_64_bit", "expected"),
    [
        ("x86_64", True, (248, 250)),
        ("x86_64", False, (286, 288)),
        ("i686", False, (286, 288)),
        ("aarch64", True, (217, 219)),
        ("aarch64", False, (309, 311)),
        ("armv7l", False, (309, 311)),
        ("riscv64", True, (217, 219)),
        ("ppc64le", True, (269, 271)),
        ("s390x", True, (278, 280)),
    ],
)
def test_numbers_of_the_calls(machine: str, is_64_bit: bool, expected: tuple[int, int]) -> None:
    """As in the kernel's tables of system calls."""
    assert expected == numbers(machine, is_64_bit)


@pytest.mark.parametrize(("machine", "is_64_bit"), [("pdp11", True), ("s390x", False)])
def test_unknown_architecture_makes_no_call(machine: str, is_64_bit: bool) -> None:
    """A wrong number would be another call: better none."""
    with pytest.raises(StoreUnavailable, match=machine):
        numbers(machine, is_64_bit)
