"""The Linux kernel's keyrings as a store: items in the kernel's memory, none on any disk.

Each item is one "user" key. Its description holds service, kind and name, so that listing reads no
value. Nothing here waits: the calls are answered by the kernel alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum

from tokenkeep.errors import AccessDenied, InvalidName, UnsupportedOption, ValueTooLarge
from tokenkeep.item import Call, ItemName, checked_name
from tokenkeep.native import key_limits, keyctl
from tokenkeep.native.again import Pauses
from tokenkeep.native.keyctl import Keyctl, KeyctlError, translated
from tokenkeep.secret import Secret
from tokenkeep.store import Isolation, Persistence, Protection, StoreFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from tokenkeep.clock import Clock

    T = TypeVar("T")

_PREFIX = b"tokenkeep:"
#: Of a user's quota in bytes, what is left to names and keyrings: no value can use all of it.
_ROOM_FOR_NAMES = 2000
#: The longest time that the kernel takes: an unsigned number of 32 bits; Python's are signed here.
_MAX_SECONDS = 2**31 - 1
#: What passes within some milliseconds: a refusal while another process takes a dead key away; a
#: quota that is full because the kernel has not counted yet what was deleted; a key that another
#: process deleted after it was found or made.
_SOON = (keyctl.EACCES, keyctl.EDQUOT, keyctl.ENOKEY)
_TRIES, _PAUSE_SECONDS = 40, 0.005


class Keyring(Enum):
    """Which of the kernel's keyrings."""

    #: The login session's: what the session starts shares it, other logins do not; gone at logout.
    SESSION = "session"
    #: The user's: every process of the user shares it.
    USER = "user"
    #: The user's as well, kept for days after the last login (three unless the machine says else).
    PERSISTENT = "persistent"


@dataclass(frozen=True)
class KernelKeyringOptions:
    """Asks for the kernel's keyring: nothing is written to a disk, and nothing outlives a reboot.

    Args:
        keyring: which of them.
        timeout: whole seconds after which the kernel forgets an item, counted from its last write;
            None for never.

    Raises:
        UnsupportedOption: the kernel knows no such keyring or time.
    """

    keyring: Keyring = Keyring.SESSION
    timeout: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.keyring, Keyring):
            raise UnsupportedOption(
                "the keyring is one of Keyring's", hint="keyring=Keyring.SESSION"
            )
        seconds = self.timeout
        if seconds is not None and not (type(seconds) is int and 0 < seconds <= _MAX_SECONDS):
            raise UnsupportedOption(
                "the kernel counts whole seconds, from 1 to 2147483647", hint="timeout=3600"
            )


