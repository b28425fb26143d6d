"""What only the real kernel shows: time, revocation, quotas, sessions and other users."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from support.children import in_child
from support.keyrings import alone, clear, join_new_session, revoke, store
from support.seccomp import forbid_keys
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
    UnsupportedOption,
    ValueTooLarge,
)
from tokenkeep.item import SESSION as SESSION_RECORD
from tokenkeep.item import Call, ItemName
from tokenkeep.native.keyctl import SESSION, USER, Keyctl, KeyctlError
from tokenkeep.secret import Secret
from tokenkeep.select import candidates
from tokenkeep.storage import SecureStorage
from tokenkeep.store import Persistence

pytestmark = pytest.mark.requires("kernel keyring", "fork")

SERVICE = "org.example.keyring"
ONE, TWO = ItemName(SERVICE, "one"), ItemName(SERVICE, "two")
OTHER, RECORD = "org.example.other", ItemName(SERVICE, "alice", SESSION_RECORD)
#: Users whom nobody is, so that each has the whole quota: one for each use.
_users = count(54_400 + os.getpid() % 10_000 * 10)


def in_session(work: Callable[[], object]) -> object:
    """What `work` returns in a process with a session keyring of its own."""

    def apart() -> object:
        join_new_session()
        return work()

    return in_child(apart)


def as_ordinary_user(work: Callable[[], object]) -> object:
    """The same as an ordinary user who has just logged in; leaves no keys behind."""

    def apart() -> object:
        become_ordinary()
        join_new_session()
        try:
            return work()
        finally:
            clear(Keyring.USER)

    return in_child(apart)


def become_ordinary() -> None:
    user = next(_users)
    if os.geteuid() == 0:
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def answer(work: Callable[[], object]) -> object:
    """What a call says: a value as text, an error as its code."""
    try:
        found = work()
    except StoreError as exc:
        return exc.code
    return found.reveal() if isinstance(found, Secret) else found


def everything_about(item: ItemName) -> list[object]:
    """What each reading call says of an item in the session."""
    here = store()
    return [
        answer(lambda: here.read(item, Call())),
        answer(lambda: here.contains(item, Call())),
        answer(lambda: [each.name for each in here.names(SERVICE, Call())]),
    ]


def revoked() -> list[object]:
    here = store()
    here.write(ONE, Secret("1"), Call())
    here.write(TWO, Secret("2"), Call())
    keys = Keyctl()
    for key in keys.keys(keys.number(SESSION)):
        if keys.describe(key)[2].endswith(b":one"):
            revoke(key)
    answers = everything_about(ONE)
    answers.append(here.delete(ONE, Call()))
    answers.append(here.delete(ONE, Call()))
    return answers + everything_about(ONE) + everything_about(TWO)


def expired() -> list[object]:
    short, here = store(timeout=1), store()
    short.write(ONE, Secret("1"), Call())
    short.write(TWO, Secret("2"), Call())
    here.write(TWO, Secret("2"), Call())
    answers = everything_about(ONE)
    time.sleep(2.2)
    answers += everything_about(ONE)
    answers.append(here.delete(ONE, Call()))
    answers.append(here.delete(ONE, Call()))
    return answers + everything_about(ONE) + everything_about(TWO)


def test_revoked_item_is_invalidated_and_can_be_deleted() -> None:
    """Not absent while the kernel remembers it, and listed beside the living one."""
    dead, gone = ["secret-invalidated", True, ["one", "two"]], [True, False, None, False, ["two"]]
    assert [*dead, *gone, "2", True, ["two"]] == in_session(revoked)


def test_expired_item_is_invalidated_and_can_be_deleted() -> None:
    """The time of one item is over; the other one's was taken back by a later write."""
    alive, dead = ["1", True, ["one", "two"]], ["secret-invalidated", True, ["one", "two"]]
    gone = [True, False, None, False, ["two"]]
    assert [*alive, *dead, *gone, "2", True, ["two"]] == in_session(expired)


NAMES = ["plain", "a: 5", "line\nbreak: 7", "höflich", " "]


