"""Which store on this machine, and why not the others.

The order below is the order of preference. Where nothing is asked for, the platform's own store is
used, or nothing: no store is fallen back to. Of several that are asked for, the first whose
platform this is takes part; that it cannot be reached now is its error, never a reason for another.
"""

from __future__ import annotations

import sys

from tokenkeep.errors import (
    AccessDenied,
    MissingExtra,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    TokenkeepError,
    UnsupportedOption,
)
from tokenkeep.item import Call
from tokenkeep.paths import platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from tokenkeep.clock import Clock
    from tokenkeep.store import Require, Store

#: Seconds for a look whether a store can be used here.
_LOOK_SECONDS = 2.0
#: What is no reason to choose or advise another store than the platform's own.
_SAY_SO_THEMSELVES = (StoreLocked, StoreTimeout, AccessDenied, MissingExtra)


class Candidate:
    """A store that could be used here, or the reason why it is not and what to do about it."""

    __slots__ = ("name", "problem", "reason", "remedy", "usable")

    def __init__(
        self,
        name: str,
        usable: bool,
        reason: str,
        remedy: str = "",
        problem: TokenkeepError | None = None,
    ) -> None:
        self.name = name
        self.usable = usable
        self.reason = reason
        self.remedy = remedy
        #: Why the store that would be used could not be opened; None for all others.
        self.problem = problem

    def __repr__(self) -> str:
        return f"Candidate({self.name!r}, usable={self.usable}, reason={self.reason!r})"


