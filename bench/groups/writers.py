"""Eight processes that write at once: updates that were acknowledged and are not there."""

from __future__ import annotations

from contextlib import ExitStack

from catalogue import PEERS, TOKENKEEP, Peer, say
from effort import Effort
from measure import PeerFailed
from report import Row, failed, judged
from values import name_of

MEASURE = "8 processes writing at once: acknowledged updates that are lost, of all acknowledged"
WRITERS = 8
OLDER = 20


def writers(effort: Effort) -> list[Row]:
    """Items of their own, and one that all of them write."""
    rows = []
    for peer in PEERS:
        say(f"8 writers: {peer.title}")
        try:
            rows.append(_race(peer, effort))
        except PeerFailed as exc:
            rows.append(failed(MEASURE, peer.title, exc))
    return rows


def _race(peer: Peer, effort: Effort) -> Row:
    with peer.place() as place:
        with peer.worker(place) as worker:
            worker.ask(do="open")
            filled = worker.ask(do="fill", start=0, stop=OLDER, seconds=effort.writers_seconds)
        answers, errors = [], {}
        with ExitStack() as stack:
            processes = [stack.enter_context(peer.worker(place)) for _each in range(WRITERS)]
            for process in processes:
                process.send(do="open")
            opened = []
            for process in processes:
                try:
                    process.answer()
                    opened.append(process)
                except PeerFailed as exc:
                    errors[f"open: {exc}"] = errors.get(f"open: {exc}", 0) + 1
            for number, process in enumerate(opened):
                process.send(
                    do="share",
                    prefix=f"writer{number}-",
                    shared="shared",
                    count=effort.writes_each,
                    version=number,
                    seconds=effort.writers_seconds,
                )
            answers = [process.answer() for process in opened]
        expected: dict[str, list[int]] = {}
        for version, answer in enumerate(answers):
            for name in answer["acknowledged"]:
                expected.setdefault(name, []).append(version)
            for kind, count in answer["errors"].items():
                errors[kind] = errors.get(kind, 0) + count
        older = {name_of(number): [0] for number in range(filled["done"])}
        with peer.worker(place) as worker:
            worker.ask(do="open")
            found = worker.ask(do="check", expected=expected)
            found_older = worker.ask(do="check", expected=older)
    lost, lost_older = len(found["lost"]), len(found_older["lost"])
    # Many acknowledgements of the shared item are one update that has to be there.
    row = Row(
        MEASURE,
        peer.title,
        f"{lost} of {len(expected)}",
        remarks=_told(lost_older, len(older), found, errors),
        data={"expected": len(expected), **found, "older": found_older, "errors": errors},
    )
    if peer is TOKENKEEP:
        row.target = judged("0", lost == 0 and lost_older == 0 and not errors and bool(expected))
    return row


def _told(
    lost_older: int, older: int, found: dict[str, dict[str, int]], errors: dict[str, int]
) -> str:
    parts = []
    if lost_older:
        parts.append(f"{lost_older} of {older} older items lost too")
    if found["unreadable"]:
        kinds = ", ".join(f"{kind} x{count}" for kind, count in found["unreadable"].items())
        parts.append(f"reading says {kinds}")
    if errors:
        kinds = ", ".join(f"{kind} x{count}" for kind, count in errors.items())
        parts.append(f"writes refused: {kinds}")
    return "; ".join(parts)
