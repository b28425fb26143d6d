"""The session protocol's programs in one world, explored exhaustively.

The world that processes share is one value: log, record, fence, server. `explore` plays every
interleaving of their steps with every crash, refused write and lost answer that a budget allows,
and checks the promises in every state. A `mutation` breaks the protocol in one place; the model is
worth something because it notices each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from session.programs import PROGRAMS, Record, Rules, Step, Token


class Family(NamedTuple):
    """A login at the server: the number of the one token that is good, and whether it ended."""

    current: int = 0
    revoked: bool = False


#: How a state was reached, last step outermost.
Path = tuple[Any, ...]


class Local(NamedTuple):
    """One process: what it is to do, how far it is, what it keeps in memory only.

    `answers` begins with what was unsaved when the program began.
    """

    todo: tuple[str, ...]
    program: str = ""
    answers: tuple[Any, ...] = ()
    unsaved: Record | None = None


class World(NamedTuple):
    """Everything that is shared, what may still go wrong, and what has been (for the promises).

    Attributes:
        live: the session the log says lives.
        families: the server's logins, by session.
        ended: sessions the log has ended.
        signed_out: those that no login replaced; superseded: those of them before a login.
        sent: refresh tokens that were on the wire.
        redeeming: processes between sending and keeping what came.
        blurred: sessions of which nobody can be asked to know everything: a crash, a lost answer.
        reported: sessions whose sign-out said that the erasing was left to others.
    """

    processes: tuple[Local, ...]
    live: int | None = 0
    record: Record | None = Record(0, 1, Token(0, 0))
    fence: int | None = None
    families: tuple[Family, ...] = (Family(),)
    crashes: int = 0
    refusals: int = 0
    losses: int = 0
    ended: frozenset[int] = frozenset()
    signed_out: frozenset[int] = frozenset()
    superseded: frozenset[int] = frozenset()
    sent: frozenset[Token] = frozenset()
    redeeming: frozenset[int] = frozenset()
    blurred: frozenset[int] = frozenset()
    reported: frozenset[int] = frozenset()


class Broken(AssertionError):
    """A promise was broken; `path` is how."""

    def __init__(self, promise: str, path: Path) -> None:
        steps: list[str] = []
        while path:
            path, label = path
            steps.append(label)
        super().__init__("\n  ".join([promise, *reversed(steps)]))
        self.promise = promise


class Exploration:
    """Plays every interleaving from one start.

    Attributes:
        states: how many different states were seen.
        outcomes: every way a program ended.
        longest: the most steps a program needed, whatever the others did.
    """

    def __init__(self, rules: Rules = Rules()) -> None:  # noqa: B008 - a value
        self.rules = rules
        self.states = 0
        self.outcomes: set[str] = set()
        self.longest: dict[str, int] = {}
        self._following: dict[tuple[str, tuple[Any, ...]], Step | str] = {}

    def explore(self, start: World) -> None:
        """Visits every state that can be reached.

        Raises:
            Broken: a promise was, with the way there.
        """
        seen = {start}
        stack: list[tuple[World, Path]] = [(start, ())]
        while stack:
            world, path = stack.pop()
            is_at_rest = True
            for label, following in self.moves(world, path):
                is_at_rest = False
                if following not in seen:
                    seen.add(following)
                    stack.append((following, (path, label)))
            if is_at_rest:
                _check_at_rest(world, path)
        self.states = len(seen)

    def following(self, process: Local) -> Step | str:
        """The process's next step, or its outcome: a function of the answers it has had."""
        key = (process.program, process.answers)
        found = self._following.get(key)
        if found is None:
            program = PROGRAMS[process.program](self.rules, process.answers[0])
            try:
                found = next(program)
                for answer in process.answers[1:]:
                    found = program.send(answer)
            except StopIteration as end:
                found = str(end.value)
            self._following[key] = found
        return found

    def moves(self, world: World, path: Path) -> Iterator[tuple[str, World]]:
        """Every (label, world) that one step of one process leads to."""
        for number, process in enumerate(world.processes):
            if not process.program:
                yield from _beginnings(world, number, process)
                continue
            step = self.following(process)
            if isinstance(step, str):
                self.outcomes.add(f"{process.program}: {step}")
                steps = len(process.answers) - 1
                self.longest[process.program] = max(self.longest.get(process.program, 0), steps)
                rested = process._replace(program="", answers=())
                yield f"{number} is through: {step}", _with(world, number, rested)
                continue
            for label, changed, answer in self.play(world, number, step, path):
                process_after = changed.processes[number]
                after = process_after._replace(answers=(*process.answers, answer))
                yield f"{number} {step.name} {label}", _with(changed, number, after)
            if world.crashes:
                yield f"{number} is killed before {step.name}", killed(world, number)

    def play(
        self, world: World, number: int, step: Step, path: Path
    ) -> Iterator[tuple[str, World, Any]]:
        """What one step can do: (label, world, answer), the likely one first."""
        name = step.name
        if name == "log.read":
            yield f"-> {world.live}", world, world.live
        elif name == "log.begin":
            superseded = world.superseded | world.signed_out
            changed = _ended(world)._replace(live=step.value, superseded=superseded)
            yield f"{step.value}", changed, None
        elif name == "log.end":
            over = set() if world.live is None else {world.live}
            changed = _ended(world)._replace(signed_out=world.signed_out | over)
            yield "", changed, None
        elif name == "fence.enter":
            if world.fence is None:
                yield "", world._replace(fence=number), True
            else:
                if self.rules.mutation == "steal the fence":
                    yield "by stealing", world._replace(fence=number), True
                yield "in vain", world, False
        elif name in ("fence.leave", "keep"):
            kept = step.value  # nothing, after leaving
            process = world.processes[number]._replace(unsaved=kept)
            fence = None if name == "fence.leave" and world.fence == number else world.fence
            redeeming = world.redeeming - {number}
            changed = _with(world._replace(fence=fence, redeeming=redeeming), number, process)
            yield f"{kept or ''}", changed, None
        elif name == "store.read":
            yield f"-> {world.record}", world, world.record
        elif name == "store.delete":
            yield "", world._replace(record=None), None
        elif name in ("store.write", "store.replace"):
            yield from _written(world, step, path)
        elif name == "report":
            yield "erasing pending", world._replace(reported=world.reported | {step.value}), None
        elif name == "wire.login":
            session = len(world.families)
            changed = world._replace(families=(*world.families, Family()))
            yield f"-> {session}", changed, (session, Token(session, 0))
        elif name == "wire.revoke":
            yield f"{step.value}", _revoked(world, step.value), None
        elif name == "wire.redeem":
            yield from self._redeemed(world, number, step, path)
        else:
            raise AssertionError(f"no such step: {name}")

    def _redeemed(
        self, world: World, number: int, step: Step, path: Path
    ) -> Iterator[tuple[str, World, Any]]:
        token: Token = step.value
        if token in world.sent and not step.more:
            raise Broken("a refresh token was sent twice", path)
        if world.redeeming - {number}:
            raise Broken("two processes redeem at once", path)
        world = world._replace(sent=world.sent | {token}, redeeming=world.redeeming | {number})
        changed, answer = self._served(world, token)
        yield f"{token} -> {answer}", changed, answer
        if world.losses:
            lost = changed._replace(
                losses=world.losses - 1,
                redeeming=changed.redeeming - {number},
                blurred=changed.blurred | {token.session},
            )
            yield f"{token} -> lost", lost, "lost"

    def _served(self, world: World, token: Token) -> tuple[World, Token | str]:
        family = world.families[token.session]
        if family.revoked:
            return world, "refused"
        following = Token(token.session, token.number + 1)
        if token.number == family.current:
            return _put(world, token.session, family._replace(current=following.number)), following
        if self.rules.replay_window and following.number == family.current:
            return world, following
        # A strict server ends the family when a spent token comes again.
        return _put(world, token.session, family._replace(revoked=True)), "refused"