class _Kind:
    """One kind of store: where it lives, what makes it, and what to say if nobody asked.

    Args:
        name: what `--store` calls it.
        module: where its options and its store live; `probe(options, call)` there raises why it
            cannot be used now, without a prompt and without a change, where that can be known.
        platforms: the platforms that have it; empty for all.
        is_default: used on its platforms when nothing is asked for.
        default_on: or on these of them.
        unasked: why it takes no part unless it is asked for.
        remedy: how to ask for it.
    """

    __slots__ = ("default_on", "module", "name", "options", "platforms", "remedy", "store",
                 "unasked")  # fmt: skip

    def __init__(
        self,
        name: str,
        module: str,
        options: str,
        store: str,
        platforms: tuple[str, ...] = (),
        is_default: bool = False,
        unasked: str = "takes part only when it is asked for",
        remedy: str = "",
        default_on: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.module = module
        self.options = options
        self.store = store
        self.platforms = platforms
        self.default_on = platforms if is_default else default_on
        self.unasked = unasked
        self.remedy = remedy or f"--store {name}"

    def wants(self, option: object) -> bool:
        # Whoever made the options has imported their module: nothing is imported to find out.
        module = sys.modules.get(self.module)
        return module is not None and isinstance(option, getattr(module, self.options))

    def is_here(self) -> bool:
        return not self.platforms or platform() in self.platforms

    def is_default(self) -> bool:
        return platform() in self.default_on

    def default_options(self) -> Any:
        return getattr(self._module(), self.options)()

    def make(self, options: Any, clock: Clock | None) -> Store:
        store: Store = getattr(self._module(), self.store)(options, clock)
        return store

    def preload(self) -> None:
        try:
            getattr(self._module(), self.store)
            load = getattr(self._module(), "preload", None)
            if load is not None:
                load()
        except MissingExtra:
            pass  # said to whoever asks for the store

    def problem(self, options: Any) -> TokenkeepError | None:
        """Why it cannot be used now; None if it can, or nobody can know without trying."""
        try:
            probe = getattr(self._module(), "probe", None)
            if probe is not None:
                probe(self.default_options() if options is None else options, Call(_LOOK_SECONDS))
        except TokenkeepError as exc:
            return exc.with_traceback(None)
        return None

    def _module(self) -> Any:
        __import__(self.module)  # importlib is not on the way of a cold read
        return sys.modules[self.module]


_KINDS = (
    _Kind(
        "apple-keychain",
        "tokenkeep.backends.apple",
        "AppleOptions",
        "AppleStore",
        platforms=("darwin", "ios"),
        is_default=True,
        unasked="takes part when nothing else is asked for, or by AppleOptions",
    ),
    _Kind(
        "android",
        "tokenkeep.backends.android",
        "AndroidOptions",
        "AndroidStore",
        platforms=("android",),
        is_default=True,
        unasked="takes part when nothing else is asked for, or by AndroidOptions",
    ),
    _Kind(
        "secret-service",
        "tokenkeep.backends.secret_service",
        "SecretServiceOptions",
        "SecretServiceStore",
        platforms=("linux",),
        is_default=True,
        unasked="takes part when nothing else is asked for, or by SecretServiceOptions",
    ),
    _Kind(
        "windows-credentials",
        "tokenkeep.backends.windows",
        "WindowsOptions",
        "WindowsCredentialStore",
        platforms=("win32",),
        unasked="holds 2,560 bytes an item; takes part only when it is asked for",
    ),
    _Kind(
        "vault",
        "tokenkeep.backends.vault",
        "VaultOptions",
        "VaultStore",
        unasked="takes part only when VaultOptions ask for it",
        remedy="tokenkeep vault create",
        default_on=("win32",),
    ),
    _Kind(
        "kernel-keyring",
        "tokenkeep.backends.kernel_keyring",
        "KernelKeyringOptions",
        "KernelKeyringStore",
        platforms=("linux",),
        unasked="keeps nothing over a reboot; takes part only when it is asked for",
    ),
    _Kind(
        "memory",
        "tokenkeep.backends.memory",
        "MemoryOptions",
        "MemoryStore",
        unasked="keeps nothing after the process; takes part only when MemoryOptions ask for it",
        remedy="pass MemoryOptions()",
    ),
)


def preload() -> None:
    """Loads what this platform's stores and their calls import; asks no store anything."""
    for kind in _KINDS:
        if kind.is_here():
            kind.preload()


def store_names() -> tuple[str, ...]:
    """What `--store` takes, besides `auto`: the stores that keep something after the process."""
    return tuple(kind.name for kind in _KINDS if kind.name != "memory")


def options_for(name: str) -> object:
    """The options of a store by its name, all at their defaults.

    Raises:
        UnsupportedOption: no store has the name.
    """
    for kind in _KINDS:
        if kind.name == name and name != "memory":
            return kind.default_options()
    raise UnsupportedOption(
        f"unknown store {name!r}",
        hint=f"--store takes auto, vault:PATH, {', '.join(store_names())}",
    )


def is_store(option: object) -> bool:
    """Whether an option is a ready store rather than the options of one."""
    return callable(getattr(option, "read", None)) and callable(getattr(option, "names", None))


def candidates(
    options: Sequence[object], require: Require | None = None, clock: Clock | None = None
) -> list[Candidate]:
    """Every store this release knows and every ready one, in order of preference.

    Looks at this platform's stores, without a prompt and without a change.

    Raises:
        UnsupportedOption: something is no store's options, or one store's options came twice.
        StoreError: a store that was asked for does not open, where `require` asks for its facts.
    """
    return [candidate for candidate, _store in _weigh(options, require, clock, looks=True)]


def open_store(
    options: Sequence[object], require: Require | None = None, clock: Clock | None = None
) -> Store:
    """The most preferred store that was asked for and satisfies `require`; see the module.

    With options and without `require` this does no input or output.

    Raises:
        StoreUnavailable: there is none; the message lists every candidate with its reason and
            remedy.
        StoreLocked, StoreTimeout, AccessDenied: the platform's own store is there and does not open
            now.
        MissingExtra: it would be used, and needs a package that is not installed.
        UnsupportedOption, StoreError: as in `candidates`.
    """
    for candidate, store in _weigh(options, require, clock, looks=not options):
        if store is not None and candidate.usable:
            return store
        problem = candidate.problem
        if not options and isinstance(problem, _SAY_SO_THEMSELVES):
            raise problem
    weighed = candidates(options, require, clock)
    lines = [f"\n  {each.name}: {each.reason} ({each.remedy})" for each in weighed]
    raise StoreUnavailable(
        "no store qualifies" + "".join(lines),
        hint=next(each.remedy for each in weighed if each.name == "vault"),
    )


def _weigh(
    options: Sequence[object], require: Require | None, clock: Clock | None, looks: bool
) -> Iterator[tuple[Candidate, Store | None]]:
    """Most preferred first; a store is made and asked for its facts only when its turn comes."""
    ready: list[Any] = [option for option in options if is_store(option)]
    asked = _by_kind([option for option in options if not is_store(option)])
    for store in ready:
        yield _judged(type(store).__name__, store, require), store
    for kind in _KINDS:
        remedy = kind.remedy
        if not kind.is_here():
            reason, remedy = f"only on {', '.join(kind.platforms)}", "choose another store"
            absent = None
            if kind.name in asked:
                absent = StoreUnavailable(f"the store {kind.name} is {reason}", hint=remedy)
            yield Candidate(kind.name, False, reason, remedy, absent), None
            continue
        is_chosen = kind.name in asked or (kind.is_default() and not options)
        problem = kind.problem(asked.get(kind.name)) if looks else None
        if problem is not None:
            yield (
                Candidate(
                    kind.name,
                    False,
                    str(problem),
                    problem.hint or remedy,
                    problem if is_chosen else None,
                ),
                None,
            )
        elif is_chosen:
            chosen = asked.get(kind.name) or kind.default_options()
            made = kind.make(chosen, clock)
            yield _judged(kind.name, made, require, kind.name in asked), made
        else:
            yield Candidate(kind.name, False, kind.unasked, remedy), None


def _by_kind(options: Sequence[object]) -> dict[str, object]:
    """The options by the name of their kind.

    Raises:
        UnsupportedOption: as `candidates` says.
    """
    asked: dict[str, object] = {}
    for option in options:
        kind = next((kind for kind in _KINDS if kind.wants(option)), None)
        if kind is None:
            raise UnsupportedOption(
                f"{type(option).__name__} is no store's options",
                hint="pass VaultOptions(...), MemoryOptions() or a store",
            )
        if kind.name in asked:
            raise UnsupportedOption(f"options for the {kind.name} were given more than once")
        asked[kind.name] = option
    return asked


def _judged(
    name: str, store: Store, require: Require | None, is_asked_for: bool = True
) -> Candidate:
    reason = "asked for" if is_asked_for else "the platform's own"
    if require is None:
        return Candidate(name, True, reason)
    unmet = require.unmet(store.facts)
    if unmet:
        return Candidate(name, False, "; ".join(unmet), "ask for less or choose another store")
    return Candidate(name, True, f"{reason}, and satisfies what is required")
