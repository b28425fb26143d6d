"""A state machine that plays any calls on a store and on the memory store, and compares.

TestMachine = store_machine(make_store).TestCase
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tokenkeep.backends.memory import MemoryOptions, MemoryStore
from tokenkeep.errors import StoreError
from tokenkeep.item import KINDS, Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.store import Indexed, Store, Transactional

#: Few enough that calls meet, strange enough that a backend may confuse them.
_NAMES = ("a", "A", "b", "é", "e\u0301", " ", "..", "a/b", "x" * 255)
_SERVICES = ("org.example", "org.Example", "a")


def names() -> st.SearchStrategy[ItemName]:
    """Item names: mostly a few that come again, sometimes any."""
    any_name = st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60
    )
    return st.builds(
        ItemName,
        st.sampled_from(_SERVICES),
        st.sampled_from(_NAMES) | any_name,
        st.sampled_from(KINDS),
    )


def values() -> st.SearchStrategy[bytes]:
    """Values: a few that come again, and any up to what every store takes."""
    return st.sampled_from((b"", b"1", b"2")) | st.binary(max_size=400)


def store_machine(
    make_store: Callable[[], Store], reopen: Callable[[Store], Store] | None = None
) -> type[RuleBasedStateMachine]:
    """The machine for a kind of store.

    Args:
        make_store: gives a new, empty store.
        reopen: closes a store and opens the same place again.
    """
    probe: Any = make_store()
    is_transactional, is_indexed = isinstance(probe, Transactional), isinstance(probe, Indexed)
    _close(probe)

    class StoreMachine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.store: Any = make_store()
            limit = self.store.facts.max_value_bytes
            self.model: Any = MemoryStore(MemoryOptions(max_value_bytes=limit))
            self.used: list[ItemName] = []

        def teardown(self) -> None:
            _close(self.store)

        def both(self, verb: str, *arguments: Any) -> None:
            """Makes a call on both; the answers, or the kinds of error, are the same."""
            expected = _answer(self.model, verb, arguments)
            assert expected == _answer(self.store, verb, arguments)

        @rule(name=names(), value=values())
        def write(self, name: ItemName, value: bytes) -> None:
            self.used.append(name)
            self.both("write", name, Secret(value))

        @rule(name=names())
        def read(self, name: ItemName) -> None:
            self.both("read", name)

        @rule(name=names())
        def delete(self, name: ItemName) -> None:
            self.both("delete", name)

        @rule(data=st.data())
        def delete_used(self, data: st.DataObject) -> None:
            if self.used:
                self.both("delete", data.draw(st.sampled_from(self.used)))

        @rule(data=st.data(), value=values())
        def overwrite_used(self, data: st.DataObject, value: bytes) -> None:
            if self.used:
                self.both("write", data.draw(st.sampled_from(self.used)), Secret(value))

        if is_transactional:

            @rule(
                name=names(),
                expected=st.none() | values(),
                value=st.none() | values(),
                is_right=st.booleans(),
            )
            def replace(
                self, name: ItemName, expected: bytes | None, value: bytes | None, is_right: bool
            ) -> None:
                self.used.append(name)
                wanted = None if expected is None else Secret(expected)
                if is_right:
                    wanted = self.model.read(name, Call())
                self.both("replace", name, wanted, None if value is None else Secret(value))

        if is_indexed:

            @rule(name=names())
            def contains(self, name: ItemName) -> None:
                self.both("contains", name)

        if reopen is not None:

            @rule()
            def reopen_it(self) -> None:
                self.store = reopen(self.store)

        @invariant()
        def the_same_items(self) -> None:
            for service in _SERVICES:
                self.both("names", service)

        @invariant()
        def the_same_values(self) -> None:
            for name in set(self.used[-5:]):
                self.both("read", name)

    return StoreMachine


def _answer(store: Any, verb: str, arguments: tuple[Any, ...]) -> object:
    try:
        answer = getattr(store, verb)(*arguments, Call(30.0))
    except StoreError as exc:
        return type(exc)
    return answer.reveal_bytes() if isinstance(answer, Secret) else answer


def _close(store: Any) -> None:
    if hasattr(store, "close"):
        store.close()
