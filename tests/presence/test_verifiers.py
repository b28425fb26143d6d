"""A passphrase on the terminal, and a security key: right, wrong, absent, too often, too late."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fido2.ctap import CtapError

from support.captured import assert_nothing_leaks
from support.security_key import SecurityKey
from tokenkeep import fields
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.crypto import Argon2Profile
from tokenkeep.errors import (
    NotEnrolled,
    PresenceDenied,
    PresenceError,
    PresenceLockedOut,
    PresenceUnavailable,
    SecretDamaged,
)
from tokenkeep.item import Call
from tokenkeep.presence.fido2 import Fido2
from tokenkeep.presence.terminal import TerminalPassphrase
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.testing.clock import FakeClock

CHEAP = Argon2Profile(memory_kib=64, passes=1, lanes=1)


class Desk:
    """A storage and what the person types."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.storage = SecureStorage("org.example.notes", MemoryStore(), clock=self.clock)
        self.typed: Any = "correct horse"
        self.questions: list[str] = []

    def ask(self, question: str) -> str:
        self.questions.append(question)
        if isinstance(self.typed, BaseException):
            raise self.typed
        return str(self.typed)

    def passphrase(self) -> TerminalPassphrase:
        return TerminalPassphrase(self.storage, ask=self.ask, profile=CHEAP)

    def call(self, seconds: float = 60.0) -> Call:
        return Call(seconds, clock=self.clock)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_enrolled_passphrase_confirms(desk: Desk) -> None:
    """The question says why; nothing that is kept is the passphrase."""
    desk.passphrase().enrol("correct horse")
    desk.passphrase().verify("show the PIN", desk.call())
    assert ["passphrase to show the PIN: "] == desk.questions
    kept = desk.storage.read("presence passphrase")
    assert kept is not None
    assert b"correct horse" not in kept.reveal_bytes()


def test_without_an_enrolled_one_nobody_is_asked(desk: Desk) -> None:
    """Absent is not damaged, and neither is wrong."""
    with pytest.raises(NotEnrolled):
        desk.passphrase().verify("x", desk.call())
    desk.storage.write("presence passphrase", "nonsense")
    with pytest.raises(SecretDamaged):
        desk.passphrase().verify("x", desk.call())
    with pytest.raises(PresenceUnavailable):
        desk.passphrase().enrol("")
    assert [] == desk.questions


def test_a_salt_that_the_derivation_does_not_take_is_damage(desk: Desk) -> None:
    """Told before anybody is asked."""
    desk.passphrase().enrol("correct horse")
    kept = desk.storage.read("presence passphrase")
    assert kept is not None
    known = fields.unpack(kept.reveal_bytes())
    desk.storage.write("presence passphrase", fields.pack({**known, "salt": b"1234567"}))
    with pytest.raises(SecretDamaged):
        desk.passphrase().verify("x", desk.call())
    assert [] == desk.questions


def test_a_wrong_one_is_refused_and_leaks_nothing(desk: Desk) -> None:
    """Neither what was typed nor what is right."""
    desk.passphrase().enrol("correct horse")
    desk.typed = "battery staple"
    with pytest.raises(PresenceDenied) as caught:
        desk.passphrase().verify("x", desk.call())
    assert "failed" == caught.value.reason
    assert_nothing_leaks(caught.value, "correct horse", "battery staple")


class Hesitant(SecureStorage):
    """Lets others in between reading and writing."""

    def read(self, name: str) -> Secret | None:
        found = super().read(name)
        time.sleep(0.02)
        return found


def test_of_many_who_guess_at_once_each_counts(desk: Desk) -> None:
    """Else as many processes as one likes would try as many passphrases for one failure."""
    desk.storage = Hesitant("org.example.notes", MemoryStore())
    desk.passphrase().enrol("correct horse")
    desk.typed = "wrong"

    def guess(_number: int) -> type[Exception] | None:
        try:
            desk.passphrase().verify("x", Call(60.0))
        except PresenceError as exc:
            return type(exc)
        return None

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(guess, range(8)))
    assert (4, 4) == (outcomes.count(PresenceDenied), outcomes.count(PresenceLockedOut))
    assert 4 == len(desk.questions)


@pytest.mark.parametrize("gesture", [KeyboardInterrupt(), EOFError()])
def test_cancelling_is_no_failure(desk: Desk, gesture: BaseException) -> None:
    """Ten times, and the right passphrase still confirms at once."""
    desk.passphrase().enrol("correct horse")
    desk.typed = gesture
    for _ in range(10):
        with pytest.raises(PresenceDenied) as caught:
            desk.passphrase().verify("x", desk.call())
        assert "cancelled" == caught.value.reason
    desk.typed = "correct horse"
    desk.passphrase().verify("x", desk.call())


