"""The names of items, and the deadline of a call."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep.errors import InteractionDenied, InvalidName, StoreTimeout
from tokenkeep.item import ITEM, KINDS, MAX_NAME_BYTES, Call, Interaction, ItemName, checked_name
from tokenkeep.testing.clock import FakeClock


@pytest.mark.parametrize("name", ["a", "A" * 255, "é" * 127, "🗝" * 63, " ", ".", "a\nb", "\x7f"])
def test_any_unicode_up_to_255_bytes_is_a_name(name: str) -> None:
    """The limit is in bytes of UTF-8; nothing but NUL and lone surrogates is forbidden."""
    assert name == ItemName("s", name).name
    assert name == ItemName(name, "n").service


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("a\0b", "NUL"),
        ("\0", "NUL"),
        ("a\ud800", "surrogates"),
        ("a" * 256, "255 bytes"),
        ("é" * 128, "255 bytes"),
        ("x" * 10_000, "255 bytes"),
        ("\ud800" * 10_000, "255 bytes"),
        (b"bytes", "not bytes"),
        (None, "not NoneType"),
        (7, "not int"),
    ],
    ids=lambda value: ascii(value)[:12],
)
def test_what_is_no_name_is_refused(name: Any, why: str) -> None:
    """As a name and as a service, without repeating it: it may be a secret in the wrong place."""
    hints = {"service": "--app SERVICE", "account": "--account NAME", "name": "choose another one"}
    for make, what in (
        (lambda: ItemName("s", name), "name"),
        (lambda: ItemName(name, "n"), "service"),
        (lambda: checked_name(name, "account"), "account"),
    ):
        with pytest.raises(InvalidName, match=why) as caught:
            make()
        assert caught.value.__context__ is None
        if isinstance(name, str) and len(name) > 2:
            assert name not in str(caught.value)
        hint = "choose a shorter one" if why == "255 bytes" else hints[what]
        assert hint == caught.value.hint


@given(st.text(max_size=300))
def test_a_name_is_accepted_exactly_if_it_can_be_stored(text: str) -> None:
    """The rule, said a second way."""
    has_surrogate = any(0xD800 <= ord(character) <= 0xDFFF for character in text)
    possible = (
        text != ""
        and "\0" not in text
        and not has_surrogate
        and len(text.encode("utf-8", "surrogatepass")) <= MAX_NAME_BYTES
    )
    try:
        accepted = checked_name(text, "name") == text
    except InvalidName:
        accepted = False
    assert possible == accepted


def test_kinds_are_three() -> None:
    """Items, session records and a migration's; anything else is refused."""
    assert ITEM == ItemName("s", "n").kind
    assert 3 == len({ItemName("s", "n", kind) for kind in KINDS})
    with pytest.raises(InvalidName, match="kind"):
        ItemName("s", "n", "other")


def test_item_name_is_a_value() -> None:
    """Equal, hashed, ordered and pickled by what it says; never changed."""
    item = ItemName("s", "b")
    assert item == ItemName("s", "b")
    assert item != ("s", "b", ITEM)
    assert {item} == {ItemName("s", "b")}
    assert [ItemName("s", "a"), item] == sorted([item, ItemName("s", "a")])
    assert ItemName("s", "B") < ItemName("s", "a") < ItemName("s", "é")
    assert item == pickle.loads(pickle.dumps(item))
    assert "ItemName('s', 'b', 'item')" == repr(item)
    with pytest.raises(AttributeError):
        item.name = "c"


def test_deadline_counts_on_the_given_clock() -> None:
    """`remaining` falls to zero and stays; `check` ends the call at the deadline."""
    clock = FakeClock()
    call = Call(5.0, clock=clock)
    assert 5.0 == call.remaining()
    clock.advance(4.5)
    call.check("reading")
    assert 0.5 == call.remaining()
    clock.advance(0.5)
    with pytest.raises(StoreTimeout, match="reading"):
        call.check("reading")
    clock.advance(100)
    assert 0.0 == call.remaining()


def test_deadline_survives_a_jump_of_the_wall_clock() -> None:
    """A day back or forth changes nothing."""
    clock = FakeClock()
    call = Call(5.0, clock=clock)
    for jump in (-86_400, 2 * 86_400):
        clock.jump_wall(jump)
        assert 5.0 == call.remaining()


def test_no_timeout_is_no_deadline() -> None:
    """None waits without end."""
    clock = FakeClock()
    call = Call(None, clock=clock)
    clock.advance(1e9)
    call.check("reading")
    assert call.remaining() is None


def test_defaults_are_five_seconds_and_no_prompt() -> None:
    """A call that says nothing neither hangs nor asks."""
    call = Call(clock=FakeClock())
    assert 5.0 == call.remaining()
    assert Interaction.NEVER == call.interaction
    assert 4.0 < (Call().remaining() or 0) <= 5.0


def test_time_of_a_person_is_not_the_stores() -> None:
    """The deadline moves by the time that a prompt stood there, whatever its answer was."""
    clock = FakeClock()
    call = Call(5.0, Interaction.ALLOWED, clock, prompt_timeout=300.0)
    clock.advance(2.0)

    def answered(asked: Call) -> str:
        assert asked.remaining() == 300.0
        clock.advance(250.0)
        return "yes"

    def dismissed(asked: Call) -> str:
        clock.advance(10.0)
        raise InteractionDenied("no")

    assert "yes" == call.while_asking(answered)
    assert 3.0 == call.remaining()
    with pytest.raises(InteractionDenied):
        call.while_asking(dismissed)
    assert 3.0 == call.remaining()


@pytest.mark.parametrize("timeout", [5.0, None])
def test_prompt_counts_as_part_of_the_call_unless_it_has_a_time_of_its_own(
    timeout: float | None,
) -> None:
    """The very same call waits, and what a person takes of it is gone."""
    clock = FakeClock()
    call = Call(timeout, Interaction.ALLOWED, clock)

    def answered(asked: Call) -> Call:
        clock.advance(2.0)
        return asked

    assert call.while_asking(answered) is call
    assert (None if timeout is None else 3.0) == call.remaining()


def test_person_has_the_time_of_a_prompt_in_a_call_without_an_end() -> None:
    """A limit that was given holds, whatever else waits for ever."""
    clock = FakeClock()
    call = Call(None, Interaction.ALLOWED, clock, prompt_timeout=60.0)
    assert 60.0 == call.while_asking(lambda asked: asked.remaining())
    assert call.remaining() is None
