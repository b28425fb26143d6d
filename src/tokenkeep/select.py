"""Which store on this machine, and why not the others.

The order below is the order of preference. A store that keeps items weaker than the platform's
own takes part only when its options are given: nothing falls back by itself.
"""

from __future__ import annotations

import sys

from tokenkeep.errors import StoreUnavailable, UnsupportedOption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from tokenkeep.clock import Clock
    from tokenkeep.store import Require, Store


class Candidate:
    """A store that could be used here, or the reason why it is not and what to do about it."""

    __slots__ = ("name", "reason", "remedy", "usable")

    def __init__(self, name: str, usable: bool, reason: str, remedy: str = "") -> None:
        self.name = name
        self.usable = usable
        self.reason = reason
        self.remedy = remedy

    def __repr__(self) -> str:
        return f"Candidate({self.name!r}, usable={self.usable}, reason={self.reason!r})"


class _Kind:
    """One kind of store: where its options live, how it is made, what to say if nobody asked."""

    __slots__ = ("make", "module", "name", "options", "remedy", "unasked")

    def __init__(
        self,
        name: str,
        module: str,
        options: str,
        make: Callable[[Any, Clock | None], Store],
        unasked: str,
        remedy: str,
    ) -> None:
        self.name = name
        self.module = module
        self.options = options
        self.make = make
        self.unasked = unasked
        self.remedy = remedy

    def wants(self, option: object) -> bool:
        # Whoever made the options has imported their module: nothing is imported to find out.
        module = sys.modules.get(self.module)
        return module is not None and isinstance(option, getattr(module, self.options))


def _make_vault(options: Any, clock: Clock | None) -> Store:
    from tokenkeep.backends.vault import VaultStore

    return VaultStore(options, clock)


def _make_memory(options: Any, clock: Clock | None) -> Store:
    from tokenkeep.backends.memory import MemoryStore

    return MemoryStore(options)


_KINDS = (
    _Kind(
        "vault",
        "tokenkeep.backends.vault",
        "VaultOptions",
        _make_vault,
        "takes part only when VaultOptions ask for it",
        "tokenkeep vault create",
    ),
    _Kind(
        "memory",
        "tokenkeep.backends.memory",
        "MemoryOptions",
        _make_memory,
        "keeps nothing after the process; takes part only when MemoryOptions ask for it",
        "pass MemoryOptions()",
    ),
)


def is_store(option: object) -> bool:
    """Whether an option is a ready store rather than the options of one."""
    return callable(getattr(option, "read", None)) and callable(getattr(option, "names", None))


def candidates(
    options: Sequence[object], require: Require | None = None, clock: Clock | None = None
) -> list[Candidate]:
    """Every store this release knows and every ready one, in order of preference.

    Raises:
        UnsupportedOption: something is no store's options, or one store's options came twice.
        StoreError: a store that was asked for does not open, where `require` asks for its facts.
    """
    return [candidate for candidate, _store in _weigh(options, require, clock)]


def open_store(
    options: Sequence[object], require: Require | None = None, clock: Clock | None = None
) -> Store:
    """The most preferred store that was asked for and satisfies `require`.

    Without `require` this does no input or output.

    Raises:
        StoreUnavailable: there is none; the message lists every candidate with its reason and
            remedy.
        UnsupportedOption, StoreError: as in `candidates`.
    """
    weighed = []
    for candidate, store in _weigh(options, require, clock):
        if store is not None and candidate.usable:
            return store
        weighed.append(candidate)
    lines = [f"\n  {each.name}: {each.reason} ({each.remedy})" for each in weighed]
    raise StoreUnavailable(
        "no store qualifies" + "".join(lines),
        hint=weighed[0].remedy,
    )


def _weigh(
    options: Sequence[object], require: Require | None, clock: Clock | None
) -> Iterator[tuple[Candidate, Store | None]]:
    """Most preferred first; a store is made and asked for its facts only when its turn comes."""
    ready: list[Any] = [option for option in options if is_store(option)]
    asked: dict[str, object] = {}
    for option in options:
        if is_store(option):
            continue
        kind = next((kind for kind in _KINDS if kind.wants(option)), None)
        if kind is None:
            raise UnsupportedOption(
                f"{type(option).__name__} is no store's options",
                hint="pass VaultOptions(...), MemoryOptions() or a store",
            )
        if kind.name in asked:
            raise UnsupportedOption(f"options for the {kind.name} were given more than once")
        asked[kind.name] = option
    for store in ready:
        yield _judged(type(store).__name__, store, require), store
    for kind in _KINDS:
        if kind.name not in asked:
            yield Candidate(kind.name, False, kind.unasked, kind.remedy), None
            continue
        store = kind.make(asked[kind.name], clock)
        yield _judged(kind.name, store, require), store


def _judged(name: str, store: Store, require: Require | None) -> Candidate:
    if require is None:
        return Candidate(name, True, "asked for")
    unmet = require.unmet(store.facts)
    if unmet:
        return Candidate(name, False, "; ".join(unmet), "ask for less or choose another store")
    return Candidate(name, True, "asked for, and satisfies what is required")