class KernelKeyringStore:
    """A `Store`, also `Indexed`.

    An item whose time is over, or that was revoked, is `SecretInvalidated` for as long as the
    kernel remembers it (five minutes by default) and absent afterwards; it is listed where
    /proc/keys tells its name; writing and deleting work as with any other.

    Args:
        keys: stands in for the kernel in tests.
    """

    def __init__(
        self,
        options: KernelKeyringOptions | None = None,
        clock: Clock | None = None,
        keys: Keyctl | None = None,
    ) -> None:
        self._options = options if options is not None else KernelKeyringOptions()
        self._keys = keys if keys is not None else Keyctl()
        self._limit: int | None = None

    @property
    def facts(self) -> StoreFacts:
        """What protects the items: the kernel, which keeps other users away."""
        return facts_of(
            self._options,
            version=key_limits.kernel_version(),
            unused_seconds=key_limits.persistent_seconds(),
            limit=self._max_value_bytes(),
            lists_dead=key_limits.descriptions() is not None,
        )

    def read(self, name: ItemName, call: Call) -> Secret | None:
        """The item's value; None if it is absent.

        Raises:
            SecretInvalidated: its time is over, or it was revoked.
            AccessDenied: the keyring is another user's, or forbidden in this container.
        """

        def look(ring: int) -> Secret | None:
            key = self._keys.search(ring, self._description(name))
            return None if key is None else _unpacked(self._keys.read(key))

        return self._within(call, "reading", look)

    def write(self, name: ItemName, value: Secret, call: Call) -> None:
        """Keeps the value; with a `timeout`, its time begins anew.

        Raises:
            ValueTooLarge, StoreFull: nothing changed.
        """
        limit, payload = self._max_value_bytes(), _packed(value)
        if value.size > limit or payload.size > keyctl.MAX_PAYLOAD_BYTES:
            raise ValueTooLarge(
                f"the value has {value.size} bytes, the kernel keyring takes {limit} here",
                hint="use a vault: tokenkeep vault create",
            )
        description, seconds = self._description(name), self._options.timeout

        def put(ring: int) -> None:
            if seconds is not None:
                self._put_whole(ring, description, payload, seconds)
                return
            key = self._keys.add(ring, description, payload)
            try:
                self._keys.set_permissions(key, keyctl.OWNER_ONLY)
                # Kernels differ in whether a new value ends the old one's time.
                self._keys.set_timeout(key, 0)
            except KeyctlError as exc:
                if exc.code not in keyctl.DEAD:
                    raise
                self._put_whole(ring, description, payload, 0)

        self._within(call, "writing", put)

    def delete(self, name: ItemName, call: Call) -> bool:
        """Takes the item out of the keyring; True if it existed, dead or alive."""

        def drop(ring: int) -> bool:
            try:
                key = self._keys.search(ring, self._description(name))
            except KeyctlError as exc:
                if exc.code not in keyctl.DEAD:
                    raise
                self._drop_dead(ring, self._description(name))
                return True
            return key is not None and self._keys.unlink(key, ring)

        return self._within(call, "deleting", drop)

    def names(self, service: str, call: Call) -> list[ItemName]:
        """Every item of the service, of every kind, sorted; reads no value.

        Dead ones too, unless /proc/keys does not tell their names: the facts say so then.
        """
        checked_name(service, "service")

        def find(ring: int) -> list[ItemName]:
            found, dead = set(), []
            for key in self._keys.keys(ring):
                try:
                    found.add(self._name(self._keys.describe(key)[2]))
                except KeyctlError as exc:
                    if exc.code in keyctl.DEAD:
                        dead.append(key)
                    elif exc.code not in (keyctl.ENOKEY, keyctl.EACCES):
                        raise  # neither gone meanwhile nor somebody else's beside ours
            if dead:
                found.update(self._dead_names(ring, dead))
            return sorted(name for name in found if name is not None and name.service == service)

        return self._within(call, "listing", find)

    def contains(self, name: ItemName, call: Call) -> bool:
        """Whether the item is there, dead or alive."""

        def look(ring: int) -> bool:
            try:
                return self._keys.search(ring, self._description(name)) is not None
            except KeyctlError as exc:
                if exc.code not in keyctl.DEAD:
                    raise
            return True

        return self._within(call, "looking", look)

    def __repr__(self) -> str:
        return f"KernelKeyringStore({self._options!r})"

    def _within(self, call: Call, doing: str, work: Callable[[int], T]) -> T:
        """Does the work on the keyring; again while that can help and the deadline allows it.

        Raises:
            StoreError: as `keyctl.translated` says.
        """
        call.check(doing)
        code, tries = 0, 0
        pauses = Pauses(call, _PAUSE_SECONDS, _PAUSE_SECONDS)
        while True:
            try:
                return work(self._ring(is_second_try=tries > 0))
            except KeyctlError as exc:
                code = exc.code
            tries += 1
            # What is not possessed is refused too, which `_ring` mends at the second try.
            again = code in keyctl.BUSY or (code in _SOON and tries <= _TRIES)
            if not again or (tries > 1 and not pauses.wait()):
                break
        raise translated(code, doing)

    def _ring(self, is_second_try: bool) -> int:
        """The keyring's number; makes sure that this thread possesses it."""
        keyring = self._options.keyring
        if keyring is Keyring.PERSISTENT:
            return self._keys.persistent(keyctl.PROCESS)
        if keyring is Keyring.SESSION:
            return _session_ring(self._keys)
        if is_second_try:
            # After su, or in a new session keyring, the user's is there but not linked. Linked to
            # the process's own keyring, which nobody shares and which ends with it.
            self._keys.link(keyctl.USER, keyctl.PROCESS)
        return keyctl.USER

    def _put_whole(self, ring: int, description: bytes, payload: Secret, seconds: int) -> None:
        """Makes a key aside and puts it in place at once: no value is ever there without its time.

        Aside is the thread's own keyring, which the kernel empties when the thread ends.
        """
        keys = self._keys
        key = keys.add(keyctl.THREAD, description, payload)
        try:
            keys.set_permissions(key, keyctl.OWNER_ONLY)
            keys.set_timeout(key, seconds)
            keys.link(key, ring)
        finally:
            keys.unlink(key, keyctl.THREAD)

    def _drop_dead(self, ring: int, description: bytes) -> None:
        """Takes a dead key away, whose number nobody tells: puts another in its place first.

        That one cannot be read or found meanwhile, and dies by itself if we do.
        """
        keys = self._keys
        key = keys.add(keyctl.THREAD, description, Secret(b"\0"))
        try:
            keys.set_timeout(key, 1)
            keys.set_permissions(key, keyctl.LINK_ONLY)
            keys.link(key, ring)
            keys.unlink(key, ring)
        finally:
            keys.unlink(key, keyctl.THREAD)

    def _dead_names(self, ring: int, dead: list[int]) -> Iterator[ItemName]:
        """The items of dead keys, whose names the kernel tells in /proc/keys alone.

        A name there is believed if searching for it in the keyring meets a dead key.
        """
        told = key_limits.descriptions() or {}
        for said in filter(None, map(told.get, dead)):
            for description in {said, said.rpartition(b": ")[0]}:
                name = self._name(description)
                try:
                    if name is not None:
                        self._keys.search(ring, description)
                except KeyctlError as exc:
                    if exc.code not in keyctl.DEAD:
                        raise
                    assert name is not None
                    yield name

    def _prefix(self) -> bytes:
        # With the keyring's name: a search goes on into keyrings that are linked to the first.
        return _PREFIX + self._options.keyring.value.encode("ascii") + b":"

    def _description(self, name: ItemName) -> bytes:
        service = name.service.encode("utf-8")
        head = f"{name.kind}:{len(service)}:".encode("ascii")
        return self._prefix() + head + service + b":" + name.name.encode("utf-8")

    def _name(self, description: bytes) -> ItemName | None:
        """The item that a description stands for; None if it is no item of this keyring's."""
        prefix = self._prefix()
        if not description.startswith(prefix):
            return None
        try:
            kind, size, rest = description[len(prefix) :].split(b":", 2)
            service, name = rest[: int(size)], rest[int(size) + 1 :]
            found = ItemName(service.decode("utf-8"), name.decode("utf-8"), kind.decode("ascii"))
        except (ValueError, InvalidName):
            return None
        return found if self._description(found) == description else None

    def _max_value_bytes(self) -> int:
        if self._limit is None:
            quota = key_limits.quota_bytes()
            room = keyctl.MAX_PAYLOAD_BYTES if quota is None else max(1, quota - _ROOM_FOR_NAMES)
            self._limit = min(keyctl.MAX_PAYLOAD_BYTES, room)
        return self._limit


