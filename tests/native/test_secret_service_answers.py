"""A service that answers in another way than the specification says is no Secret Service.

Over a daemon that speaks D-Bus and has one wrong answer. `tests/leaks` looks for what the same
answers would leave in a traceback.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from leaks.cases_secret_service import (
    ASKED,
    EMPTY,
    MALFORMED,
    NAME,
    RIGHT,
    VERBS,
    Answer,
    Daemon,
    malformed,
    serving,
)
from tokenkeep.backends.secret_service import SecretServiceStore
from tokenkeep.crypto import CbcCipher, hkdf_sha256
from tokenkeep.errors import StoreUnavailable
from tokenkeep.item import Call
from tokenkeep.native.secret_service.session import Exponent
from tokenkeep.secret import Secret


@pytest.mark.parametrize("verb", ASKED)
def test_every_method_that_a_verb_asks_is_known(verb: str, tmp_path: Path) -> None:
    """So that the tests below go wrong at every step."""
    with serving(tmp_path, EMPTY.get(verb, {})) as (store, daemon):
        VERBS[verb](store)
    assert set(ASKED[verb]) == daemon.asked


@pytest.mark.parametrize("what", MALFORMED)
@pytest.mark.parametrize(
    ("verb", "method"), [(verb, method) for verb, methods in ASKED.items() for method in methods]
)
def test_malformed_answer_is_unavailable(verb: str, method: str, what: str, tmp_path: Path) -> None:
    """At every step: an error of ours that names the method, and no secret in it."""
    with (
        serving(tmp_path, malformed(verb, method, what)) as (store, _daemon),
        pytest.raises(StoreUnavailable, match=f"answers {method} in another way"),
    ):
        VERBS[verb](store)


@pytest.mark.parametrize("verb", ["read", "write", "create"])
@pytest.mark.parametrize(
    "answer",
    [("vo", (("s", "x"), "/s")), ("vo", (("ay", b"\1"), "/s")), ("vo", (("ay", b""), "/s"))],
    ids=["a string", "one", "nothing"],
)
def test_session_that_is_negotiated_with_no_key_is_unavailable(
    verb: str, answer: tuple[str, tuple[object, ...]], tmp_path: Path
) -> None:
    """The other half of the agreement is a number between 1 and the prime, as bytes."""
    answers = {**EMPTY.get(verb, {}), "OpenSession": answer}
    with (
        serving(tmp_path, answers) as (store, _daemon),
        pytest.raises(StoreUnavailable, match="no key"),
    ):
        VERBS[verb](store)


#: Every call, with all the time there is.
PATIENT: dict[str, Callable[[SecretServiceStore], object]] = {
    "read": lambda store: store.read(NAME, Call(30.0)),
    "write": lambda store: store.write(NAME, Secret("value"), Call(30.0)),
    "delete": lambda store: store.delete(NAME, Call(30.0)),
    "names": lambda store: store.names(NAME.service, Call(30.0)),
    "contains": lambda store: store.contains(NAME, Call(30.0)),
    "look": lambda store: store.look(Call(30.0)),
}


@pytest.mark.parametrize("verb", PATIENT)
def test_service_without_methods_is_unavailable_at_once(verb: str, tmp_path: Path) -> None:
    """Something has the name and knows none of the calls: that is not a keyring that is slow."""
    nothing = dict.fromkeys(
        (name for name in RIGHT if name != "Hello"), "org.freedesktop.DBus.Error.UnknownMethod"
    )
    began = time.monotonic()
    with (
        serving(tmp_path, nothing) as (store, _daemon),
        pytest.raises(StoreUnavailable, match="specification"),
    ):
        PATIENT[verb](store)
    assert time.monotonic() - began < 2.0


class Stripping(Daemon):
    """Encrypts as KWallet does: it leaves leading zeros of the agreed number out.

    Attributes:
        numbers: the agreed numbers, one for each session; the first begins with a zero byte.
    """

    def __init__(self, path: Path, answers: dict[str, Answer]) -> None:
        super().__init__(path, answers)
        self.numbers: list[Secret] = []

    def answer_to(self, member: str, body: tuple[Any, ...]) -> Answer | Literal[False]:
        """Negotiates, and gives the value in the newest session."""
        if member == "OpenSession":
            theirs, agreed = Exponent(), None
            while agreed is None or (agreed.reveal_bytes()[0] == 0) is bool(self.numbers):
                theirs = Exponent()
                agreed = theirs.agreed(body[1][1])
            self.numbers.append(agreed)
            return "vo", (("ay", theirs.public()), f"/s{len(self.numbers)}")
        if member == "GetSecrets":
            number = self.numbers[-1].reveal_bytes().lstrip(b"\0")
            start, sealed = CbcCipher(hkdf_sha256(Secret(number), 16)).seal(Secret("kept"))
            secret = f"/s{len(self.numbers)}", start, sealed, "text/plain"
            return "a{o(oayays)}", ({body[0][0]: secret},)
        return False


def test_key_that_the_service_derives_in_another_way_is_not_used(tmp_path: Path) -> None:
    """An agreed number with a leading zero is agreed on anew, before a value is sent or taken."""
    with serving(tmp_path, {}, Stripping) as (store, daemon):
        assert Secret("kept") == store.read(NAME, Call(30.0))
    assert isinstance(daemon, Stripping)
    assert [True, False] == [number.reveal_bytes()[0] == 0 for number in daemon.numbers]
