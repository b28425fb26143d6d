"""The values of the store contract that every call carries: `ItemName` and `Call`.

They stand apart from `store.py` because a cold read needs them and must not pay for `typing`,
`dataclasses` and `enum` (three quarters of an interpreter's own start-up).
"""

from __future__ import annotations

from tokenkeep.clock import SystemClock
from tokenkeep.errors import InvalidName, StoreTimeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from tokenkeep.clock import Clock

    T = TypeVar("T")

#: Names up to 255 bytes of UTF-8: what a file name can hold, so that any backend can.
MAX_NAME_BYTES = 255

#: The kinds of item: an application's own, the records of its sessions, and what a migration keeps
#: for itself while it is open. The application sees the first alone.
ITEM = "item"
SESSION = "session"
MIGRATION = "migration"
KINDS = (ITEM, SESSION, MIGRATION)


class Interaction:
    """Whether a call may show a prompt to a person."""

    NEVER = "never"
    ALLOWED = "allowed"


class ItemName:
    """Where a secret lies: (service, name, kind). Names differing only in case are different.

    Raises:
        InvalidName: empty, longer than 255 bytes of UTF-8, or with NUL or lone surrogates.
    """

    __slots__ = ("kind", "name", "service")

    service: str
    name: str
    kind: str

    def __init__(self, service: str, name: str, kind: str = ITEM) -> None:
        # First: a traceback with locals calls repr on what there is.
        _put_service(self, service)
        _put_name(self, name)
        _put_kind(self, kind)
        checked_name(service, "service")
        checked_name(name, "name")
        if kind not in KINDS:
            raise InvalidName(f"unknown kind of item {kind!r}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("an ItemName cannot be changed")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ItemName):
            return NotImplemented
        return self._key() == other._key()

    def __lt__(self, other: ItemName) -> bool:
        return self._key() < other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"ItemName({self.service!r}, {self.name!r}, {self.kind!r})"

    def __reduce__(self) -> tuple[type[ItemName], tuple[str, str, str]]:
        return ItemName, self._key()

    def _key(self) -> tuple[str, str, str]:
        return self.service, self.name, self.kind


# The slots' own way around `__setattr__`: every call makes a name, and `object`'s looks for them.
_put_service, _put_name, _put_kind = (
    vars(ItemName)[each].__set__ for each in ("service", "name", "kind")
)


class Call:
    """What one call into a store may do: until when, and whether it may prompt.

    `deadline` is a reading of `clock.monotonic()`; None waits without end and is for nobody but
    an interactive program that said so.

    Args:
        prompt_timeout: seconds that a person has for a prompt, which are not counted in `timeout`;
            None if they are.
    """

    __slots__ = ("clock", "deadline", "interaction", "prompt_timeout")

    def __init__(
        self,
        timeout: float | None = 5.0,
        interaction: str = Interaction.NEVER,
        clock: Clock | None = None,
        prompt_timeout: float | None = None,
    ) -> None:
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.deadline = None if timeout is None else self.clock.monotonic() + timeout
        self.interaction = interaction
        self.prompt_timeout = prompt_timeout

    def remaining(self) -> float | None:
        """Seconds left, never negative; None if there is no deadline."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - self.clock.monotonic())

    def check(self, doing: str) -> None:
        """Ends a call that is over.

        Raises:
            StoreTimeout: the deadline has passed; the message names `doing`.
        """
        if self.deadline is not None and self.clock.monotonic() >= self.deadline:
            raise StoreTimeout(f"{doing} did not finish in time")

    def while_asking(self, answer: Callable[[Call], T]) -> T:
        """What waiting for a person's answer gives; the deadline moves by the time it takes.

        Args:
            answer: waits, within the call that it is given.
        """
        if self.prompt_timeout is None:
            return answer(self)
        began = self.clock.monotonic()
        try:
            return answer(Call(self.prompt_timeout, self.interaction, self.clock))
        finally:
            if self.deadline is not None:
                self.deadline += self.clock.monotonic() - began


def checked_name(text: object, what: str) -> str:
    """The text, if it can be a service, account or item name.

    Raises:
        InvalidName: not text, empty, too long, or with NUL or lone surrogates. The message does
            not repeat the name: a secret pasted in its place must not be printed.
    """
    if not isinstance(text, str):
        raise _not_a_name(what, f"is text, not {type(text).__name__}")
    if not text:
        raise _not_a_name(what, "must not be empty")
    if "\0" in text:
        raise _not_a_name(what, "must not contain NUL")
    if len(text) <= MAX_NAME_BYTES:
        if text.isascii():
            return text
        try:
            size = len(text.encode("utf-8"))
        except UnicodeEncodeError:
            size = -1
        if size < 0:
            raise _not_a_name(what, "must not contain lone surrogates")
        if size <= MAX_NAME_BYTES:
            return text
    raise _not_a_name(what, f"has at most {MAX_NAME_BYTES} bytes of UTF-8", "choose a shorter one")


def _not_a_name(what: str, problem: str, hint: str = "") -> InvalidName:
    article = "an" if what == "account" else "a"
    options = {"service": "--app SERVICE", "account": "--account NAME"}
    hint = hint or options.get(what, "choose another one")
    return InvalidName(f"{article} {what} {problem}", hint=hint)