def facts_of(
    options: KernelKeyringOptions,
    *,
    version: tuple[int, int],
    unused_seconds: int | None,
    limit: int,
    lists_dead: bool = True,
) -> StoreFacts:
    """What is true of such a keyring on a kernel.

    Args:
        version: the kernel's.
        unused_seconds: how long it keeps a persistent keyring that nobody uses.
        limit: the largest value in bytes, by the kernel's bound and the user's quota.
        lists_dead: /proc/keys tells the names of items that expired or were revoked.
    """
    return StoreFacts(
        backend="kernel-keyring",
        protection=Protection.MEMORY,
        persistence=_persistence(options.keyring, version),
        isolation=Isolation.USER,
        may_prompt=False,
        survives_uninstall=True,
        in_backups=False,
        syncs=False,
        readable_when_locked=True,
        max_value_bytes=limit,
        locked_after_boot=False,
        opens_elsewhere=False,
        notes=_notes(options, unused_seconds, lists_dead),
    )


def probe(options: KernelKeyringOptions, call: Call, keys: Keyctl | None = None) -> None:
    """Raises why the keyring cannot be used here now; changes nothing.

    Raises:
        StoreUnavailable: this kernel has no such keyring, or is unknown to us.
        AccessDenied: a container forbids it, or the session keyring is another user's.
    """
    call.check("looking at the kernel keyring")
    keys = keys if keys is not None else Keyctl()
    code = 0
    try:
        if options.keyring is Keyring.SESSION:
            _session_ring(keys)
        else:
            keys.number(keyctl.USER)
    except KeyctlError as exc:
        code = exc.code
    if code:
        raise translated(code, "looking")
    if options.keyring is Keyring.PERSISTENT and key_limits.persistent_seconds() is None:
        raise translated(keyctl.EOPNOTSUPP, "looking")