def test_guessing_is_locked_out_for_growing_times(desk: Desk) -> None:
    """Also for the right one, and for another process; a success begins anew."""
    desk.passphrase().enrol("correct horse")
    desk.typed = "wrong"
    for _ in range(4):
        with pytest.raises(PresenceDenied):
            desk.passphrase().verify("x", desk.call())
    waits = []
    for _ in range(3):
        desk.typed = "correct horse"
        with pytest.raises(PresenceLockedOut) as caught:
            desk.passphrase().verify("x", desk.call())
        assert caught.value.retry_after is not None
        waits.append(caught.value.retry_after)
        desk.clock.advance(caught.value.retry_after + 1)
        desk.typed = "wrong"
        with pytest.raises(PresenceDenied):
            desk.passphrase().verify("x", desk.call())
    assert [30, 60, 120] == [round(wait, -1) for wait in waits]
    desk.clock.advance(1e4)
    desk.typed = "correct horse"
    for _ in range(2):
        desk.passphrase().verify("x", desk.call())


def test_a_process_that_ends_instead_of_answering_has_failed(desk: Desk) -> None:
    """The attempt counts before the answer is known."""

    class Killed(BaseException):
        pass

    desk.passphrase().enrol("correct horse")
    desk.typed = Killed()
    for _ in range(4):
        with pytest.raises(Killed):
            desk.passphrase().verify("x", desk.call())
    with pytest.raises(PresenceLockedOut):
        desk.passphrase().verify("x", desk.call())


def test_a_cancelled_prompt_takes_back_its_own_failure_only(desk: Desk) -> None:
    """Whoever opens a prompt, guesses elsewhere and cancels the first is locked out too."""
    desk.passphrase().enrol("correct horse")
    desk.typed = "wrong"

    def guess_elsewhere(_question: str) -> str:
        for _ in range(3):
            with pytest.raises(PresenceDenied):
                desk.passphrase().verify("x", desk.call())
        raise KeyboardInterrupt

    with pytest.raises(PresenceDenied):
        TerminalPassphrase(desk.storage, ask=guess_elsewhere, profile=CHEAP).verify(
            "x", desk.call()
        )
    with pytest.raises(PresenceDenied):
        desk.passphrase().verify("x", desk.call())
    with pytest.raises(PresenceLockedOut):
        desk.passphrase().verify("x", desk.call())


@pytest.mark.parametrize("typed", ["old", "wrong", KeyboardInterrupt()])
def test_a_passphrase_enrolled_during_a_prompt_stays(
    desk: Desk, typed: str | BaseException
) -> None:
    """However the prompt ends: the old one confirms nothing any more, and never comes back."""
    desk.passphrase().enrol("old")
    desk.typed = typed

    def ask(question: str) -> str:
        desk.passphrase().enrol("new")
        return desk.ask(question)

    with pytest.raises(PresenceDenied):
        TerminalPassphrase(desk.storage, ask=ask, profile=CHEAP).verify("x", desk.call())
    desk.typed = "new"
    desk.passphrase().verify("x", desk.call())
    desk.typed = "old"
    with pytest.raises(PresenceDenied):
        desk.passphrase().verify("x", desk.call())


def test_where_nobody_can_be_asked_nobody_has_failed(desk: Desk) -> None:
    """A program without a terminal does not lock out the person who comes to one."""
    desk.passphrase().enrol("correct horse")
    desk.typed = PresenceUnavailable("there is no terminal to ask on")
    for _ in range(6):
        with pytest.raises(PresenceUnavailable):
            desk.passphrase().verify("x", desk.call())
    desk.typed = "correct horse"
    desk.passphrase().verify("x", desk.call())


