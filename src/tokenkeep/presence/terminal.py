"""A passphrase typed on the terminal, compared with what was enrolled.

What is kept is an Argon2id hash with a count of failures, as one item of a storage: guessing is
slow, and is refused for growing times, also by the next process.
"""

from __future__ import annotations

import hmac
import os
import sys

from tokenkeep import fields
from tokenkeep.crypto import (
    RFC_9106_LOW_MEMORY,
    Argon2Profile,
    argon2id,
    checksum,
    random_bytes,
)
from tokenkeep.errors import (
    NotEnrolled,
    PresenceDenied,
    PresenceError,
    PresenceLockedOut,
    PresenceUnavailable,
    SecretDamaged,
    StoreTimeout,
)
from tokenkeep.fence import Fence
from tokenkeep.item import checked_name
from tokenkeep.secret import Secret, as_secret
from tokenkeep.sessionlog import service_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenkeep.fence import Hold
    from tokenkeep.item import Call
    from tokenkeep.storage import SecureStorage

_SALT_BYTES = 16
#: After so many failures in a row each further one has to wait, twice as long each time.
_FREE_FAILURES = 4
_FIRST_WAIT, _LONGEST_WAIT = 30.0, 3600.0


class TerminalPassphrase:
    """A `Verifier` for programs in a terminal.

    Args:
        storage: where the hash is kept. Never a gate of itself, and not the storage behind the
            gate: writing needs no proof there, so whoever has the gate could enrol.
        name: the hash's name there.
        ask: shows the question and gives what was typed, and has to end by itself; the terminal's
            hidden prompt if None, which ends in time.
        profile: what a comparison costs.
    """

    name = "passphrase on the terminal"

    def __init__(
        self,
        storage: SecureStorage,
        *,
        name: str = "presence passphrase",
        ask: Callable[[str], Secret | str] | None = None,
        profile: Argon2Profile = RFC_9106_LOW_MEMORY,
    ) -> None:
        self._storage = storage
        self._item = checked_name(name, "name")
        self._ask = ask
        self._profile = profile

    def enrol(self, passphrase: Secret | str) -> None:
        """Keeps a passphrase to compare with, in place of the one before.

        Raises:
            PresenceUnavailable: it is empty.
            StoreError: it could not be kept.
        """
        try:
            passphrase = as_secret(passphrase)
        except (TypeError, ValueError):
            del passphrase  # this frame is in the traceback
            raise
        if not passphrase.size:
            raise PresenceUnavailable("an empty passphrase proves nothing")
        salt = random_bytes(_SALT_BYTES)
        self._keep(salt, argon2id(passphrase, salt, self._profile), self._profile, 0, 0.0)

    def verify(self, reason: str, call: Call) -> None:
        """Asks once and compares; raises as `Verifier.verify`."""
        with self._alone(call):
            salt, wanted, profile, failures, failed_at = self._enrolled()
            now = self._storage.clock.wall()
            wait = _wait_after(failures) - max(0.0, now - failed_at)
            if wait > 0:
                raise PresenceLockedOut(
                    f"too many wrong passphrases: wait {wait:.0f} s", retry_after=wait
                )
            # Counted before the answer: who ends the process instead of waiting has failed, too.
            self._keep(salt, wanted, profile, failures + 1, now)
        given: Secret | None = None
        try:
            given = self._asked(f"passphrase to {reason}: ", call)
        except (KeyboardInterrupt, EOFError):
            pass  # raised below: what was typed may be in the frames that it came through
        except PresenceError:  # nobody was asked, or nobody has answered
            self._take_back(salt, failures, failed_at)
            raise
        if given is None:
            self._take_back(salt, failures, failed_at)
            raise PresenceDenied(reason="cancelled")
        if call.remaining() == 0.0:
            raise PresenceDenied(reason="timed out")
        found = argon2id(given, salt, profile)
        if not hmac.compare_digest(found.reveal_bytes(), wanted.reveal_bytes()):
            raise PresenceDenied("the passphrase is wrong", reason="failed")
        with self._alone(call):
            if self._enrolled()[0] != salt:
                raise PresenceDenied("another passphrase was enrolled meanwhile", reason="failed")
            self._keep(salt, wanted, profile, 0, 0.0)

    def _asked(self, question: str, call: Call) -> Secret | None:
        """What was typed; None if the person ended the input instead."""
        if self._ask is None:
            return _ask_on_terminal(question, call)
        return as_secret(self._ask(question))

    def _alone(self, call: Call) -> Hold:
        """The right to count: of two who guess at once, each counts."""
        directory = service_directory(self._storage.state_directory, self._storage.service)
        name = checksum(b"tokenkeep presence\0" + self._item.encode("utf-8")).hex()[:16]
        fence = Fence(os.path.join(directory, f"presence-{name}.lock"), self._storage.clock)
        return fence.hold("presence", call)

    def _enrolled(self) -> tuple[bytes, Secret, Argon2Profile, int, float]:
        value = self._storage.read(self._item)
        if value is None:
            raise NotEnrolled("no passphrase was enrolled", hint="TerminalPassphrase.enrol(...)")
        return _unpacked(value)

    def _take_back(self, salt: bytes, failures: int, failed_at: float) -> None:
        """Takes back the failure that was counted ahead; what others did since then stays."""
        with self._alone(self._storage.call()):  # the person's time may be over
            now_salt, wanted, profile, counted, counted_at = self._enrolled()
            if now_salt != salt or not counted:
                return
            at = failed_at if counted == failures + 1 else counted_at
            self._keep(salt, wanted, profile, counted - 1, at)

    def _keep(
        self, salt: bytes, wanted: Secret, profile: Argon2Profile, failures: int, at: float
    ) -> None:
        self._storage.write(
            self._item,
            Secret(
                fields.pack(
                    {
                        "salt": salt,
                        "hash": wanted.reveal_bytes(),
                        "memory-kib": b"%d" % profile.memory_kib,
                        "passes": b"%d" % profile.passes,
                        "lanes": b"%d" % profile.lanes,
                        "failures": b"%d" % failures,
                        "failed-at": b"%d" % int(at),
                    }
                )
            ),
        )