def _session_ring(keys: Keyctl) -> int:
    """The session keyring's number.

    By number: under its special name a process without a session would silently be given a new one
    by its first write, which no other process would find.

    Raises:
        AccessDenied: it is the session of another user, as after `su`.
    """
    ring = keys.number(keyctl.SESSION)
    _type, uid, _description = keys.describe(ring)
    if uid != os.geteuid():
        raise AccessDenied(
            f"the session keyring belongs to user {uid}, as after su or sudo",
            hint="begin a session of your own: keyctl session - COMMAND, or use Keyring.USER",
        )
    return ring


def _packed(value: Secret) -> Secret:
    """The value as a key can hold it, which is never empty: nothing but NULs gets one more."""
    data = value.reveal_bytes()
    return value if data.strip(b"\0") else Secret(data + b"\0")


def _unpacked(payload: Secret) -> Secret:
    data = payload.reveal_bytes()
    return payload if data.strip(b"\0") else Secret(data[:-1])


def _persistence(keyring: Keyring, version: tuple[int, int]) -> Persistence:
    if keyring is Keyring.PERSISTENT:
        return Persistence.BOOT
    if keyring is Keyring.USER and version >= (5, 3):
        # Since then a user's keyring stays without any process of the user.
        return Persistence.BOOT
    return Persistence.LOGIN


def _notes(
    options: KernelKeyringOptions, unused_seconds: int | None, lists_dead: bool
) -> tuple[str, ...]:
    notes = ["kept in the kernel's memory: never on a disk, in swap or in a backup"]
    if options.keyring is Keyring.SESSION:
        notes.append("gone when the login session ends; other logins do not see it")
    elif options.keyring is Keyring.PERSISTENT:
        notes.append(f"gone at reboot, or when nobody used it for {_spoken(unused_seconds)}")
    else:
        notes.append("gone at reboot")
    if options.timeout is not None:
        notes.append(f"each item is gone {options.timeout} seconds after it was written")
    notes.append("every program of this user can read the items")
    if not lists_dead:
        notes.append("items that expired or were revoked are not listed: /proc/keys is hidden here")
    return tuple(notes)


def _spoken(seconds: int | None) -> str:
    if seconds is None:
        return "some days"
    return f"{seconds} seconds" if seconds < 86_400 else f"{seconds // 86_400} days"