@pytest.mark.parametrize("keyring", list(Keyring))
def test_dead_items_are_listed_by_any_name_and_erased(keyring: Keyring) -> None:
    """As living ones are, of their service alone; `delete_all` takes them away."""

    def work() -> list[object]:
        short, items = store(keyring, timeout=1), [ItemName(SERVICE, name) for name in NAMES]
        for item in [*items, ItemName("org.example.other", "one"), RECORD]:
            short.write(item, Secret("x"), Call())
        time.sleep(2.2)
        names = store(keyring).names(SERVICE, Call())
        storage = SecureStorage(SERVICE, store(keyring), state_directory="/nowhere")
        report = storage.check()
        erased = [item for item in names if store(keyring).delete(item, Call())]
        states = {(each.name, each.state) for each in report.items}
        left = [storage.names(), [each.name for each in store(keyring).names(OTHER, Call())]]
        clear(keyring)
        return [names, erased == names, states, *left]

    expected = sorted([*(ItemName(SERVICE, name) for name in NAMES), RECORD])
    states = {(name, "invalidated") for name in [*NAMES, RECORD.name]}
    with alone():
        assert [expected, True, states, [], ["one"]] == in_session(work)


def test_reset_is_the_way_out_of_dead_items(tmp_path: Path) -> None:
    """Until then reading says so each time, and doctor's check too; afterwards all is well."""

    def work() -> list[object]:
        storage = SecureStorage(SERVICE, store(), state_directory=str(tmp_path))
        storage.write("one", "1")
        storage.write("two", "2")
        keys = Keyctl()
        (one,) = [
            key
            for key in keys.keys(keys.number(SESSION))
            if keys.describe(key)[2].endswith(b":one")
        ]
        revoke(one)
        answers = [answer(lambda: storage.read("one")), answer(storage.read_all)]
        answers += [storage.check().is_healthy, int(storage.reset())]
        storage.write("one", "anew")
        return [*answers, storage.check().is_healthy, storage.names()]

    dead = "secret-invalidated"
    assert [dead, dead, False, 2, True, ["one"]] == in_session(work)


def test_name_that_is_only_said_is_not_listed() -> None:
    """A dead item's name is believed if the keyring itself says that it is dead."""

    def work() -> list[object]:
        here = store(timeout=1)
        here.write(ONE, Secret("1"), Call())
        time.sleep(2.2)
        (dead,) = Keyctl().keys(Keyctl().number(SESSION))
        alive = b"tokenkeep:session:item:19:" + SERVICE.encode() + b":one"
        told = here._dead_names(Keyctl().number(SESSION), [dead, 1])
        before = [each.name for each in told]
        store().write(ONE, Secret("alive"), Call())  # in the dead one's place
        assert alive in {Keyctl().describe(k)[2] for k in Keyctl().keys(Keyctl().number(SESSION))}
        return [before, [each.name for each in here._dead_names(Keyctl().number(SESSION), [dead])]]

    assert [["one"], []] == in_session(work)


@pytest.mark.parametrize("timeout", [None, 60], ids=["for ever", "for a minute"])
def test_dead_item_can_be_written_anew(timeout: int | None) -> None:
    """Expired or revoked, the name takes a new value, with or without a time."""

    def work() -> list[object]:
        store(timeout=1).write(ONE, Secret("old"), Call())
        time.sleep(2.2)
        store(timeout=timeout).write(ONE, Secret("new"), Call())
        answers = everything_about(ONE)
        keys = Keyctl()
        revoke(keys.keys(keys.number(SESSION))[0])
        store(timeout=timeout).write(ONE, Secret("newer"), Call())
        return answers + everything_about(ONE)

    assert ["new", True, ["one"], "newer", True, ["one"]] == in_session(work)


def test_killed_writer_leaves_no_value_without_its_time() -> None:
    """Whichever system call was the last: a value that is there ends by itself, or the old is."""

    def work() -> list[object]:
        items = [ItemName(SERVICE, str(number)) for number in range(12)]
        for number, item in enumerate(items):
            in_child_until(number, item)
        time.sleep(2.2)
        return [answer(lambda item=item: store().read(item, Call())) for item in items]

    answers = in_session(work)
    assert {None, "secret-invalidated"} == set(answers)  # type: ignore[call-overload]


