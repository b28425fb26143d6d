"""The field codec: canonical, total, and closed to anything it did not write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep.fields import MAX_FIELDS, join, pack, unpack

#: Text that has UTF-8.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
maps = st.dictionaries(texts, st.binary(max_size=50), max_size=8)


@given(maps)
def test_unpack_gives_what_was_packed(fields: dict[str, bytes]) -> None:
    """Nothing is lost or added."""
    assert fields == unpack(pack(fields))


@given(maps)
def test_order_of_insertion_does_not_show(fields: dict[str, bytes]) -> None:
    """Equal maps have equal bytes."""
    assert pack(fields) == pack(dict(reversed(fields.items())))


@given(st.binary(max_size=200))
def test_any_bytes_unpack_or_are_refused(data: bytes) -> None:
    """A reader never fails otherwise, and what it accepts is the canonical form."""
    try:
        fields = unpack(data)
    except ValueError:
        return
    assert data == pack(fields)


@given(maps, st.data())
def test_every_truncation_inside_a_field_is_refused(
    fields: dict[str, bytes], data: st.DataObject
) -> None:
    """A prefix is either refused or ends between two fields."""
    packed = pack(fields)
    cut = data.draw(st.integers(0, len(packed)))
    try:
        some = unpack(packed[:cut])
    except ValueError:
        return
    assert packed[:cut] == pack(some)
    assert some.items() <= fields.items()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\0", "truncated"),
        (b"\0\1a", "truncated"),
        (b"\0\1a\0\0\0\2x", "truncated"),
        (b"\0\1a\xff\xff\xff\xff", "truncated"),
        (b"\0\1b\0\0\0\0\0\1a\0\0\0\0", "order"),
        (b"\0\1a\0\0\0\0\0\1a\0\0\0\0", "order"),
        (b"\0\1\xff\0\0\0\0", "UTF-8"),
    ],
)
def test_each_damage_has_its_word(data: bytes, why: str) -> None:
    """The message says what is wrong and repeats nothing of the data."""
    with pytest.raises(ValueError, match=why) as caught:
        unpack(data)
    assert caught.value.__context__ is None


def test_number_of_fields_is_bounded() -> None:
    """A damaged length cannot make a reader walk without end."""
    fine = {f"{number:05}": b"" for number in range(MAX_FIELDS)}
    assert fine == unpack(pack(fine))
    with pytest.raises(ValueError, match="too many"):
        unpack(pack({**fine, "more": b""}))


def test_a_name_that_is_too_long_is_refused() -> None:
    """65,535 bytes is the most that a length can say."""
    assert {"x" * 0xFFFF: b""} == unpack(pack({"x" * 0xFFFF: b""}))
    with pytest.raises(ValueError, match="too long"):
        pack({"x" * 0x10000: b""})


@given(st.lists(st.binary(max_size=5), max_size=4), st.lists(st.binary(max_size=5), max_size=4))
def test_joined_parts_do_not_run_together(left: list[bytes], right: list[bytes]) -> None:
    """Different parts, different bytes."""
    assert (left == right) == (join(*left) == join(*right))
