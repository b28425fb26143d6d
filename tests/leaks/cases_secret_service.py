"""The Secret Service on its failing paths, over daemons that refuse, end and answer nonsense.

The daemon is a thread that speaks D-Bus, so that every answer can be wrong on purpose, in a session
that is not encrypted: what would leak, would be seen.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from jeepney import HeaderFields, MessageType, Parser, new_error, new_method_return

from leaks.cases import SECRET, Case
from tokenkeep.backends.secret_service import SecretServiceOptions, SecretServiceStore
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage

NAME = ItemName("org.example.leaks", "one")
_LOGIN = "/org/freedesktop/secrets/collection/login"
_ITEM = f"{_LOGIN}/1"
_DBUS = "org.freedesktop.DBus.Error."
#: An answer of the daemon: an error's name, a signature with values, or nothing at all (None).
Answer = str | tuple[str, tuple[Any, ...]] | None
#: What a daemon answers that has the secret.
RIGHT: dict[str, Answer] = {
    "Hello": ("s", (":1.1",)),
    "ReadAlias": ("o", (_LOGIN,)),
    "SearchItems": ("aoao", ([_ITEM], [])),
    "Get": ("v", (("b", False),)),
    "GetSecrets": ("a{o(oayays)}", ({_ITEM: ("/s", b"", SECRET.encode(), "text/plain")},)),
    "SetSecret": ("", ()),
    "Delete": ("o", ("/",)),
    "CreateItem": ("oo", (_ITEM, "/")),
    "Unlock": ("aoo", ([], "/")),
}


class Daemon(threading.Thread):
    """A bus and its Secret Service at once: one connection, one answer for each method."""

    def __init__(self, path: Path, answers: dict[str, Answer]) -> None:
        super().__init__(daemon=True)
        self.asked: set[str] = set()
        self._answers = {**RIGHT, **answers}
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(8)

    def run(self) -> None:
        while True:
            try:
                connected = self._listening.accept()[0]
            except OSError:
                return
            try:
                with connected:
                    self._serve(connected)
            except OSError:
                pass  # the client gave up and hung up

    def stop(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self, connected: socket.socket) -> None:
        connected.recv(4096)
        connected.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")
        begun = connected.recv(65_536)
        parser, data = Parser(), begun.removeprefix(b"BEGIN\r\n")
        while True:
            for message in parser.feed(data):
                answer = self._answer(message)
                if answer is None:
                    continue
                connected.sendall(answer)
            data = connected.recv(65_536)
            if not data:
                return

    def answer_to(self, member: str, body: tuple[Any, ...]) -> Answer | Literal[False]:
        """What a daemon with a mind of its own answers; False for what is in the table."""
        return False

    def _answer(self, message: Any) -> bytes | None:
        member = message.header.fields[HeaderFields.member]
        self.asked.add(member)
        answer = self.answer_to(member, message.body)
        if answer is False:
            answer = self._answers.get(member, f"{_DBUS}UnknownMethod")
            if member == "OpenSession" and member not in self._answers:
                plain = message.body[0] == "plain"
                answer = ("vo", (("s", ""), "/s")) if plain else f"{_DBUS}NotSupported"
        if answer is None:
            return None
        if isinstance(answer, str):
            reply = new_error(message, answer, "s", (f"about {SECRET}",))
        else:
            signature, body = answer
            reply = new_method_return(message, signature or None, body)
        assert reply.header.message_type is not MessageType.signal
        encoded: bytes = reply.serialise(serial=1)
        return encoded


@contextmanager
def talking(directory: Path, answers: dict[str, Answer]) -> Iterator[SecretServiceStore]:
    """A store that talks to such a daemon."""
    with serving(directory, answers) as (store, _daemon):
        yield store


@contextmanager
def serving(
    directory: Path, answers: dict[str, Answer], kind: type[Daemon] = Daemon
) -> Iterator[tuple[SecretServiceStore, Daemon]]:
    """A store, and the daemon that it talks to."""
    path = directory / "bus"
    daemon = kind(path, answers)
    daemon.start()
    before = os.environ.get("DBUS_SESSION_BUS_ADDRESS")
    os.environ["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={path}"
    store = SecretServiceStore(SecretServiceOptions())
    try:
        yield store, daemon
    finally:
        store.close()
        daemon.stop()
        daemon.join()
        path.unlink()
        if before is None:
            del os.environ["DBUS_SESSION_BUS_ADDRESS"]
        else:
            os.environ["DBUS_SESSION_BUS_ADDRESS"] = before


VERBS: dict[str, Callable[[SecretServiceStore], object]] = {
    "read": lambda store: store.read(NAME, Call(0.2)),
    "write": lambda store: store.write(NAME, Secret(SECRET), Call(0.2)),
    "storage write": lambda store: SecureStorage("org.example.leaks", store, timeout=0.2).write(
        "one", SECRET
    ),
    "delete": lambda store: store.delete(NAME, Call(0.2)),
}
#: The method that a verb's value goes through.
_LAST = {"read": "GetSecrets", "write": "SetSecret", "storage write": "SetSecret",
         "delete": "Delete"}  # fmt: skip
WRONG: dict[str, Answer] = {
    "no answer": None,
    "an error": f"{_DBUS}Failed",
    "locked": "org.freedesktop.Secret.Error.IsLocked",
    "no session": "org.freedesktop.Secret.Error.NoSession",
    "gone": f"{_DBUS}UnknownObject",
    "too large": f"{_DBUS}LimitsExceeded",
}


#: The methods that each verb asks; a new item is made by the alias, which it need not ask for.
_SEARCH = ("Hello", "GetNameOwner", "SearchItems")
_ALL = (*_SEARCH, "ReadAlias")
ASKED = {
    "read": (*_ALL, "OpenSession", "GetSecrets"),
    "write": (*_ALL, "OpenSession", "SetSecret"),
    "storage write": (*_ALL, "OpenSession", "SetSecret"),
    "delete": (*_ALL, "Delete"),
    "create": (*_SEARCH, "OpenSession", "CreateItem"),
    "read what is not there": (*_ALL, "Get"),
}
VERBS["create"] = VERBS["write"]
VERBS["read what is not there"] = VERBS["read"]
#: What the daemon has besides, for these.
EMPTY: dict[str, dict[str, Answer]] = {
    verb: {"SearchItems": ("aoao", ([], []))} for verb in ("create", "read what is not there")
}
#: What answers a request in another way than the specification says, whichever request it is.
MALFORMED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "values that nobody asked for": ("ss", (SECRET, SECRET)),
    "a string for each item": ("a{ss}", ({_ITEM: SECRET},)),
    "a value without its type": ("a{o(oayay)}", ({_ITEM: ("/s", b"", SECRET.encode())},)),
    "a value in a variant": ("v", (("ay", SECRET.encode()),)),
}


def _failing(verb: str, answers: dict[str, Answer]) -> Callable[[Path], object]:
    def run(directory: Path) -> object:
        with talking(directory, answers) as store:
            return VERBS[verb](store)

    return run


def malformed(verb: str, method: str, what: str) -> dict[str, Answer]:
    """The daemon's answers, of which the one to this method is wrong in this way."""
    return {**EMPTY.get(verb, {}), method: MALFORMED[what]}


