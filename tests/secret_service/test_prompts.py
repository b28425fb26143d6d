"""gnome-keyring's own prompt on a real screen: answered, dismissed, and left alone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from secret_service.daemons import running
from support.gnome_keyring import PASSWORD, GnomeKeyring
from support.screen import Person, screen
from tokenkeep.backends.secret_service import SecretServiceStore
from tokenkeep.errors import InteractionDenied, StoreError, StoreLocked, StoreTimeout
from tokenkeep.item import Call, Interaction, ItemName
from tokenkeep.secret import Secret
from tokenkeep.testing.together import together

pytestmark = pytest.mark.requires("gnome-keyring", "screen")

NAME = ItemName("org.example.notes", "token")


@pytest.fixture
def keyring_and_person() -> Iterator[tuple[GnomeKeyring, Person]]:
    """A keyring with an item in it, locked since."""
    with contextlib.ExitStack() as stack:
        display = stack.enter_context(screen())
        env = {"DISPLAY": display}
        keyring = stack.enter_context(running("gnome-keyring", activates=True, env=env))
        assert isinstance(keyring, GnomeKeyring)
        store = SecretServiceStore()
        store.write(NAME, Secret("kept"), Call(10.0))
        store.close()
        keyring.lock()
        yield keyring, Person(display)


@pytest.fixture
def store() -> Iterator[SecretServiceStore]:
    made = SecretServiceStore()
    yield made
    made.close()


def allowed(seconds: float = 30.0) -> Call:
    return Call(seconds, Interaction.ALLOWED)


def meanwhile(work: Callable[[], object], person: Callable[[], object]) -> object:
    """What the work gives while the person does something."""

    def either(number: int) -> object:
        return work() if number == 0 else person() if number == 1 else None

    return together(either, 2)[0]


def test_answered_prompt_gives_the_value(
    keyring_and_person: tuple[GnomeKeyring, Person], store: SecretServiceStore
) -> None:
    """The right password opens the keyring; the next call asks nobody."""
    _keyring, person = keyring_and_person
    value = meanwhile(lambda: store.read(NAME, allowed()), lambda: person.types(PASSWORD.decode()))
    assert Secret("kept") == value
    assert Secret("kept") == store.read(NAME, Call(10.0))


def test_dismissed_prompt_is_a_no(
    keyring_and_person: tuple[GnomeKeyring, Person], store: SecretServiceStore
) -> None:
    """Escape: `InteractionDenied`, the keyring stays locked and the daemon lives."""
    keyring, person = keyring_and_person

    def read() -> type[StoreError] | None:
        with pytest.raises(StoreError) as caught:
            store.read(NAME, allowed())
        return caught.type

    assert InteractionDenied is meanwhile(read, lambda: person.presses("Escape"))
    with pytest.raises(StoreLocked):
        store.read(NAME, Call(10.0))
    assert keyring.process.poll() is None


def test_prompt_that_nobody_answers_ends_with_the_deadline_and_can_be_answered_later(
    keyring_and_person: tuple[GnomeKeyring, Person], store: SecretServiceStore
) -> None:
    """`StoreTimeout` in time; the prompt stays, and the next call waits for that very one."""
    keyring, person = keyring_and_person
    began = time.monotonic()
    with pytest.raises(StoreTimeout):
        store.read(NAME, allowed(2.0))
    assert 2.0 <= time.monotonic() - began < 4.0
    assert keyring.process.poll() is None
    value = meanwhile(lambda: store.read(NAME, allowed()), lambda: person.types(PASSWORD.decode()))
    assert Secret("kept") == value
    person.sees_it_close()


def test_threads_share_one_prompt(
    keyring_and_person: tuple[GnomeKeyring, Person], store: SecretServiceStore
) -> None:
    """Several calls at once, one question."""
    _keyring, person = keyring_and_person

    def either(number: int) -> object:
        if number == 0:
            return person.types(PASSWORD.decode())
        return store.read(NAME, allowed())

    assert [None, *[Secret("kept")] * 3] == together(either, 4)
    person.sees_it_close()


def test_process_that_gave_up_leaves_the_daemon_alive(
    keyring_and_person: tuple[GnomeKeyring, Person], store: SecretServiceStore
) -> None:
    """Going away with a prompt on the screen ends neither the daemon nor what it keeps."""
    keyring, _person = keyring_and_person
    with pytest.raises(StoreTimeout):
        store.read(NAME, allowed(2.0))
    store.close()
    time.sleep(0.5)
    assert keyring.process.poll() is None
    keyring.unlock()
    assert Secret("kept") == store.read(NAME, Call(10.0))


def test_call_that_may_not_prompt_shows_nothing(
    keyring_and_person: tuple[GnomeKeyring, Person], store: SecretServiceStore
) -> None:
    """However often it is made: more often than the daemon is left with unused prompts."""
    _keyring, person = keyring_and_person
    for _ in range(40):
        with pytest.raises(StoreLocked):
            store.read(NAME, Call(10.0))
    assert not person.sees_a_window()


def test_first_write_on_a_new_desktop_has_the_person_make_the_keyring() -> None:
    """No default keyring, and a prompt is allowed: a password twice, and the item is kept."""
    with contextlib.ExitStack() as stack:
        display = stack.enter_context(screen())
        env = {"DISPLAY": display}
        keyring = stack.enter_context(
            running("gnome-keyring", has_collection=False, activates=True, env=env)
        )
        store = SecretServiceStore()
        stack.callback(store.close)
        person = Person(display)
        meanwhile(
            lambda: store.write(NAME, Secret("kept"), allowed()),
            lambda: person.types("new password", "new password"),
        )
        assert Secret("kept") == store.read(NAME, Call(10.0))
        alias = "org.freedesktop.Secret.Service.ReadAlias"
        path = "/org/freedesktop/secrets"
        assert ("/",) != keyring.bus.call("org.freedesktop.secrets", path, alias, "s", "default")
