"""FaultyStore: a store that fails, stalls or lies at the step a test names.

Every call into the store is a step, counted from 1. `every_step` plays a scenario once for each
of its steps with each fault, so that "what if it breaks here" is asked everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from tokenkeep.errors import StoreTimeout, TokenkeepError
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.store import Store, StoreFacts

_ABILITIES = ("replace", "contains", "version", "changes", "erase", "shred", "unlock_signals")
#: What a lying store answers: it did nothing, and says what it would have said.
_LIES: dict[str, object] = {
    "read": None,
    "write": None,
    "delete": True,
    "names": [],
    "replace": None,
    "contains": False,
    "version": 0,
    "changes": (None, []),
    "erase": False,
    "shred": False,
    "unlock_signals": None,
}
_UNSET = object()


@dataclass(frozen=True)
class Fails:
    """Raises; with `after` the call has taken effect first, as when an answer is lost."""

    error: Exception | type[Exception]
    after: bool = False


@dataclass(frozen=True)
class Stalls:
    """Takes this long by the call's clock; past the deadline it raises `StoreTimeout`.

    Without `after` a call that ran out of time had no effect; with `after` it had.
    """

    seconds: float
    after: bool = False


@dataclass(frozen=True)
class Lies:
    """Does nothing and answers as if it had: reads find nothing, writes succeed."""

    answer: object = _UNSET


Fault = Fails | Stalls | Lies


@dataclass(frozen=True)
class Step:
    """One call that was made."""

    number: int
    verb: str
    subject: ItemName | str | None


class FaultyStore:
    """A store around another, breaking as `faults` says.

    It has the abilities (`Transactional`, `Indexed`, ...) that the inner store has.

    Args:
        inner: the store that does the work.
        faults: what happens at which step: by the step's number, or by the verb ("write") for
            every such call. May be changed at any time through the attribute of the same name.
    """

    def __new__(cls, inner: Store, faults: Mapping[int | str, Fault] | None = None) -> FaultyStore:
        """A class of its own, because an ability is whether the method exists."""
        abilities = {verb: _passing(verb) for verb in _ABILITIES if hasattr(inner, verb)}
        return object.__new__(type(cls.__name__, (cls,), abilities))

    def __init__(self, inner: Store, faults: Mapping[int | str, Fault] | None = None) -> None:
        self.inner = inner
        self.faults: dict[int | str, Fault] = dict(faults or {})
        self.steps: list[Step] = []

    @property
    def facts(self) -> StoreFacts:
        """The inner store's; not a step."""
        return self.inner.facts

    def read(self, name: ItemName, call: Call) -> Secret | None:
        """A step."""
        answer: Secret | None = self._step("read", name, call)
        return answer

    def write(self, name: ItemName, value: Secret, call: Call) -> None:
        """A step."""
        self._step("write", name, value, call)

    def delete(self, name: ItemName, call: Call) -> bool:
        """A step."""
        answer: bool = self._step("delete", name, call)
        return answer

    def names(self, service: str, call: Call) -> list[ItemName]:
        """A step."""
        answer: list[ItemName] = self._step("names", service, call)
        return answer

    def __reduce__(self) -> NoReturn:
        raise TypeError("a faulty store cannot be pickled")

    def close(self) -> None:
        """Closes the inner store if it can be closed; not a step."""
        close = getattr(self.inner, "close", None)
        if close is not None:
            close()

    def _step(self, verb: str, *arguments: Any) -> Any:
        number = len(self.steps) + 1
        call: Call = arguments[-1]
        self.steps.append(Step(number, verb, arguments[0] if len(arguments) > 1 else None))
        fault = self.faults.get(number, self.faults.get(verb))
        if isinstance(fault, Lies):
            return _LIES[verb] if fault.answer is _UNSET else fault.answer
        if fault is not None and not fault.after:
            _happen(fault, call, verb)
        answer = getattr(self.inner, verb)(*arguments)
        if fault is not None and fault.after:
            _happen(fault, call, verb)
        return answer


@dataclass
class Run:
    """One play of a scenario: where it broke, how, and what came of it.

    Attributes:
        inner: the store as the scenario left it, without faults: "after the restart".
        error: what the scenario raised; None if it got through.
    """

    step: Step
    fault: Fault
    inner: Store
    steps: list[Step] = field(default_factory=list)
    error: TokenkeepError | None = None


def every_step(
    make_store: Callable[[], Store],
    scenario: Callable[[FaultyStore], object],
    faults: Iterable[Fault],
) -> Iterator[Run]:
    """Plays the scenario on a fresh store once for each of its steps and each fault.

    The first play is without faults: it must succeed, and its steps are the ones that break.
    Errors of tokenkeep end a play and are reported; any other exception is the test's.
    """
    faults = list(faults)
    sound = FaultyStore(make_store())
    scenario(sound)
    if not sound.steps or not faults:
        raise AssertionError("nothing to break: the scenario made no call, or there is no fault")
    for step in sound.steps:
        for fault in faults:
            store = FaultyStore(make_store(), {step.number: fault})
            run = Run(step, fault, store.inner, store.steps)
            try:
                scenario(store)
            except TokenkeepError as exc:
                run.error = exc
            yield run


def _passing(verb: str) -> Callable[..., Any]:
    def method(self: FaultyStore, *arguments: Any) -> Any:
        return self._step(verb, *arguments)

    method.__name__ = verb
    return method


def _happen(fault: Fails | Stalls, call: Call, verb: str) -> None:
    if isinstance(fault, Fails):
        error = fault.error
        raise error() if isinstance(error, type) else error.with_traceback(None)
    remaining = call.remaining()
    call.clock.sleep(fault.seconds if remaining is None else min(fault.seconds, remaining))
    if remaining is not None and fault.seconds >= remaining:
        raise StoreTimeout(f"{verb} did not finish in time")
