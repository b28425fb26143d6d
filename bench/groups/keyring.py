"""The same gnome-keyring through tokenkeep and through keyring: a cold get, reads, writes."""

from __future__ import annotations

import statistics
from contextlib import ExitStack

from catalogue import KEYRING, SERVICE, Peer, Place, say
from effort import Effort
from environments import program_of
from measure import Command, PeerFailed, interleave
from report import Row, failed, judged, number
from values import name_of, value_of
from workers import Worker

from groups.start import bare, whole_process

GET = "Secret Service, cold get, whole process: CPU ms; ratio to `python -c pass`"
READ = "Secret Service, warm read: ms; ratio to keyring's in the same run"
MISS = "Secret Service, warm read of what is not there: ms; ratio to keyring's in the same run"
WRITE = "Secret Service, warm write over an item: ms; ratio to keyring's in the same run"
#: The items that a person's keyring holds, and so many that the daemon's part is seen to grow.
HELD, MANY = 20, 100
NEW, NEW_AMONG_MANY = (
    f"Secret Service, warm write of a new item beside {held}: ms; ratio to keyring's in the run"
    for held in (HELD, MANY)
)
#: The targets, as parts of what keyring takes.
PART_OF_GET, PART_OF_READ, PART_OF_WRITE = 1 / 3, 1 / 8, 1 / 4
_REMARKS = {
    MISS: "the keyring is seen unlocked before and after, in one round trip",
    NEW: "most of it is the daemon's, which encrypts and writes its whole file twice",
    NEW_AMONG_MANY: "not judged: it shows how the daemon's part grows with its file",
}
#: Reads or writes of one peer before it is the other one's turn.
TURN = 5
#: An item of each peer for its command, and one that it reads and writes over.
_GOT = (name_of(10), name_of(11))
_KEPT = (name_of(20), name_of(21))
#: The numbers of the items that only fill the keyring begin here, those of new ones there.
_FILLING, _FRESH = 100, 1_000


def _get(place: Place, name: str) -> list[str]:
    tokenkeep = program_of("tokenkeep", "tokenkeep")
    return [tokenkeep, "--app", SERVICE, "--store", "secret-service", "get", name]


TOKENKEEP = Peer(
    "tokenkeep, gnome-keyring",
    "tokenkeep",
    "tokenkeep_secret_service",
    "import tokenkeep",
    _get,
    "tokenkeep --store secret-service get",
    needs_desktop=True,
)
BOTH = (TOKENKEEP, KEYRING)


def keyring(effort: Effort) -> list[Row]:
    """Both on one daemon, by turns."""
    try:
        with KEYRING.place() as place:
            return [*_cold(place, effort), *_warm(place, effort)]
    except PeerFailed as exc:
        return [failed(GET, peer.title, exc) for peer in BOTH]


def _cold(place: Place, effort: Effort) -> list[Row]:
    say("cold get through the Secret Service")
    # Items of their own: keyring's command reads what keyring wrote.
    names = dict(zip((peer.title for peer in BOTH), _GOT, strict=True))
    pairs = []
    for peer in BOTH:
        name = names[peer.title]
        with peer.worker(place) as worker:
            worker.ask(do="open")
            worker.ask(do="write", names=[name], version=1, seconds=60)
        command = peer.command(place, name)
        get = Command(peer.title, command, place.variables, value_of(name, 1))
        pairs.append((peer, get, bare(peer, place)))
    commands = [command for _peer, *pair in pairs for command in pair]
    interleave(commands, effort.process_rounds, effort.seconds_per_command)
    rows = []
    for peer, get, idle in pairs:
        problem = get.failure or idle.failure
        rows.append(
            failed(GET, peer.title, problem)
            if problem
            else whole_process(GET, peer.title, get, idle, peer.through)
        )
    ours, theirs = pairs[0][1], pairs[1][1]
    if ours.cpu and theirs.cpu:
        part = ours.median / theirs.median
        rows[0].target = judged("<= 1/3 keyring", part <= PART_OF_GET)
        rows[0].remarks += f"; {part:.2f} of `keyring get`"
    return rows


def _orders(peer: int, turn: int) -> list[tuple[str, dict[str, object]]]:
    """What a peer is asked for in a turn; the names that it makes and misses are its own."""
    kept = [_KEPT[peer]] * TURN
    new = _new(peer, turn)
    missed = [f"no {name}" for name in new]
    return [
        (WRITE, {"do": "write", "names": kept, "version": turn}),
        (READ, {"do": "read", "names": kept, "version": turn}),
        (NEW, {"do": "write", "names": new, "version": turn}),
        (MISS, {"do": "read", "names": missed, "version": None}),
    ]


def _orders_among_many(peer: int, turn: int) -> list[tuple[str, dict[str, object]]]:
    return [(NEW_AMONG_MANY, {"do": "write", "names": _new(peer, turn), "version": turn})]


def _new(peer: int, turn: int) -> list[str]:
    first = _FRESH + (2 * turn + peer) * TURN
    return [name_of(number) for number in range(first, first + TURN)]


def _fill(ours: Worker, held: int) -> None:
    """Has the keyring hold so many items, and those that a turn makes."""
    others = len(_GOT) + len(_KEPT)
    filled = ours.ask(do="fill", start=_FILLING, stop=_FILLING + held - others, seconds=60)
    if filled["done"] != held - others:
        raise PeerFailed("the keyring could not be filled")


def _warm(place: Place, effort: Effort) -> list[Row]:
    say("warm reads and writes through the Secret Service")
    turns = max(4, effort.process_rounds)
    taken: dict[tuple[str, str], list[int]] = {}
    with ExitStack() as stack:
        workers = [(peer, stack.enter_context(peer.worker(place))) for peer in BOTH]
        for kept, (_peer, worker) in zip(_KEPT, workers, strict=True):
            worker.ask(do="open")
            worker.ask(do="write", names=[kept], version=0, seconds=60)
        for held, orders in ((HELD, _orders), (MANY, _orders_among_many)):
            _fill(workers[0][1], held)
            for turn in range(turns):
                for number_, (peer, worker) in enumerate(workers):
                    for measure, order in orders(number_, turn):
                        answer = worker.ask(**order, seconds=60)
                        if answer.get("wrong"):
                            raise PeerFailed("it read something else than was written")
                        taken.setdefault((measure, peer.title), []).extend(answer["ns"])
                    worker.ask(do="delete", names=_new(number_, turn))
    rows = []
    for measure, part, rule in (
        (READ, PART_OF_READ, "<= 1/8 keyring"),
        (MISS, None, ""),
        (WRITE, PART_OF_WRITE, "<= 1/4 keyring"),
        (NEW, PART_OF_WRITE, "<= 1/4 keyring"),
        (NEW_AMONG_MANY, None, ""),
    ):
        medians = {peer: statistics.median(taken[measure, peer.title]) / 1e6 for peer in BOTH}
        ratio = medians[TOKENKEEP] / medians[KEYRING]
        for peer in BOTH:
            row = Row(
                measure,
                peer.title,
                number(medians[peer]),
                f"{medians[peer] / medians[KEYRING]:.3f}",
                (medians[peer],),
                data={"ns": taken[measure, peer.title]},
            )
            if peer is TOKENKEEP:
                if part is not None:
                    row.target = judged(rule, ratio <= part)
                row.remarks = _REMARKS.get(measure, "one kept connection and session")
            else:
                row.remarks = "a connection and a session for each call"
            rows.append(row)
    return rows