@pytest.mark.skipif(not hasattr(os, "setsid"), reason="no sessions of terminals here")
def test_what_comes_out_of_a_pipe_was_typed_by_nobody() -> None:
    """Without a controlling terminal stdin is not taken for one."""
    code = """
from tokenkeep.item import Call
from tokenkeep.presence.terminal import _ask_on_terminal
print(_ask_on_terminal("? ", Call()).reveal())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=b"from a pipe\n",
        capture_output=True,
        start_new_session=True,
        timeout=60,
        check=False,
    )
    assert b"" == done.stdout
    assert b"PresenceUnavailable: there is no terminal" in done.stderr


def test_an_answer_after_the_deadline_does_not_count(desk: Desk) -> None:
    """Somebody who comes back after lunch is asked anew."""
    desk.passphrase().enrol("correct horse")
    late = desk.call(5)

    def slow(_question: str) -> str:
        desk.clock.advance(10)
        return "correct horse"

    with pytest.raises(PresenceDenied) as caught:
        TerminalPassphrase(desk.storage, ask=slow, profile=CHEAP).verify("x", late)
    assert "timed out" == caught.value.reason


class Keys:
    """A security key in a slot, perhaps."""

    def __init__(self, desk: Desk) -> None:
        self.key = SecurityKey()
        self.plugged: list[SecurityKey] = [self.key]
        self.touches = 0
        self.verifier = Fido2(desk.storage, devices=lambda: self.plugged, on_touch=self.touched)

    def touched(self) -> None:
        self.touches += 1


@pytest.fixture
def keys(desk: Desk) -> Keys:
    return Keys(desk)


def test_a_touched_key_confirms(desk: Desk, keys: Keys) -> None:
    """Enrolled once, asked for a fresh signature and the same secret each time."""
    keys.verifier.enrol(Call(10))
    for _ in range(2):
        keys.verifier.verify("x", Call(10))
    assert 4 == keys.touches
    kept = desk.storage.read("presence security key")
    assert kept is not None


def test_nobody_touches_it(keys: Keys) -> None:
    """The wait ends at the deadline."""
    keys.verifier.enrol(Call(10))
    keys.key.touch = lambda: False
    with pytest.raises(PresenceDenied) as caught:
        keys.verifier.verify("x", Call(0.3))
    assert "timed out" == caught.value.reason


def unplug(keys: Keys) -> None:
    keys.plugged = []


def plug_another(keys: Keys) -> None:
    keys.plugged = [SecurityKey()]


def lie(keys: Keys) -> None:
    keys.key.lies = True


@pytest.mark.parametrize(
    ("harm", "error"),
    [(unplug, PresenceUnavailable), (plug_another, NotEnrolled), (lie, PresenceDenied)],
)
def test_another_key_none_and_a_wrong_signature_are_told_apart(
    keys: Keys, harm: Callable[[Keys], None], error: type[PresenceError]
) -> None:
    """None plugged in; one that does not know the credential; one that signs something else."""
    keys.verifier.enrol(Call(10))
    harm(keys)
    with pytest.raises(error):
        keys.verifier.verify("x", Call(10))


def test_of_two_keys_the_enrolled_one_is_found(keys: Keys) -> None:
    """The other says that it does not know the credential, without a touch."""
    keys.verifier.enrol(Call(10))
    keys.plugged = [SecurityKey(lambda: False), keys.key]
    keys.verifier.verify("x", Call(10))


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (CtapError.ERR.PIN_BLOCKED, PresenceLockedOut),
        (CtapError.ERR.PIN_AUTH_BLOCKED, PresenceLockedOut),
        (CtapError.ERR.UV_BLOCKED, PresenceLockedOut),
        (CtapError.ERR.PIN_INVALID, PresenceDenied),
        (CtapError.ERR.OPERATION_DENIED, PresenceDenied),
        (CtapError.ERR.USER_ACTION_TIMEOUT, PresenceDenied),
        (CtapError.ERR.KEEPALIVE_CANCEL, PresenceDenied),
        (CtapError.ERR.PIN_NOT_SET, NotEnrolled),
        (CtapError.ERR.PUAT_REQUIRED, NotEnrolled),
        (CtapError.ERR.PROCESSING, PresenceUnavailable),
    ],
)
def test_every_answer_of_a_key_has_its_error(
    keys: Keys, code: Any, error: type[PresenceError]
) -> None:
    """CTAP 2.1, section 8.2."""
    keys.verifier.enrol(Call(10))
    keys.key.error = code
    with pytest.raises(error):
        keys.verifier.verify("x", Call(10))


def test_a_key_without_the_extension_is_not_enrolled(desk: Desk, keys: Keys) -> None:
    """Nothing is kept."""
    keys.key.has_hmac_secret = False
    with pytest.raises(PresenceUnavailable):
        keys.verifier.enrol(Call(10))
    assert [] == desk.storage.names()
    with pytest.raises(NotEnrolled):
        keys.verifier.verify("x", Call(10))


def test_what_is_kept_and_damaged_is_told(desk: Desk, keys: Keys) -> None:
    """Not taken for another key."""
    desk.storage.write("presence security key", "nonsense")
    with pytest.raises(SecretDamaged):
        keys.verifier.verify("x", Call(10))