def _unpacked(value: Secret) -> tuple[bytes, Secret, Argon2Profile, int, float]:
    found: tuple[bytes, Secret, Argon2Profile, int, float] | None = None
    try:
        kept = fields.unpack(value.reveal_bytes())
        profile = Argon2Profile(int(kept["memory-kib"]), int(kept["passes"]), int(kept["lanes"]))
        if profile.is_acceptable() and len(kept["salt"]) == _SALT_BYTES:
            found = (
                kept["salt"],
                Secret(kept["hash"]),
                profile,
                int(kept["failures"]),
                float(kept["failed-at"]),
            )
    except (ValueError, KeyError):
        pass  # raised below, where no frame holds the fields
    kept = {}
    if found is None:
        raise SecretDamaged("the enrolled passphrase is damaged", hint="enrol it again")
    return found


def _wait_after(failures: int) -> float:
    if failures < _FREE_FAILURES:
        return 0.0
    # A count that is absurdly high must not overflow.
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(failures - _FREE_FAILURES, 20))


def _ask_on_terminal(question: str, call: Call) -> Secret | None:
    """What was typed, without being shown; None if the person ended the input instead.

    Raises:
        PresenceUnavailable: there is no terminal, or it cannot be used.
        PresenceDenied: nobody answered in time.
    """
    from tokenkeep.native.terminal import hidden_line

    own = _controlling_terminal()
    # Without one, stdin might be anything, and give a line that nobody typed.
    if own is None and not os.isatty(0):
        raise PresenceUnavailable("there is no terminal to ask on")
    reading, writing = (0, 2) if own is None else (own, own)
    problem: PresenceError
    try:
        typed = hidden_line(question, call, reading, writing)
        return None if typed is None else _as_enrolled(typed)
    except StoreTimeout as exc:
        problem = PresenceDenied(str(exc), reason="timed out")
    except OSError as exc:
        problem = PresenceUnavailable(f"the terminal cannot be used: {exc.strerror}")
    finally:
        if own is not None:
            os.close(own)
    raise problem


def _controlling_terminal() -> int | None:
    if sys.platform == "win32":
        return None
    try:
        # A description of our own, whose reads and writes never wait longer than we do.
        return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None  # the name exists also where there is none


def _as_enrolled(typed: Secret) -> Secret:
    """What was typed as UTF-8, as text is enrolled; bytes that are no text as they are."""
    if sys.platform == "win32":
        return typed  # its console gives text
    import locale

    try:
        return Secret(typed.reveal_bytes().decode(locale.getpreferredencoding(False)))
    except UnicodeDecodeError:
        return typed  # whose error would carry it; as a passphrase it is compared, and wrong
