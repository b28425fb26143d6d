"""Writers killed at random moments: what was acknowledged is there, and nobody waits."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tokenkeep.secret import Secret
from tokenkeep.vault.check import check
from vault import writer
from vault.places import call, item, open_store, open_vault

WRITERS = 8


class Writers:
    """Processes that write, what they acknowledged, and one new for each that is killed."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.acknowledged: dict[str, int] = {}
        self.logs = 0
        self.running: dict[int, tuple[subprocess.Popen[bytes], Path]] = {}

    def start(self, number: int) -> None:
        self.logs += 1
        log = self.place / f"log {self.logs}"
        count = self.acknowledged.get(f"own {number}", 0)
        with log.open("wb") as out, log.with_suffix(".err").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, writer.__file__, str(self.place), str(number), str(count)],
                stdout=out,
                stderr=err,
            )
        self.running[number] = process, log

    def wait_until_all_write(self) -> None:
        """Whatever else this machine is doing: the kills are to meet writes, not start-ups."""
        deadline = time.monotonic() + 60
        while not all(log.stat().st_size for _process, log in self.running.values()):
            assert time.monotonic() < deadline, "the writers do not write"
            time.sleep(0.01)

    def kill(self, number: int) -> None:
        process, log = self.running.pop(number)
        assert process.poll() is None, log.with_suffix(".err").read_text()
        process.kill()
        process.wait()
        for line in log.read_text().splitlines():
            name, _space, count = line.rpartition(" ")
            self.acknowledged[name] = max(self.acknowledged.get(name, 0), int(count))


def kill_writers(place: Path, kills: int) -> None:
    dice = random.Random(7)
    writers = Writers(place)
    slowest = 0.0
    first = open_store(place)
    first.write(item("first"), Secret("made"), call())
    first.close()
    try:
        for number in range(WRITERS):
            writers.start(number)
        writers.wait_until_all_write()
        for _ in range(kills):
            number = dice.randrange(WRITERS)
            time.sleep(dice.uniform(0.0, 0.08))
            writers.kill(number)
            began = time.perf_counter()
            store = open_store(place, create=False)
            store.read(item("own 0"), call())
            store.close()
            slowest = max(slowest, time.perf_counter() - began)
            writers.start(number)
    finally:
        for number in list(writers.running):
            writers.kill(number)
    assert len(writers.acknowledged) > WRITERS
    store = open_store(place, create=False)
    for name, count in sorted(writers.acknowledged.items()):
        found = store.read(item(name), call())
        assert found is not None, name
        there, _space, payload = found.reveal().partition(" ")
        # One more may have been written and not yet acknowledged.
        assert int(there) >= count, name
        assert payload == writer.PAYLOAD
    store.close()
    report = check(open_vault(place), call)
    assert report.is_well, report
    assert report.quarantined == 0
    assert slowest < 0.1
    assert {"header", "lock", "room", "vault.db", "vault.db-shm", "vault.db-wal"} >= {
        path.name for path in (place / "vault").iterdir()
    }


def test_few_kills_lose_no_acknowledged_write(tmp_path: Path) -> None:
    """Eight writers, twelve SIGKILLs: no acknowledged write lost, none damaged, no stale lock."""
    kill_writers(tmp_path, 12)


@pytest.mark.load
@pytest.mark.timeout(600)
def test_200_kills_lose_no_acknowledged_write(tmp_path: Path) -> None:
    """The same with two hundred."""
    kill_writers(tmp_path, 200)
