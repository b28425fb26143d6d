"""Nothing that holds a secret shows it, however it is printed, logged, copied or saved."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import pprint
import reprlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from string import Template
from typing import Any

import pytest

from contract.places import options_with_key_file
from leaks.cases import SECRET, found_in
from tokenkeep.backends.memory import MemoryOptions, MemoryStore
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.config import Config
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.testing.faulty import FaultyStore, Lies
from tokenkeep.vault.passphrase import Passphrase

SERVICE = "org.example.leaks"
ONE = ItemName(SERVICE, "one")


def filled(store: Any) -> Any:
    store.write(ONE, Secret(SECRET), Call())
    store.read(ONE, Call())
    return store


#: Storages that listen, to be closed when their test is over.
OPENED: list[SecureStorage] = []


@pytest.fixture(autouse=True)
def close_storages() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def storage(place: Path) -> SecureStorage:
    holder = SecureStorage(SERVICE, MemoryOptions(), state_directory=str(place))
    OPENED.append(holder)
    holder.listen(lambda _change: None, 3600.0)
    holder.write("one", SECRET)
    return holder


HOLDERS: dict[str, Callable[[Path], Any]] = {
    "secret": lambda _place: Secret(SECRET),
    "secrets": lambda _place: {"a": [Secret(SECRET)], "b": (Secret(SECRET.encode()),)},
    "memory store": lambda _place: filled(MemoryStore()),
    "faulty store": lambda _place: filled(FaultyStore(MemoryStore())),
    "lie": lambda _place: Lies(Secret(SECRET)),
    "vault store": lambda place: filled(VaultStore(options_with_key_file(str(place)))),
    "passphrase": lambda _place: Passphrase(SECRET),
    "vault options": lambda place: VaultOptions(place / "v", Passphrase(SECRET)),
    "storage": storage,
    "watcher": lambda place: vars(storage(place))["_watcher"],
    "read_all": lambda place: storage(place).read_all(),
    "health": lambda place: storage(place).check(),
    "facts": lambda place: storage(place).facts,
    "config": lambda _place: Config(app="org.example", passphrase_file="p"),
}
SHOWS: dict[str, Callable[[Any], str]] = {
    "repr": repr,
    "str": str,
    "ascii": ascii,
    "format": lambda holder: f"{holder} {holder!r} {holder!s}",
    "percent": lambda holder: "%s %r" % (holder, holder),  # noqa: UP031
    "template": lambda holder: Template("$a").substitute(a=holder),
    "pprint": pprint.pformat,
    "reprlib": reprlib.repr,
    "json": lambda holder: json.dumps({"holder": holder}, default=str),
    "json of vars": lambda holder: json.dumps(vars(holder), default=str, skipkeys=True),
    "vars": lambda holder: repr(vars(holder)),
    "slots": lambda holder: (
        repr({name: getattr(holder, name, None) for name in getattr(holder, "__slots__", ())})
        if not isinstance(holder, Secret)
        else ""
    ),
    "asdict": lambda holder: repr(asdict(holder)),
    "copy": lambda holder: repr(copy.copy(holder)),
    "deepcopy": lambda holder: repr(copy.deepcopy(holder)),
    "pickle": lambda holder: repr(pickle.dumps(holder)),
}


@pytest.mark.parametrize("show", SHOWS)
@pytest.mark.parametrize("holder", HOLDERS)
def test_holder_does_not_show_the_secret(holder: str, show: str, tmp_path: Path) -> None:
    """It is redacted, or the way of showing is refused with an error that says nothing."""
    held = HOLDERS[holder](tmp_path)
    try:
        shown = SHOWS[show](held)
    except (TypeError, AttributeError, ValueError) as exc:
        shown = f"{exc} {exc!r}"
    assert [] == found_in(shown)


def test_a_holder_would_be_found() -> None:
    """The gate works: a class that keeps plain text shows by most ways."""

    class Plain:
        def __init__(self) -> None:
            self.token = SECRET

    assert found_in(SHOWS["vars"](Plain()))
    assert found_in(SHOWS["json of vars"](Plain()))
    assert found_in(SHOWS["pickle"]([SECRET]))
    assert found_in(SHOWS["pprint"]({"a": SECRET.encode()}))


def test_success_logs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A whole life of an item at DEBUG, of our loggers and everybody's."""
    with (
        caplog.at_level(logging.DEBUG),
        SecureStorage(
            SERVICE, options_with_key_file(str(tmp_path)), state_directory=str(tmp_path / "state")
        ) as holder,
    ):
        holder.listen(lambda _change: None, 3600.0)
        holder.write("one", SECRET)
        holder.read("one")
        holder.read_all()
        holder.check()
        holder.delete("one")
        holder.write("one", SECRET)
        holder.delete_all()
    assert [] == found_in(caplog.text)
    assert [] == found_in("".join(capfd.readouterr()))