def in_child_until(last: int, item: ItemName) -> None:
    """Writes with a timeout in a process that dies at its system call number `last`."""
    from tokenkeep.native.keyctl import _system_call

    real, made = _system_call(), count()

    def dying(name: str, *arguments: object) -> int:
        if next(made) == last:
            os._exit(0)
        return real(name, *arguments)

    child = os.fork()
    if child == 0:
        options = KernelKeyringOptions(timeout=1)
        KernelKeyringStore(options, keys=Keyctl(dying)).write(item, Secret("x"), Call())
        os._exit(0)
    os.waitpid(child, 0)


@pytest.mark.requires("ordinary user")
def test_full_quota_is_full_and_changes_nothing() -> None:
    """By bytes and by number; what was there stays, and deleting makes room."""

    def work() -> list[object]:
        here, limit = store(Keyring.USER), store(Keyring.USER).facts.max_value_bytes
        assert limit is not None
        here.write(ONE, Secret("x" * (limit // 2)), Call())
        answers = [
            answer(lambda: here.write(TWO, Secret("y" * limit), Call())),
            answer(lambda: here.write(ONE, Secret("y" * (limit + 1)), Call())),
            answer(lambda: here.read(TWO, Call())),
            len(here.read(ONE, Call()).reveal()) == limit // 2,  # type: ignore[union-attr]
            here.delete(ONE, Call()),
            answer(lambda: here.write(TWO, Secret("y" * limit), Call())),
            here.delete(TWO, Call()),
        ]
        written = 0
        try:
            for number in range(300):
                here.write(ItemName(SERVICE, str(number)), Secret("x"), Call())
                written += 1
        except StoreFull:
            answers.append(len(here.names(SERVICE, Call())) == written > 50)
        return answers

    expected = ["store-full", "value-too-large", None, True, True, None, True, True]
    assert expected == as_ordinary_user(work)


def test_another_session_sees_only_what_is_the_users() -> None:
    """Session items stay in their session; the user's are found though nothing links to them."""

    def work() -> list[object]:
        for keyring in Keyring:
            store(keyring).write(ONE, Secret(keyring.value), Call())
        join_new_session()
        answers = [answer(lambda k=keyring: store(k).read(ONE, Call())) for keyring in Keyring]
        for keyring in (Keyring.USER, Keyring.PERSISTENT):
            store(keyring).write(ONE, Secret("changed"), Call())
            answers.append(answer(lambda k=keyring: store(k).read(ONE, Call())))
            answers.append(store(keyring).delete(ONE, Call()))
        return answers

    with alone():
        expected = [None, "user", "persistent", "changed", True, "changed", True]
        assert expected == in_session(work)


def test_keyrings_that_are_linked_do_not_meet() -> None:
    """A login links the user's keyring to the session's: an item of one is none of the other."""

    def work() -> list[object]:
        keys = Keyctl()
        keys.link(USER, keys.number(SESSION))
        store(Keyring.USER).write(ONE, Secret("the user's"), Call())
        before = everything_about(ONE)
        store().write(ONE, Secret("the session's"), Call())
        answers = [*before, store().delete(ONE, Call()), *everything_about(ONE)]
        answers.append(answer(lambda: store(Keyring.USER).read(ONE, Call())))
        clear(Keyring.USER)
        return answers

    with alone():
        nothing = [None, False, []]
        assert [*nothing, True, *nothing, "the user's"] == in_session(work)


@pytest.mark.requires("ordinary user")
def test_session_of_another_user_is_refused() -> None:
    """After su the session is still the other one's, who would read what is kept there."""
    if os.geteuid() != 0:
        return  # Nobody but root can become another user.

    def work() -> list[object]:
        join_new_session()
        become_ordinary()
        with pytest.raises(AccessDenied, match="belongs to user 0, as after su") as caught:
            store().write(ONE, Secret("x"), Call())
        assert "keyctl session" in str(caught.value.hint)
        with pytest.raises(AccessDenied):
            probe(KernelKeyringOptions(), Call())
        store(Keyring.USER).write(ONE, Secret("mine"), Call())
        found = answer(lambda: store(Keyring.USER).read(ONE, Call()))
        clear(Keyring.USER)
        return [found]

    assert ["mine"] == in_child(work)


@pytest.mark.requires("ordinary user")
def test_other_users_cannot_read_an_item() -> None:
    """Not by name, and not by the key's number."""
    if os.geteuid() != 0:
        return  # Nobody but root can become another user.

    def work() -> list[object]:
        store(Keyring.USER).write(ONE, Secret("root's"), Call())
        (key,) = [
            key
            for key in Keyctl().keys(USER)
            if Keyctl().describe(key)[2].endswith(SERVICE.encode() + b":one")
        ]

        def other() -> object:
            become_ordinary()
            join_new_session()
            with pytest.raises(KeyctlError, match="EACCES"):
                Keyctl().read(key)
            return answer(lambda: store(Keyring.USER).read(ONE, Call()))

        found = in_child(other)
        store(Keyring.USER).delete(ONE, Call())
        return [found]

    with alone():
        assert [None] == in_session(work)


def test_users_items_outlive_the_process_as_the_facts_say() -> None:
    """`BOOT` is claimed for a kernel that keeps a user's keyring without any process."""
    claims = {keyring: store(keyring).facts.persistence for keyring in Keyring}
    assert Persistence.LOGIN is claims[Keyring.SESSION]
    assert Persistence.BOOT is claims[Keyring.PERSISTENT]
    if os.geteuid() != 0 or claims[Keyring.USER] is not Persistence.BOOT:
        return  # Nobody but root can come back as a user who had left.
    user = next(_users)

    def as_user(work: Callable[[], object]) -> object:
        def apart() -> object:
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            join_new_session()
            return work()

        return in_child(apart)

    as_user(lambda: store(Keyring.USER).write(ONE, Secret("x"), Call()))
    time.sleep(0.2)
    assert "x" == as_user(lambda: answer(lambda: store(Keyring.USER).read(ONE, Call())))
    as_user(lambda: clear(Keyring.USER))


@pytest.mark.parametrize("timeout", [0, -1, 1.5, True, 2**31, "60"])
def test_time_that_the_kernel_cannot_count_is_refused(timeout: object) -> None:
    """Not rounded, and not taken for never."""
    with pytest.raises(UnsupportedOption, match="whole seconds"):
        KernelKeyringOptions(timeout=timeout)  # type: ignore[arg-type]


def test_keyring_is_one_that_others_find_again() -> None:
    """A thread's or a process's own keyring would keep nothing; a string is no keyring."""
    assert {"SESSION", "USER", "PERSISTENT"} == {each.name for each in Keyring}
    with pytest.raises(UnsupportedOption, match="one of Keyring's"):
        KernelKeyringOptions("session")  # type: ignore[arg-type]


def test_value_that_is_too_large_names_the_vault() -> None:
    """32,767 bytes are the kernel's limit; nothing was written."""
    with pytest.raises(ValueTooLarge) as caught:
        store().write(ONE, Secret(b"x" * 32_768), Call())
    assert "tokenkeep vault create" in str(caught.value.hint)


def test_dead_error_says_what_to_do() -> None:
    """An expired item tells that its time is over, and how to go on."""

    def work() -> list[object]:
        store(timeout=1).write(ONE, Secret("x"), Call())
        time.sleep(2.2)
        with pytest.raises(SecretInvalidated, match="its time is over") as caught:
            store().read(ONE, Call())
        return [caught.value.hint]

    assert ["write it anew, or sign in again"] == in_session(work)


def test_container_that_forbids_the_calls_says_so() -> None:
    """Denied, not absent: every verb, the probe and the chooser, with the way out."""

    def work() -> list[object]:
        forbid_keys()
        here = store()
        calls = (
            lambda: here.read(ONE, Call()),
            lambda: here.write(ONE, Secret("x"), Call()),
            lambda: here.delete(ONE, Call()),
            lambda: here.names(SERVICE, Call()),
            lambda: here.contains(ONE, Call()),
            lambda: probe(KernelKeyringOptions(), Call()),
        )
        (candidate,) = [each for each in candidates([]) if each.name == "kernel-keyring"]
        return [*(answer(each) for each in calls), candidate.usable, candidate.reason]

    reason = (
        "looking in the kernel keyring failed: the kernel's keys are forbidden here,"
        " as many containers do"
    )
    assert ["access-denied"] * 6 + [False, reason] == in_child(work)
