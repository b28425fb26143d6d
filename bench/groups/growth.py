"""Warm reads and durable writes while the number of stored items grows.

Each peer takes turns with a bare SQLite database of the same size, batch by batch. Flat means that
the time hardly grows with the number of items. Rows of tokenkeep's own are the first write of a
process over an item, and a new item; "write" is over an item that the process has just put.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from catalogue import PEERS, SQLITE, SQLITE_ORDINARY, TOKENKEEP, Peer, say
from effort import Effort
from measure import PeerFailed
from report import Row, failed, judged, number
from values import VALUE_BYTES, scattered
from workers import ANSWER_SECONDS, Worker

READ_MICROSECONDS = 50.0
WRITE_RATIO = 1.5
FLAT_RATIO = 1.5
FLAT_MICROSECONDS = 15.0
OWN_PATIENCE = 5
#: Slow peers get fewer batches, but never fewer than these.
WHAT_SECONDS = 6.0
LEAST_BATCHES = 2
_WHAT = ("hit", "miss", "write")
_OWN = ("first", "new")


@dataclass
class Grown:
    """What one peer did.

    Attributes:
        micros: by what was done, the median of a call for each size.
        ratios: the same, to bare SQLite in the same moments.
        ordinary: of a new item, to a bare table that keeps its rows and its names in two trees.
        stopped: why there are fewer sizes; "" if there are not.
    """

    micros: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    ratios: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    ordinary: list[float] = field(default_factory=list)
    stopped: str = ""


def growth(effort: Effort) -> list[Row]:
    """Rows for reads that hit, reads that miss, and three kinds of write."""
    sizes = " / ".join(f"{size:,}" for size in effort.sizes)
    headings = {
        "hit": f"warm read of {VALUE_BYTES} bytes at {sizes} items: microseconds, ratio to SQLite",
        "miss": f"warm read of nothing at {sizes} items: microseconds, ratio to bare SQLite",
        "write": f"write at {sizes} items: microseconds, ratio to a bare SQLite WAL FULL commit",
        "first": f"first write over an item at {sizes} items: microseconds, ratio to the same",
        "new": f"new item beside {sizes} items: microseconds, ratio to the same",
    }
    rows: dict[str, list[Row]] = {what: [] for what in headings}
    for peer in PEERS:
        say(f"read and write as items grow: {peer.title}")
        grown = Grown()
        try:
            _grow(peer, effort, grown)
        except PeerFailed as exc:
            grown.stopped = str(exc)
        for what in _what(peer):
            rows[what].append(_row(peer, headings[what], what, grown, effort.sizes))
    return [row for what in headings for row in rows[what]]


def _what(peer: Peer) -> tuple[str, ...]:
    return _WHAT + _OWN if peer is TOKENKEEP else _WHAT


def _grow(peer: Peer, effort: Effort, grown: Grown) -> None:
    beside = (SQLITE, SQLITE_ORDINARY) if peer is TOKENKEEP else (SQLITE,)
    with ExitStack() as stack:
        workers = [
            stack.enter_context(each.worker(stack.enter_context(each.place())))
            for each in (peer, *beside)
        ]
        for worker in workers:
            worker.ask(do="open")
        held = 0
        # Our own targets need every size, so we may take our time over a busy disk.
        limit = effort.fill_seconds * (OWN_PATIENCE if peer is TOKENKEEP else 1)
        for size in effort.sizes:
            order = {"start": held, "stop": size, "seconds": limit}
            workers[0].send(do="fill", **order)
            filled = workers[0].answer(seconds=limit + ANSWER_SECONDS)
            if filled["done"] < size - held:
                grown.stopped = (
                    f"filling stopped at {held + filled['done']:,} items after "
                    f"{filled['seconds']:.0f} s: {size:,} would take more than "
                    f"{limit:.0f} s"
                )
                return
            for yardstick in workers[1:]:
                yardstick.ask(do="fill", **order)
            held = size
            for what in _what(peer):
                _measure(workers, what, size, effort, grown)


def _measure(workers: Sequence[Worker], what: str, size: int, effort: Effort, grown: Grown) -> None:
    """Lets the workers take turns: the peer, bare SQLite and, for new items, an ordinary table."""
    batch = _BATCHES[what]
    medians: list[list[float]] = [[] for _worker in workers[: 3 if what == "new" else 2]]
    deadline = time.monotonic() + WHAT_SECONDS
    for number_ in range(effort.batches + 1):
        for worker, medians_of in zip(workers, medians, strict=False):
            order = batch(size, effort.batch_calls, number_)
            if what == "first":
                worker.ask(do="reopen")
            done = worker.ask(seconds=effort.batch_seconds, **order)
            if what == "new":
                worker.ask(do="delete", names=order["names"])
            if done.get("wrong"):
                raise PeerFailed(f"{done['wrong']} of {len(done['ns'])} reads gave a wrong value")
            if number_:  # the first batch warms up
                medians_of.append(statistics.median(done["ns"]))
        if number_ >= LEAST_BATCHES and time.monotonic() > deadline:
            break
    ours = medians[0]
    grown.micros[what].append(statistics.median(ours) / 1000)
    grown.ratios[what].append(_ratio(ours, medians[1]))
    if what == "new":
        grown.ordinary.append(_ratio(ours, medians[2]))


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    # Batch beside batch: the disk and the machine may change between the first and the last.
    return statistics.median(our / their for our, their in zip(ours, theirs, strict=True))


def _hits(size: int, calls: int, batch: int) -> dict[str, object]:
    return {"do": "read", "names": scattered(calls, size), "version": 0}


def _misses(size: int, calls: int, batch: int) -> dict[str, object]:
    return {"do": "read", "names": [f"absent-{at}" for at in range(calls)], "version": None}


def _writes(size: int, calls: int, batch: int) -> dict[str, object]:
    # The value that is there already, as reads at the next size expect it; stores do not compare.
    return {"do": "write", "names": scattered(calls, size), "version": 0}


def _first_writes(size: int, calls: int, batch: int) -> dict[str, object]:
    return {"do": "write", "names": [*dict.fromkeys(scattered(calls, size))], "version": 0}


def _new_items(size: int, calls: int, batch: int) -> dict[str, object]:
    # Each beside an item that is there: scattered also where a tree is in the order of the names,
    # and beside others in each batch, where there are enough: or whose tree is in that order would
    # know the pages from before.
    beside = scattered(calls * (batch + 1), size)[calls * batch :]
    names = [f"{name}-{batch}-{at}" for at, name in enumerate(beside)]
    return {"do": "write", "names": names, "version": 0}


_BATCHES: dict[str, Callable[[int, int, int], dict[str, object]]] = {
    "hit": _hits,
    "miss": _misses,
    "write": _writes,
    "first": _first_writes,
    "new": _new_items,
}


def _row(peer: Peer, heading: str, what: str, grown: Grown, sizes: tuple[int, ...]) -> Row:
    micros, ratios = grown.micros[what], grown.ratios[what]
    if not micros:
        row = failed(heading, peer.title, grown.stopped)
        row.result = "too slow" if grown.stopped.startswith("filling") else row.result
        return row
    row = Row(
        heading,
        peer.title,
        " / ".join(number(each) for each in micros),
        " / ".join(number(each) for each in ratios),
        micros,
        remarks=grown.stopped,
        data={"micros": micros, "ratios": ratios},
    )
    if peer is TOKENKEEP:
        row.target = _verdict(what, micros, ratios)
        if what == "new":
            ordinary = " / ".join(number(each) for each in grown.ordinary)
            told = f"to an ordinary table, two trees as ours: {ordinary}"
            row.remarks = "; ".join(filter(None, (told, grown.stopped)))
            row.data["ordinary"] = grown.ordinary
        if grown.stopped:
            row.target = "not every size was reached: MISSED"
    elif grown.stopped and len(micros) > 1:
        reached = sizes[len(micros) - 1]
        times = number(micros[-1] / micros[0])
        row.remarks += f"; {times} times the time at {reached:,} that it takes at {sizes[0]:,}"
    return row


def _verdict(what: str, micros: list[float], ratios: list[float]) -> str:
    flat = max(micros) <= max(FLAT_RATIO * micros[0], micros[0] + FLAT_MICROSECONDS)
    if what not in ("hit", "miss"):
        return judged(f"<= {WRITE_RATIO} x, flat", max(ratios) <= WRITE_RATIO and flat)
    holds = max(micros) <= READ_MICROSECONDS and flat
    return judged(f"<= {READ_MICROSECONDS:.0f} us, flat", holds)
