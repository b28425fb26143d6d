"""Other people's log records lose tokens on their way, and nothing else."""

from __future__ import annotations

import gc
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep import MemoryStore, Provider, SecureStorage, Session, TokenStorage
from tokenkeep.redaction import THIRD_PARTY_LOGGERS, RedactingFilter, install
from tokenkeep.secret import Secret

TOKEN = "tk-5cr3t/with+signs=="


class Log:
    """A logger with a handler that keeps what it prints."""

    def __init__(self, name: str, redacting: RedactingFilter) -> None:
        self.stream = io.StringIO()
        self.logger = logging.getLogger(name)
        self.logger.setLevel(logging.DEBUG)
        self.logger.propagate = False
        self.handler = logging.StreamHandler(self.stream)
        self.handler.addFilter(redacting)
        self.logger.addHandler(self.handler)

    def __call__(self, message: Any, *arguments: Any, **options: Any) -> str:
        self.logger.debug(message, *arguments, **options)
        return self.stream.getvalue()


@pytest.fixture
def watched() -> Secret:
    return Secret(TOKEN)


@pytest.fixture
def log(watched: Secret) -> Iterator[Log]:
    each = Log("test.redaction", RedactingFilter([watched]))
    yield each
    each.logger.removeHandler(each.handler)


@pytest.mark.parametrize(
    "spelling",
    [
        TOKEN,
        "tk-5cr3t%2Fwith%2Bsigns%3D%3D",
        "tk-5cr3t/with%2Bsigns%3D%3D",
        repr(TOKEN.encode()),
    ],
)
def test_a_watched_value_is_found_wherever_it_stands(log: Log, spelling: str) -> None:
    """As it is, in a URL, in a form, in a repr; in the text and in the arguments."""
    shown = log("it was %s, said %r", spelling, {"note": [spelling]})
    shown = log(f"it is {spelling}.")
    assert "5cr3t" not in shown
    assert "[redacted]" in shown


def test_a_value_is_watched_only_while_somebody_keeps_it(log: Log) -> None:
    """The filter keeps no secret alive; a wiped one is gone."""
    redacting = RedactingFilter()
    secret = Secret("short-lived-value")
    redacting.watch(secret)
    assert redacting.text("a short-lived-value") == "a [redacted]"
    del secret
    gc.collect()
    assert redacting.text("a short-lived-value") == "a short-lived-value"
    assert redacting._watched == {}
    wiped = Secret("short-lived-value")
    redacting.watch(wiped)
    wiped.wipe()
    assert redacting.text("a short-lived-value") == "a short-lived-value"


def test_a_short_value_is_left_to_the_names() -> None:
    """Four letters are in every other sentence."""
    short = Secret("code")
    redacting = RedactingFilter([short])
    assert redacting.text("the code is fine") == "the code is fine"


def test_a_value_that_is_not_text_is_found_in_its_repr() -> None:
    """Keys are bytes."""
    key = Secret(bytes(range(200, 232)))
    redacting = RedactingFilter([key])
    assert redacting.text(f"key {key.reveal_bytes()!r}") == "key b'[redacted]'"


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("Authorization: Bearer hidden-1", ()),
        ("headers: %s", ({"Authorization": "Bearer hidden-1", "Accept": "*/*"},)),
        ("Supplying headers %s and data %s", ({"authorization": "Bearer hidden-1"}, None)),
        ("Requesting url %s using method %s.", ("https://a/?code=hidden-1&x=1", "POST")),
        ("Prepared fetch token request body %s", ("grant_type=x&refresh_token=hidden-1&a=b",)),
        ("Response text was %s.", ('{"access_token": "hidden-1", "expires_in": 1}',)),
        ("token %s", ({"refresh_token": "hidden-1", "nested": {"id_token": "hidden-1"}},)),
        ("Adding %s=%s to the header table", (b"authorization", b"Bearer hidden-1")),
        ("Evicting %s: %s from the header table", (b"cookie", b"hidden-1")),
        ("Decoded %s, consumed %d", ((b"set-cookie", b"hidden-1"), 3)),
        ("Decoded %s", ([("dpop", "hidden-1"), ("accept", "*/*")],)),
        ("send: b'POST / HTTP/1.1\\r\\nCookie: hidden-1\\r\\nHost: a\\r\\n'", ()),
        ("<CIMultiDict('Authorization': 'Bearer hidden-1')>", ()),
        ("Headers([('authorization', 'Basic hidden-1'), ('dpop', 'hidden-1')])", ()),
        ("using Bearer hidden-1 for it", ()),
        ("CODE_VERIFIER=hidden-1", ()),
        ("x client-secret=hidden-1 y", ()),
        ("'code': 'hidden-1'", ()),
        ('"password" : "hid\\"den-1 hidden-1"', ()),
    ],
)
def test_what_stands_behind_a_telling_name_is_hidden(
    log: Log, message: str, arguments: tuple[Any, ...]
) -> None:
    """As hpack, requests-oauthlib, aiohttp, httpx and JSON write it."""
    shown = log(message, *arguments)
    assert "hidden-1" not in shown
    assert "[redacted]" in shown


def test_a_json_web_token_is_hidden_anywhere() -> None:
    """It names itself."""
    shown = RedactingFilter().text("see eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl there")
    assert shown == "see [redacted] there"


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ('HTTP Request: POST %s "%s %d %s"', ("https://a/token", "HTTP/1.1", 200, "OK")),
        ("status code %d, took %.2f s", (200, 0.25)),
        ("status_code=200 keepalive=yes", ()),
        ("%(name)s is %(size)d bytes", ({"name": "a", "size": 3},)),
        ("100% done", ()),
        ("the authorization server answered", ()),
        ("Decoded %s", ((b"content-type", b"text/html"),)),
        ("", ()),
        (7, ()),
    ],
)
def test_an_innocent_record_passes_as_it_is(
    log: Log, message: Any, arguments: tuple[Any, ...]
) -> None:
    """The same template and arguments, for whoever groups by them."""
    record = log.logger.makeRecord("x", logging.DEBUG, "f", 1, message, arguments, None)
    before = (record.msg, record.args, record.getMessage())
    assert RedactingFilter().filter(record) is True
    assert (record.msg, record.args, record.getMessage()) == before


