"""What starting costs: a whole-process `get`, the import alone, memory."""

from __future__ import annotations

import os
from contextlib import ExitStack

from catalogue import PEERS, SQLITE, TOKENKEEP, Peer, Place, say
from effort import Effort
from environments import python_of
from measure import Command, PeerFailed, interleave
from report import Row, failed, judged, number
from values import name_of, value_of

NAME = name_of(1)
GET = "cold get, whole process: CPU ms; ratio to `python -c pass` of the same environment"
IMPORT = "import: CPU ms over `python -c pass`; ratio to it"
MEMORY = "memory after one read: MB over the same process without a store; ratio to that"
#: The targets: at most so many times a bare interpreter, and less than this part of `keyring get`.
COLD_RATIO = 3.5
PART_OF_KEYRING = 0.25
IMPORT_MS = 5.0


def cold_get(effort: Effort) -> list[Row]:
    """`get` as a person or a script runs it, each beside a bare interpreter."""
    rows: dict[str, Row] = {}
    measured: list[tuple[Peer, Command, Command]] = []
    with ExitStack() as stack:
        for peer in PEERS:
            try:
                place = stack.enter_context(peer.place())
                _keep(peer, place)
            except PeerFailed as exc:
                rows[peer.title] = failed(GET, peer.title, exc)
                continue
            get = Command(peer.title, peer.command(place, NAME), place.variables, value_of(NAME, 1))
            measured.append((peer, get, bare(peer, place)))
        say("cold get of a whole process")
        commands = [command for _peer, *pair in measured for command in pair]
        interleave(commands, effort.process_rounds, effort.seconds_per_command)
    keyring = next((get for peer, get, _ in measured if peer.needs_desktop and get.cpu), None)
    for peer, get, idle in measured:
        if get.failure or idle.failure:
            rows[peer.title] = failed(GET, peer.title, get.failure or idle.failure)
            continue
        row = whole_process(GET, peer.title, get, idle, peer.through)
        if peer is TOKENKEEP:
            _judge(row, get, idle, keyring)
        rows[peer.title] = row
    return [rows[peer.title] for peer in PEERS]


def import_cost(effort: Effort) -> list[Row]:
    """The import alone, each beside a bare interpreter."""
    say("import")
    measured = []
    for peer in PEERS:
        variables = clean_variables()
        command = Command(peer.title, [python_of(peer.environment), "-c", peer.imports], variables)
        idle = Command(peer.title, [python_of(peer.environment), "-c", "pass"], variables)
        measured.append((peer, command, idle))
    commands = [command for _peer, *pair in measured for command in pair]
    interleave(commands, effort.process_rounds, effort.seconds_per_command)
    rows = []
    for peer, command, idle in measured:
        if command.failure:
            rows.append(failed(IMPORT, peer.title, command.failure))
            continue
        over = (command.median - idle.median) * 1000
        row = Row(
            IMPORT,
            peer.title,
            number(over) if over > 0 else "0",
            number(command.median / idle.median),
            remarks=peer.imports,
            data={"cpu": command.cpu, "bare_cpu": idle.cpu},
        )
        if peer is TOKENKEEP:
            row.target = judged(f"<= {IMPORT_MS:.0f} ms", over <= IMPORT_MS)
            row.remarks += " (the rest is imported when it is first used)"
        rows.append(row)
    return rows


def memory(effort: Effort) -> list[Row]:
    """Resident memory of a process that opened a store and read one item."""
    say("memory")
    rows = []
    for peer in (SQLITE, *PEERS):
        try:
            with peer.place() as place:
                with peer.worker(place) as writer:
                    empty = writer.ask(do="memory")["now"]
                    writer.ask(do="open")
                    writer.ask(do="write", names=[NAME], version=1, seconds=60)
                with peer.worker(place) as reader:
                    reader.ask(do="open")
                    if reader.ask(do="read", names=[NAME], version=1, seconds=60)["wrong"]:
                        raise PeerFailed("it read something else than was written")
                    used = reader.ask(do="memory")
        except PeerFailed as exc:
            rows.append(failed(MEMORY, peer.title, exc))
            continue
        now, peak = ((used[key] - empty) / 1e6 for key in ("now", "peak"))
        rows.append(
            Row(
                MEMORY,
                peer.title,
                f"{number(now)} (peak {number(peak)})",
                number(used["now"] / empty),
                (now,),
                remarks="" if peer is not SQLITE else "for comparison",
                data={"empty": empty, **used},
            )
        )
    return rows[1:] + rows[:1]


def clean_variables() -> dict[str, str]:
    """Variables of a process that keeps nothing."""
    return {"PATH": os.defpath, "LANG": "C.UTF-8"}


def _keep(peer: Peer, place: Place) -> None:
    if peer.prepare is not None:
        peer.prepare(place, NAME, value_of(NAME, 1))
        return
    with peer.worker(place) as worker:
        worker.ask(do="open")
        worker.ask(do="write", names=[NAME], version=1, seconds=60)


def bare(peer: Peer, place: Place) -> Command:
    """`python -c pass` of a peer's environment."""
    arguments = [python_of(peer.environment), "-c", "pass"]
    return Command(f"python for {peer.title}", arguments, place.variables)


def whole_process(measure: str, who: str, command: Command, idle: Command, how: str) -> Row:
    """The row of a command that was run beside a bare interpreter."""
    return Row(
        measure,
        who,
        number(command.median * 1000),
        number(command.median / idle.median),
        (command.median,),
        remarks=how,
        data={"cpu": command.cpu, "bare_cpu": idle.cpu},
    )


def _judge(row: Row, command: Command, idle: Command, keyring: Command | None) -> None:
    """The verdict on a whole process of ours: beside a bare interpreter, and beside keyring."""
    holds = command.median <= COLD_RATIO * idle.median
    rule = f"<= {COLD_RATIO} x"
    if keyring is None:
        row.remarks += "; keyring was not run beside it"
    else:
        part = command.median / keyring.median
        rule += ", < 1/4 keyring"
        row.remarks += f"; {part:.2f} of `keyring get`"
        holds = holds and part < PART_OF_KEYRING
    row.target = judged(rule, holds)