CASES = [
    *(
        Case(f"secret service {verb}, {what}", _failing(verb, {_LAST[verb]: answer}))
        for verb in _LAST
        for what, answer in WRONG.items()
        if (verb, what) != ("delete", "gone")  # is no failure
    ),
    *(
        Case(
            f"secret service {verb}, {method} answers {what}",
            _failing(verb, malformed(verb, method, what)),
        )
        for verb, methods in ASKED.items()
        for method in methods
        for what in MALFORMED
    ),
    Case(
        "secret service read, sealed for another session",
        _failing(
            "read",
            {
                "GetSecrets": (
                    "a{o(oayays)}",
                    ({_ITEM: ("/another", b"", SECRET.encode(), "text/plain")},),
                )
            },
        ),
    ),
    Case(
        "secret service create, no answer",
        _failing("write", {"SearchItems": ("aoao", ([], [])), "CreateItem": None}),
    ),
    Case(
        "secret service create, a prompt that may not be shown",
        _failing(
            "write", {"SearchItems": ("aoao", ([], [])), "CreateItem": ("oo", ("/", "/prompt"))}
        ),
    ),
    Case("secret service, not connected", lambda directory: _unconnected(directory)),
]


def _unconnected(directory: Path) -> object:
    before = os.environ.get("DBUS_SESSION_BUS_ADDRESS")
    os.environ["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={directory}/nobody"
    try:
        return VERBS["write"](SecretServiceStore())
    finally:
        if before is None:
            del os.environ["DBUS_SESSION_BUS_ADDRESS"]
        else:
            os.environ["DBUS_SESSION_BUS_ADDRESS"] = before