def test_hpacks_encoded_header_blocks_are_hidden() -> None:
    """Huffman code hides nothing from whoever has the table."""
    log = Log("hpack.hpack", RedactingFilter())
    shown = log("Encoded header block to %s", b"\x82\x84\x86hidden-1")
    shown = log("Decoding %s", bytearray(b"hidden-1"))
    log.logger.removeHandler(log.handler)
    assert "hidden-1" not in shown
    assert "[11 bytes [redacted]]" in shown


def test_the_real_hpack_prints_no_header_value() -> None:
    """The library itself at DEBUG, as it is under HTTP/2."""
    redacting = RedactingFilter()
    undo = install(redacting)
    logs = [Log(name, RedactingFilter()) for name in ("hpack.hpack", "hpack.table")]
    for log in logs:
        log.handler.filters.clear()
    try:
        encoder, decoder = hpack.Encoder(), hpack.Decoder()
        encoder.header_table_size = 60
        secret = [(b"authorization", b"Bearer hidden-1"), (b"cookie", b"hidden-1")]
        for _ in range(2):
            decoder.decode(encoder.encode(secret))
    finally:
        undo()
        for log in logs:
            log.logger.removeHandler(log.handler)
    shown = "".join(log.stream.getvalue() for log in logs)
    assert "header" in shown
    assert "hidden-1" not in shown


def test_a_traceback_is_redacted_too(log: Log) -> None:
    """An exception's text may hold a URL or a body."""
    try:
        raise ValueError(f"bad answer {TOKEN} to refresh_token=hidden-1")
    except ValueError:
        shown = log("it failed", exc_info=True, stack_info=True)
    assert "ValueError" in shown
    assert "hidden-1" not in shown
    assert TOKEN not in shown.replace('raise ValueError(f"bad answer {TOKEN}', "")


def test_a_record_that_cannot_be_looked_at_is_withheld(log: Log) -> None:
    """Logging would print its arguments in the error message."""
    shown = log("%d things, %s", "refresh_token=hidden-1")

    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError("refresh_token=hidden-1")

    shown = log("it is %s", Unprintable())
    assert "hidden-1" not in shown
    assert shown.count("record withheld") == 2


def test_installing_covers_known_and_present_children_and_can_be_undone() -> None:
    """A filter on a logger does not see its children's records."""
    present = logging.getLogger("httpx2.some_new_part")
    redacting = RedactingFilter()
    undo = install(redacting)
    names = ["hpack.hpack", "urllib3.connectionpool", "requests_oauthlib.oauth2_session"]
    loggers = [present, *map(logging.getLogger, [*THIRD_PARTY_LOGGERS, *names])]
    assert all(redacting in logger.filters for logger in loggers)
    install(redacting)()
    assert all(redacting in logger.filters for logger in loggers)
    undo()
    undo()
    assert not any(redacting in logger.filters for logger in loggers)


def test_an_applications_own_loggers_are_left_alone() -> None:
    """Third parties only."""
    own = logging.getLogger("notes.hpack")
    undo = install()
    assert own.filters == []
    assert logging.getLogger().filters == []
    undo()


@given(st.text(max_size=200))
def test_any_text_passes_without_an_exception(text: str) -> None:
    """And redacting twice changes nothing more."""
    redacting = RedactingFilter()
    for said in (text, f"'code': {text}", f"authorization: {text}", f"token={text}"):
        once = redacting.text(said)
        assert redacting.text(once) == once


@given(
    st.recursive(
        st.text() | st.binary() | st.integers() | st.none(),
        lambda x: st.lists(x) | st.tuples(x, x) | st.dictionaries(st.text(), x),
        max_leaves=10,
    )
)
def test_any_arguments_pass_without_an_exception(argument: Any) -> None:
    """Whatever a library logs."""
    record = logging.LogRecord("x", logging.DEBUG, "f", 1, "got %r", (argument,), None)
    RedactingFilter().filter(record)
    assert "withheld" not in record.getMessage()


def test_a_followed_session_s_tokens_are_found_as_they_change() -> None:
    """The tokens of the moment are redacted, those of a session that is over are not sought."""

    class Source:
        tokens: list[Secret]

        def live_tokens(self) -> list[Secret]:
            return self.tokens

    source = Source()
    redacting = RedactingFilter()
    redacting.follow(source)
    for value in ("first-token-value", "second-token-value"):
        source.tokens = [Secret(value)]
        assert value not in redacting.text(f"sent {value} just now")
    source.tokens = []
    assert "sent second-token-value" == redacting.text("sent second-token-value")


def test_a_session_can_be_followed(tmp_path: Path) -> None:
    """Access and refresh token of a session do not show, whatever stands before them."""
    storage = SecureStorage("org.example.notes", MemoryStore(), state_directory=str(tmp_path))
    session = Session(Provider("https://issuer.example", client_id="a"), TokenStorage(storage))
    redacting = RedactingFilter()
    redacting.follow(session)
    answer = {"access_token": "the-access-token", "refresh_token": "the-refresh-token"}
    session.begin(answer | {"token_type": "Bearer", "expires_in": 60})
    shown = redacting.text("odd: the-access-token, the-refresh-token")
    assert "the-access-token" not in shown
    assert "the-refresh-token" not in shown
