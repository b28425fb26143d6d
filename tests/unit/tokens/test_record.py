"""The session record: a codec that loses nothing, and what it says of time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep.errors import FormatUnsupported, SecretDamaged
from tokenkeep.fields import pack, unpack
from tokenkeep.secret import Secret
from tokenkeep.tokens.record import Intent, Moment, Pause, Record, decode, encode

texts = st.text(max_size=20)
seconds = st.integers(0, 10**9).map(lambda thousandths: thousandths / 1000)
moments = st.builds(Moment, seconds, seconds, texts)
secrets = st.none() | st.text(min_size=1, max_size=20).map(Secret)
records = st.builds(
    Record,
    st.text("0123456789abcdef", min_size=32, max_size=32),
    moments,
    account=texts,
    generation=st.integers(1, 10**6),
    refresh_token=secrets,
    access_token=secrets,
    id_token=secrets,
    issuer=texts,
    client_id=texts,
    subject=texts,
    scope=texts,
    token_type=texts,
    lifetime=st.none() | seconds,
    metadata=texts,
    policy=texts,
    extra=texts,
    shares=st.booleans(),
    pause=st.none() | st.builds(Pause, seconds, moments),
    intent=st.none()
    | st.builds(Intent, st.integers(1, 99), st.text("0123ef", max_size=9), moments),
    unknown=st.dictionaries(st.text(min_size=1, max_size=9).map("x-".__add__), st.binary()),
)


def plain(record: Record) -> dict[str, object]:
    """Every field, down to numbers and text."""

    def of(value: object) -> object:
        if isinstance(value, Secret):
            return value.reveal()
        if isinstance(value, Intent):
            return value.generation, value.digest, of(value.at)
        if isinstance(value, Pause):
            return value.seconds, of(value.at)
        if isinstance(value, Moment):
            return value.wall, value.monotonic, value.boot
        return value

    found = {name: of(getattr(record, name)) for name in Record.__slots__}
    found["token_type"] = found["token_type"] or "Bearer"
    return found


@given(records)
def test_what_is_encoded_is_decoded(record: Record) -> None:
    assert plain(record) == plain(decode(encode(record)))


@given(st.binary(max_size=200))
def test_anything_else_is_damaged_and_nothing_worse(data: bytes) -> None:
    try:
        record = decode(Secret(data))
    except SecretDamaged:
        return
    assert data == encode(record).reveal_bytes()


def fields_of_a_record() -> dict[str, bytes]:
    record = Record("a" * 32, Moment(1.0, 2.0, "boot"), refresh_token=Secret("token"), lifetime=9.0)
    return unpack(encode(record).reveal_bytes())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", b"x"),
        ("generation", b""),
        ("generation", b"9" * 5000),
        ("lifetime", b"nan"),
        ("lifetime", b"1e999"),
        ("obtained_wall", b"inf"),
        ("obtained_boot", b"\xff"),
        ("session_id", None),
        ("obtained_monotonic", None),
    ],
)
def test_a_damaged_field_is_a_damaged_record(name: str, value: bytes | None) -> None:
    fields = fields_of_a_record()
    if value is None:
        del fields[name]
    else:
        fields[name] = value
    with pytest.raises(SecretDamaged) as caught:
        decode(Secret(pack(fields)))
    assert not isinstance(caught.value, FormatUnsupported)


def test_a_newer_format_is_unsupported_and_not_damaged() -> None:
    fields = fields_of_a_record() | {"format": b"2"}
    with pytest.raises(FormatUnsupported):
        decode(Secret(pack(fields)))


def test_fields_of_a_newer_version_survive_a_change() -> None:
    fields = fields_of_a_record() | {"dpop_key": b"\x00\xff"}
    changed = decode(Secret(pack(fields))).changed(generation=7)
    assert b"\x00\xff" == unpack(encode(changed).reveal_bytes())["dpop_key"]


def test_the_record_prints_no_token() -> None:
    assert "token" not in repr(decode(Secret(pack(fields_of_a_record()))))


AT = Moment(1000.0, 50.0, "boot-1")


@pytest.mark.parametrize(
    ("now", "age"),
    [
        (Moment(1010.0, 60.0, "boot-1"), 10.0),
        (Moment(1010.0 - 86_400, 60.0, "boot-1"), 10.0),
        (Moment(1010.0 + 86_400, 60.0, "boot-1"), 10.0),
        (Moment(1030.0, 1.0, "boot-2"), 30.0),
        (Moment(1000.0 - 86_400, 1.0, "boot-2"), None),
        (Moment(980.0, 1.0, "boot-2"), 0.0),
        (Moment(1010.0, 60.0, ""), 10.0),
    ],
    ids=["usual", "set back", "set ahead", "reboot", "reboot set back", "small step", "no boot id"],
)
def test_age_is_told_by_the_clock_that_can_tell(now: Moment, age: float | None) -> None:
    """Within a boot the monotonic clock; across boots the wall clock, unless it was set back."""
    assert age == AT.age(now)


def test_a_token_whose_age_nobody_can_tell_is_expired_but_may_be_tried() -> None:
    record = Record("a" * 32, AT, lifetime=3600.0)
    assert 0.0 == record.remaining(Moment(0.0, 1.0, "boot-2"))
    assert math.isinf(Record("a" * 32, AT).remaining(Moment(0.0, 1.0, "boot-2")))


def test_a_pause_ends_and_a_clock_set_back_does_not_make_it_longer() -> None:
    pause = Pause(30.0, AT)
    assert 20.0 == pause.left(Moment(1010.0, 60.0, "boot-1"))
    assert 0.0 == pause.left(Moment(1031.0, 81.0, "boot-1"))
    assert 20.0 == pause.left(Moment(1010.0 - 86_400, 60.0, "boot-1"))
    assert 0.0 == pause.left(Moment(1000.0 - 86_400, 1.0, "boot-2"))
