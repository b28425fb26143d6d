"""Runs inside a peer's environment and does what JSON lines on standard input order.

`worker.py ADAPTER PLACE`: the adapter is a module of `peers` with a class `Peer(place)` that has
`read(name)` (text, or None) and `write(name, value)`; `reopen` and `delete` ask for `close()` and
`delete(name)`, too. Each order is answered by one line, but `pour`, which answers after every write
until it is killed.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module

from values import name_of, value_of

#: Before a pace means anything.
PACE_SECONDS = 2.0


class Worker:
    """One peer's store in this process."""

    def __init__(self, adapter: str, place: str) -> None:
        self._adapter = adapter
        self._place = place
        self._peer = None

    def load(self) -> dict:
        """Import what the peer is used through."""
        import_module("peers." + self._adapter)
        return {}

    def open(self) -> dict:
        """Make the store's object; imports are part of it unless `load` came before."""
        started = time.perf_counter()
        self._peer = import_module("peers." + self._adapter).Peer(self._place)
        return {"seconds": time.perf_counter() - started}

    def reopen(self) -> dict:
        """Make the store's object anew: one that has touched nothing but an item of its own."""
        before = self._peer
        self.open()
        self._peer.write("warm", value_of("warm", 0))
        before.close()  # now, not sooner: SQLite keeps its log while somebody has it open
        return {}

    def delete(self, names: list) -> dict:
        """Take items away again."""
        for name in names:
            self._peer.delete(name)
        return {}

    def fill(self, start: int, stop: int, seconds: float) -> dict:
        """Write items one by one; give up as soon as the pace shows that the time will not do."""
        bulk = getattr(self._peer, "fill", None)
        begun = time.perf_counter()
        if bulk is not None:
            bulk((name_of(number), value_of(name_of(number), 0)) for number in range(start, stop))
            return {"done": stop - start, "seconds": time.perf_counter() - begun}
        done = 0
        for number in range(start, stop):
            self._peer.write(name_of(number), value_of(name_of(number), 0))
            done += 1
            elapsed = time.perf_counter() - begun
            if elapsed > PACE_SECONDS and elapsed * (stop - start) / done > seconds:
                break
        return {"done": done, "seconds": time.perf_counter() - begun}

    def write(self, names: list, version: int, seconds: float) -> dict:
        """Time writes, each until the store says that it is done."""
        taken, write = [], self._peer.write
        deadline = time.perf_counter() + seconds
        for name in names:
            value = value_of(name, version)
            started = time.perf_counter_ns()
            write(name, value)
            ended = time.perf_counter_ns()
            taken.append(ended - started)
            if ended > deadline * 1e9:
                break
        return {"ns": taken}

    def read(self, names: list, version: int | None, seconds: float) -> dict:
        """Time reads; without a version the names are of items that do not exist."""
        taken, wrong, read = [], 0, self._peer.read
        deadline = time.perf_counter() + seconds
        for name in names:
            started = time.perf_counter_ns()
            value = read(name)
            ended = time.perf_counter_ns()
            taken.append(ended - started)
            wrong += value != (None if version is None else value_of(name, version))
            if ended > deadline * 1e9:
                break
        return {"ns": taken, "wrong": wrong}

    def share(self, prefix: str, shared: str, count: int, version: int, seconds: float) -> dict:
        """One of several writers: items of its own, and one that all of them write."""
        acknowledged, errors = [], {}
        deadline = time.monotonic() + seconds
        for number in range(count):
            own = f"{prefix}{number}"
            for name in (own, shared) if number % 4 == 0 else (own,):
                try:
                    self._peer.write(name, value_of(name, version))
                except Exception as exc:
                    errors[type(exc).__name__] = errors.get(type(exc).__name__, 0) + 1
                else:
                    acknowledged.append(name)
            if time.monotonic() > deadline:
                break
        return {"acknowledged": acknowledged, "errors": errors}

    def check(self, expected: dict) -> dict:
        """Which items do not have one of the versions that they may have."""
        lost, unreadable = [], {}
        for name, versions in expected.items():
            try:
                value = self._peer.read(name)
            except Exception as exc:
                unreadable[type(exc).__name__] = unreadable.get(type(exc).__name__, 0) + 1
                lost.append(name)
            else:
                if value not in [value_of(name, version) for version in versions]:
                    lost.append(name)
        return {"lost": lost, "unreadable": unreadable}

    def pour(self, prefix: str, names: int, version: int) -> dict:
        """Write for ever, over and over the same names, with a line for each that is done."""
        number = 0
        while True:
            name = f"{prefix}{number % names}"
            self._peer.write(name, value_of(name, version + number // names))
            number += 1
            print(number, flush=True)

    def memory(self) -> dict:
        """Resident memory now and at its highest, in bytes (Linux)."""
        with open("/proc/self/status") as status:
            fields = dict(line.split(":", 1) for line in status)
        return {
            key: int(fields[field].split()[0]) * 1024
            for key, field in (("now", "VmRSS"), ("peak", "VmHWM"))
        }


def main() -> int:
    """Serve orders until standard input ends."""
    worker = Worker(*sys.argv[1:3])
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = getattr(worker, order.pop("do"))(**order)
        except Exception as exc:
            answer = {"error": f"{type(exc).__name__}: {' '.join(str(exc).split())[:80]}"}
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
