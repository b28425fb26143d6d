"""SIGKILL at a random moment of a write: what is lost, and what the next process meets."""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from catalogue import PEERS, TOKENKEEP, Peer, Place, say
from effort import Effort
from measure import PeerFailed
from report import Row, failed, judged, number
from values import name_of
from workers import Worker

MEASURE = "SIGKILL while writing: trials with a loss; ms to open and read afterwards"
NAMES = 20
#: A trial's kill comes within so many seconds after its first acknowledged write.
WITHIN_SECONDS = 0.15
OPEN_MS = 100.0


@dataclass
class Trials:
    """What the trials of one peer showed."""

    done: int = 0
    acknowledged: int = 0
    lossy: int = 0
    lost: int = 0
    older_lost: int = 0
    refused: int = 0
    open_ms: list[float] = field(default_factory=list)
    errors: set[str] = field(default_factory=set)


def kills(effort: Effort) -> list[Row]:
    """A process writes the same twenty items over and over; another one then looks."""
    rows = []
    for peer in PEERS:
        say(f"SIGKILL: {peer.title}")
        trials = Trials()
        wanted = effort.own_kills if peer is TOKENKEEP else effort.kills
        deadline = time.monotonic() + effort.kills_seconds
        try:
            while _goes_on(trials, wanted, deadline):
                _until_a_loss(peer, effort, trials, wanted, deadline)
        except PeerFailed as exc:
            rows.append(failed(MEASURE, peer.title, exc))
            continue
        rows.append(_row(peer, trials))
    return rows


def _until_a_loss(peer: Peer, effort: Effort, trials: Trials, wanted: int, deadline: float) -> None:
    """Trials on one store: after a loss or a refusal the next trial gets a new one."""
    with peer.place() as place:
        with peer.worker(place) as worker:
            worker.ask(do="open")
            filled = worker.ask(do="fill", start=0, stop=NAMES, seconds=effort.writers_seconds)[
                "done"
            ]
        older = {name_of(at): [0] for at in range(filled)}
        known: dict[str, list[int]] = {}
        for first in _versions():
            if not _goes_on(trials, wanted, deadline):
                return
            count = _kill(peer, place, first)
            trials.acknowledged += count
            _expect(known, first, count)
            if not _look(peer, place, trials, known, older):
                return


def _goes_on(trials: Trials, wanted: int, deadline: float) -> bool:
    return not trials.done or (trials.done < wanted and time.monotonic() < deadline)


def _versions() -> Iterator[int]:
    """First versions of a trial, so far apart that no two trials write the same value."""
    version = 1
    while True:
        yield version
        version += 1_000_000


def _kill(peer: Peer, place: Place, first: int) -> int:
    """One process, killed; how many writes it had acknowledged."""
    worker = peer.worker(place)
    try:
        worker.ask(do="open")
        worker.send(do="pour", prefix="poured-", names=NAMES, version=first)
        started = time.monotonic()
        line = worker.line()
        one_write = min(time.monotonic() - started, 1.0)
        if not line.strip().isdigit():
            raise PeerFailed(f"the first write failed: {line.strip()[:100]}")
        within = max(WITHIN_SECONDS, 2 * one_write)
        time.sleep(within * secrets.randbelow(1000) / 1000)
        lines = [line, *worker.kill()]
    finally:
        worker.close()
    return max(int(each) for each in lines if each.endswith("\n") and each.strip().isdigit())


def _expect(known: dict[str, list[int]], first: int, count: int) -> None:
    """What may be there after `count` acknowledged writes of one process."""
    for at in range(min(count, NAMES)):
        known[f"poured-{at}"] = [first + (count - 1 - at) // NAMES]
    # The write in flight may have happened: on a name that was there already, or on a new one.
    in_flight = f"poured-{count % NAMES}"
    if in_flight in known:
        known[in_flight].append(first + count // NAMES)


def _look(
    peer: Peer,
    place: Place,
    trials: Trials,
    expected: dict[str, list[int]],
    older: dict[str, list[int]],
) -> bool:
    """What the next process finds; False if this store is no good for another trial."""
    trials.done += 1
    with peer.worker(place) as worker:
        try:
            worker.ask(do="load")
            opened = worker.ask(do="open")["seconds"]
            first = worker.ask(do="read", names=[name_of(0)], version=0, seconds=60)
        except PeerFailed as exc:
            trials.lossy += 1
            trials.older_lost += len(older)
            trials.lost += len(expected)
            trials.errors.add(str(exc))
            return False
        trials.open_ms.append((opened + first["ns"][0] / 1e9) * 1000)
        lost = worker.ask(do="check", expected=expected)
        lost_older = worker.ask(do="check", expected=older)
        trials.errors.update(lost["unreadable"])
        trials.lost += len(lost["lost"])
        trials.older_lost += len(lost_older["lost"])
        is_lossy = bool(lost["lost"] or lost_older["lost"])
        trials.lossy += is_lossy
        return _still_writes(worker, trials) and not is_lossy


def _still_writes(worker: Worker, trials: Trials) -> bool:
    try:
        worker.ask(do="write", names=["afterwards"], version=0, seconds=60)
    except PeerFailed as exc:
        trials.refused += 1
        trials.errors.add(f"the next write: {exc}")
        return False
    return True


def _row(peer: Peer, trials: Trials) -> Row:
    if not trials.done:
        return failed(MEASURE, peer.title, "no trial was over in time")
    worst = max(trials.open_ms, default=float("inf"))
    parts = [f"{trials.acknowledged:,} acknowledged writes"]
    if trials.lossy:
        parts.append(f"lost: {trials.lost} acknowledged items, {trials.older_lost} older ones")
    if trials.refused:
        parts.append(f"the next write was refused {trials.refused} times")
    parts += sorted(trials.errors)[:2]
    median = statistics.median(trials.open_ms) if trials.open_ms else None
    opened = "never opened" if median is None else f"{number(median)} (worst {number(worst)})"
    row = Row(
        MEASURE,
        peer.title,
        f"{trials.lossy} of {trials.done}; {opened}",
        remarks="; ".join(parts),
        data={**vars(trials), "errors": sorted(trials.errors)},
    )
    if peer is TOKENKEEP:
        good = not trials.lossy and not trials.refused and worst < OPEN_MS
        row.target = judged(f"0, next open < {OPEN_MS:.0f} ms", good)
    return row