def killed(world: World, number: int) -> World:
    """The operating system takes the fence back, memory is gone, the next start has the rest."""
    return _with(
        world._replace(
            crashes=world.crashes - 1,
            fence=None if world.fence == number else world.fence,
            redeeming=world.redeeming - {number},
            blurred=frozenset(range(len(world.families))),
        ),
        number,
        Local(world.processes[number].todo),
    )


def verdict(world: World, rules: Rules = Rules()) -> str:  # noqa: B008 - a value
    """What the next start says, by the log, the record and the fence."""
    record = world.record
    if record is None or record.session != world.live:
        return "signed out"
    return "uncertain" if record.intent and not rules.replay_window else "active"


def _beginnings(world: World, number: int, process: Local) -> Iterator[tuple[str, World]]:
    answers = (process.unsaved,)
    if process.todo:
        program, *rest = process.todo
        begun = process._replace(todo=tuple(rest), program=program, answers=answers)
        yield f"{number} begins {program}", _with(world, number, begun)
    if process.unsaved is not None:
        begun = process._replace(program="save", answers=answers)
        yield f"{number} begins save", _with(world, number, begun)


def _written(world: World, step: Step, path: Path) -> Iterator[tuple[str, World, Any]]:
    there = world.record
    record: Record = step.value if step.name == "store.write" else step.more
    if step.name == "store.replace" and (there is None or there[:2] != step.value[:2]):
        yield "in conflict", world, "conflict"
        return
    is_same = there is not None and there.session == record.session
    if is_same and there is not None and there.generation > record.generation:
        raise Broken("an older generation was written over a newer", path)
    yield f"{record}", world._replace(record=record), "done"
    if world.refusals:
        yield "is refused", world._replace(refusals=world.refusals - 1), "refused"


def _check_at_rest(world: World, path: Path) -> None:
    """The promises about what remains when every process is through."""
    record, live = world.record, world.live
    holders = [each.unsaved for each in world.processes if each.unsaved is not None]
    if live in world.ended:
        raise Broken("an ended session came back", path)
    if world.fence is not None and not holders:
        raise Broken("the fence was left closed", path)
    excused = world.blurred | world.reported
    if record is not None and record.session != live and record.session not in excused:
        raise Broken("a dead record was left behind", path)
    # Where somebody signed in anew it is reported instead: it may be the same grant.
    for session in world.signed_out - world.blurred - world.superseded:
        if not world.families[session].revoked:
            raise Broken("the newest token of an ended session was not revoked", path)
    if record is not None and record.session == live:
        family = world.families[record.session]
        newest = Token(record.session, family.current)
        is_known = record.token == newest or record.intent or family.revoked
        if not is_known and newest not in [each.token for each in holders]:
            raise Broken("a rotated token was lost and nobody knows", path)


def _ended(world: World) -> World:
    if world.live is None:
        return world
    return world._replace(live=None, ended=world.ended | {world.live})


def _with(world: World, number: int, process: Local) -> World:
    processes = list(world.processes)
    processes[number] = process
    return world._replace(processes=tuple(processes))


def _revoked(world: World, token: Token) -> World:
    family = world.families[token.session]
    if token.number != family.current:
        return world  # revoking a spent token does nothing at this server
    return _put(world, token.session, family._replace(revoked=True))


def _put(world: World, session: int, family: Family) -> World:
    families = list(world.families)
    families[session] = family
    return world._replace(families=tuple(families))
