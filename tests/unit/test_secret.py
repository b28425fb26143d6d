"""A secret shows itself to `reveal` and to nobody else."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import pprint

import pytest

from tokenkeep.secret import REDACTED, Secret, as_secret

TEXT = "s3cret-käse"


def test_text_is_kept_as_utf_8() -> None:
    """Text comes back as text, and as the bytes of its UTF-8."""
    secret = Secret(TEXT)
    assert TEXT == secret.reveal()
    assert TEXT.encode() == secret.reveal_bytes()
    assert len(TEXT.encode()) == secret.size


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_are_kept_as_they_are(kind: type) -> None:
    """Anything of bytes is copied: a later change of the source changes nothing."""
    source = bytearray(b"\x00\xff\x01")
    secret = Secret(kind(source))
    source[0] = 7
    assert b"\x00\xff\x01" == secret.reveal_bytes()


def test_binary_is_not_text() -> None:
    """`reveal` of bytes that are no UTF-8 says so without repeating them."""
    with pytest.raises(ValueError, match="not text") as caught:
        Secret(b"\xff\xfe").reveal()
    assert caught.value.__context__ is None


@pytest.mark.parametrize("empty", ["", b"", bytearray()])
def test_empty_is_a_value(empty: str | bytes) -> None:
    """Nothing is still a value of length 0."""
    assert Secret(empty).size == 0
    assert Secret(empty).reveal() == ""


@pytest.mark.parametrize("value", [None, 3, 1.5, ["x"], {"a": "b"}, object()])
def test_other_types_are_refused(value: object) -> None:
    """A secret is str or bytes; the message names the type alone."""
    with pytest.raises(TypeError, match=f"not {type(value).__name__}$"):
        Secret(value)  # type: ignore[arg-type]


def test_lone_surrogates_are_refused() -> None:
    """They have no UTF-8, and the codec's error with the text in it is not chained."""
    with pytest.raises(ValueError, match="lone surrogates") as caught:
        Secret("se\ud800cret")
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        "{}".format,
        "{!r}".format,
        "{:>40}".format,
        lambda secret: f"{secret}",
        lambda secret: f"{secret!s:.4}",
        lambda secret: "%s" % secret,  # noqa: UP031
        lambda secret: repr([secret, {"k": secret}]),
        pprint.pformat,
        ascii,
    ],
)
def test_never_prints(show: object) -> None:
    """No way of showing it shows it."""
    shown = show(Secret(TEXT))  # type: ignore[operator]
    assert "s3cret" not in shown


def test_repr_is_the_same_for_all() -> None:
    """Not even the length shows."""
    assert REDACTED == repr(Secret("")) == repr(Secret("x" * 100))


def test_logging_shows_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """As an argument or in the message."""
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("app").info("token %s and %r", Secret(TEXT), Secret(TEXT))
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_cannot_be_pickled(protocol: int) -> None:
    """Not by any protocol, nor inside something else."""
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps({"token": Secret(TEXT)}, protocol)


def test_is_not_json() -> None:
    """The encoder refuses it, and a `default=str` gets the redacted form."""
    with pytest.raises(TypeError):
        json.dumps(Secret(TEXT))
    assert "s3cret" not in json.dumps({"k": Secret(TEXT)}, default=str)


def test_has_no_hash() -> None:
    """A hash of the content would be a fingerprint; one of the object would break equality."""
    with pytest.raises(TypeError):
        hash(Secret(TEXT))


def test_has_no_dict_length_or_iteration() -> None:
    """Nothing generic walks into it."""
    secret = Secret(TEXT)
    assert not hasattr(secret, "__dict__")
    for walk in (len, iter, list, bytes, bytearray, memoryview):
        with pytest.raises(TypeError):
            walk(secret)  # type: ignore[operator]


def test_equality_is_of_content_and_only_among_secrets() -> None:
    """A secret is never equal to plain text or bytes."""
    assert Secret("a") == Secret(b"a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != Secret("aa")
    assert Secret("a") != "a"
    assert Secret("a") != b"a"


def test_copying_gives_the_same_object() -> None:
    """A copy would be one more place to wipe."""
    secret = Secret(TEXT)
    assert secret is copy.copy(secret)
    assert secret is copy.deepcopy([secret])[0]


def test_wiping_overwrites_the_buffer() -> None:
    """The one buffer holds zeros afterwards, and every access says why."""
    secret = Secret(TEXT)
    buffer = secret._buffer
    secret.wipe()
    secret.wipe()
    assert buffer == bytes(len(TEXT.encode()))
    for access in (secret.reveal, secret.reveal_bytes, lambda: secret.size):
        with pytest.raises(ValueError, match="wiped"):
            access()
    with pytest.raises(ValueError, match="wiped"):
        _ = secret == Secret("x")
    assert REDACTED == repr(secret)


def test_context_manager_wipes_also_after_an_error() -> None:
    """Leaving the block wipes, whatever happened in it."""
    with pytest.raises(RuntimeError), Secret(TEXT) as secret:
        raise RuntimeError
    with pytest.raises(ValueError, match="wiped"):
        secret.reveal()


def test_as_secret_takes_what_secret_takes_and_secrets() -> None:
    """A secret is passed through; the rest is wrapped or refused."""
    secret = Secret("a")
    assert secret is as_secret(secret)
    assert secret == as_secret("a") == as_secret(b"a") == as_secret(bytearray(b"a"))
    with pytest.raises(TypeError):
        as_secret(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="surrogates"):
        as_secret("\udfff")
