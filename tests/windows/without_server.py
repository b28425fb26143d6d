"""A program in Wine that makes the calls it is told, whatever becomes of Wine's server.

python without_server.py LOCK-FILE

Writes "ready" where everything is loaded and every call was made once; then, for each line that it
reads, which is the names of calls, what each answered or raised, what is kept then, and "rested"
once the next may come. Each stands in a line of JSON behind a mark, as one of the calls writes
lines too.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from tokenkeep import SecureStorage, WindowsOptions
from tokenkeep.backends.dpapi import DpapiKey
from tokenkeep.backends.windows import WindowsCredentialStore, probe
from tokenkeep.cli.main import run
from tokenkeep.errors import TokenkeepError
from tokenkeep.item import Call

SERVICE = "org.example.apart"
#: Seconds that a call may take; that it may wait for several looks; and those that prepare it, or
#: look at what it left.
TIMEOUT, LONG, AMPLE = 0.3, 2.5, 60.0
#: Seconds for the threads that made the last call to be done with it.
REST = 0.2
MARK, SEPARATOR = "> ", ", "

CALLS: dict[str, Callable[[SecureStorage], object]] = {
    "read": lambda storage: _shown(storage.read("api_key")),
    "read of what is not there": lambda storage: _shown(storage.read("nothing")),
    "write": lambda storage: storage.write("new", "value"),
    "overwrite": lambda storage: storage.write("api_key", "other"),
    "delete": lambda storage: storage.delete("api_key"),
    "names": lambda storage: storage.names(),
    "contains": lambda storage: storage.contains("api_key"),
    "read_all": lambda storage: {name: _shown(each) for name, each in storage.read_all().items()},
    "delete_all": lambda storage: storage.delete_all(),
    "check": lambda storage: storage.check().state,
    "wait_until_unlocked": lambda storage: storage.wait_until_unlocked(TIMEOUT),
    "wait_until_unlocked for long": lambda storage: storage.wait_until_unlocked(LONG),
    "facts": lambda storage: storage.facts.backend,
    "probe": lambda storage: probe(WindowsOptions(), Call(TIMEOUT)),
    "DPAPI": lambda storage: len(DpapiKey().remember(b"slot", b"vault", Call(TIMEOUT))),
    "doctor": lambda storage: _doctor(),
}


def main(lock_path: str) -> None:
    store = WindowsCredentialStore(lock_path=lock_path)

    def storage(timeout: float) -> SecureStorage:
        return SecureStorage(SERVICE, store, timeout=timeout, state_directory=lock_path + ".state")

    ample, tight = storage(AMPLE), storage(TIMEOUT)
    for name in CALLS:
        _answer(ample, name)
    _prepare(ample)
    time.sleep(REST)
    _say("ready")
    for line in sys.stdin:
        for name in line.strip().split(SEPARATOR):
            _say(_answer(tight, name))
        _say({name: _shown(value) for name, value in ample.read_all().items()})
        _prepare(ample)
        time.sleep(REST)
        _say("rested")


def _answer(storage: SecureStorage, name: str) -> object:
    try:
        return CALLS[name](storage)
    except TokenkeepError as exc:
        return type(exc).__name__


def _prepare(storage: SecureStorage) -> None:
    for name in storage.names():
        if name != "api_key":
            storage.delete(name)
    storage.write("api_key", "s3cret")


def _shown(value: object) -> str | None:
    return None if value is None else value.reveal()  # type: ignore[attr-defined]


def _doctor() -> int:
    words = [f"--app={SERVICE}", "--store=windows-credentials", f"--timeout={TIMEOUT}", "doctor"]
    return run(words)


def _say(what: object) -> None:
    print(MARK, json.dumps(what), sep="", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
