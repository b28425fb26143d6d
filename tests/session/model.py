"""The session protocol's programs in one world, explored exhaustively.

The world that processes share is one value: log, record, fence, server. `explore` plays every
interleaving of their steps with every crash, refused write, log without room, lost answer and
refresh on a host that the fence does not reach that a budget allows, and checks the promises in
every state. They are judged by what the world has seen, never by what a program says of itself:
`test_mutations.py` breaks the programs in one place each, and every one is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from session.programs import MISSING, PROGRAMS, Program, Record, Rules, Step, Token


class Family(NamedTuple):
    """A login at the server: the number of the one token that is good, and whether it ended."""

    current: int = 0
    revoked: bool = False


#: How a state was reached, last step outermost.
Path = tuple[Any, ...]


class Local(NamedTuple):
    """One process: what it is to do, how far it is, what it keeps in memory only.

    `answers` begins with what was unsaved when the program began.

    Attributes:
        found: the session that could be had when a sign-out began, until that has ended it.
        seen: what the log said at the step before; for those who send refresh tokens.
    """

    todo: tuple[str, ...]
    program: str = ""
    answers: tuple[Any, ...] = ()
    unsaved: Record | None = None
    found: int | None = None
    seen: int | str = MISSING


class World(NamedTuple):
    """Everything that is shared, what may still go wrong, and what has been (for the promises).

    Attributes:
        log: the session that lives by its word, or the word.
        families: the server's logins, by session.
        crashes, refusals, losses, fulls, elsewhere: how many may still come: a kill, a write that
            the store refuses, an answer that gets lost, a line that the log has no room for, and a
            refresh on another host that was confirmed there.
        complete: sessions whose login came to its end, and was not in a killed memory only.
        ended: sessions the log has ended.
        signed_out: those that no login replaced; superseded: those of them before a login.
        sent: refresh tokens that were on the wire.
        redeeming: processes between sending and keeping what came.
        blurred: sessions of which nobody can be asked to know everything: a crash, a lost answer.
        reported: sessions whose sign-out said that the erasing was left to others.
        trodden: those whose record a sign-out erased that the log had no room for.
    """

    processes: tuple[Local, ...]
    log: int | str = 0
    record: Record | None = Record(0, 1, Token(0, 0))
    fence: int | None = None
    families: tuple[Family, ...] = (Family(),)
    crashes: int = 0
    refusals: int = 0
    losses: int = 0
    fulls: int = 0
    elsewhere: int = 0
    complete: frozenset[int] = frozenset({0})
    ended: frozenset[int] = frozenset()
    signed_out: frozenset[int] = frozenset()
    superseded: frozenset[int] = frozenset()
    sent: frozenset[Token] = frozenset()
    redeeming: frozenset[int] = frozenset()
    blurred: frozenset[int] = frozenset()
    reported: frozenset[int] = frozenset()
    trodden: frozenset[int] = frozenset()

    @property
    def live(self) -> int | None:
        """The session that lives by the log's word."""
        return self.log if isinstance(self.log, int) else None

    def found(self, rules: Rules) -> int | None:
        """The session that lives, or that a fresh install would go on with."""
        is_left_over = self.log == MISSING and rules.keeps and self.record is not None
        return self.record.session if is_left_over and self.record is not None else self.live


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

    def __init__(
        self,
        rules: Rules = Rules(),  # noqa: B008 - a value
        programs: Mapping[str, Callable[[Rules, Record | None], Program]] = PROGRAMS,
    ) -> None:
        self.rules = rules
        self._programs = programs
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
                    _check(following, (path, label))
                    stack.append((following, (path, label)))
            if is_at_rest:
                _check_at_rest(world, path)
        self.states = len(seen)

    def following(self, process: Local) -> Step | str:
        """The process's next step, or its outcome: a function of the answers it has had."""
        key = (process.program, process.answers)
        found = self._following.get(key)
        if found is None:
            program = self._programs[process.program](self.rules, process.answers[0])
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
        if world.elsewhere and _can_be_refreshed_elsewhere(world):
            yield "another host refreshes", _refreshed_elsewhere(world)
        for number, process in enumerate(world.processes):
            if not process.program:
                yield from _beginnings(world, number, process, self.rules)
                continue
            step = self.following(process)
            if isinstance(step, str):
                self.outcomes.add(f"{process.program}: {step}")
                steps = len(process.answers) - 1
                self.longest[process.program] = max(self.longest.get(process.program, 0), steps)
                yield f"{number} is through: {step}", _through(world, number, path)
                continue
            for label, changed, answer in self.play(world, number, step, path):
                after = answered(changed, number, answer, world.log)
                yield f"{number} {step.name} {label}", after
            if world.crashes:
                yield f"{number} is killed before {step.name}", killed(world, number)

    def play(
        self, world: World, number: int, step: Step, path: Path
    ) -> Iterator[tuple[str, World, Any]]:
        """What one step can do: (label, world, answer), the likely one first."""
        name = step.name
        if name == "log.read":
            yield f"-> {world.log}", world, world.log
        elif name in ("log.begin", "log.adopt", "log.end"):
            yield from self._appended(world, number, step, path)
        elif name == "fence.steal":  # by nobody, but in a mutation
            yield "", world._replace(fence=number), True
        elif name == "fence.enter":
            if world.fence is None:
                yield "", world._replace(fence=number), True
            else:
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
            yield "", _deleted(world, number), None
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

    def _appended(
        self, world: World, number: int, step: Step, path: Path
    ) -> Iterator[tuple[str, World, Any]]:
        process = world.processes[number]
        if step.name == "log.begin":
            superseded = world.superseded | world.signed_out
            changed = _ended(world, world.live)._replace(log=step.value, superseded=superseded)
        elif step.name == "log.adopt":
            changed = world._replace(log=step.value) if world.log == MISSING else world
        else:
            over = world.found(self.rules)
            changed = _ended(world, over)._replace(log=step.value)
            changed = _with(changed, number, process._replace(found=None))
            if process.program == "logout" and over is not None:
                changed = changed._replace(signed_out=world.signed_out | {over})
            elif over is not None and _has_good_token(world, over):
                raise Broken("a refusal ended a session whose good token lies in the store", path)
        yield f"{step.value}", changed, "done"
        if world.fulls:
            full = world._replace(fulls=world.fulls - 1)
            if process.program == "logout":
                full = _signed_out_in_vain(full, number, self.rules)
            yield f"{step.value} finds no room", full, "failed"

    def _redeemed(
        self, world: World, number: int, step: Step, path: Path
    ) -> Iterator[tuple[str, World, Any]]:
        token: Token = step.value
        process = world.processes[number]
        if token in world.sent and not (self.rules.replay_window or process.program == "confirm"):
            raise Broken("a refresh token was sent twice", path)
        if process.seen != token.session:
            raise Broken("a refresh token was sent a step after its session was ended", path)
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
        if not self.rules.detects_reuse:
            return world, "refused"
        # A strict server ends the family when a spent token comes again.
        return _put(world, token.session, family._replace(revoked=True)), "refused"


def answered(world: World, number: int, answer: Any, log: int | str) -> World:
    """A process goes on from its step with the answer; `log` is what the log said at the step."""
    process = world.processes[number]
    after = process._replace(answers=(*process.answers, answer))
    if process.program in ("refresh", "confirm"):
        after = after._replace(seen=log)
    return _with(world, number, after)


def killed(world: World, number: int) -> World:
    """The operating system takes the fence back, memory is gone, the next start has the rest."""
    unsaved = world.processes[number].unsaved
    return _with(
        world._replace(
            crashes=world.crashes - 1,
            complete=world.complete - {-1 if unsaved is None else unsaved.session},
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
    if record is None or record.session != world.log:
        return "signed out"
    return "uncertain" if record.intent and not rules.replay_window else "active"


def _beginnings(
    world: World, number: int, process: Local, rules: Rules
) -> Iterator[tuple[str, World]]:
    answers = (process.unsaved,)
    if process.todo:
        program, *rest = process.todo
        begun = process._replace(todo=tuple(rest), program=program, answers=answers)
        if program == "logout":
            begun = begun._replace(found=world.found(rules))
        yield f"{number} begins {program}", _with(world, number, begun)
    if process.unsaved is not None:
        begun = process._replace(program="save", answers=answers)
        yield f"{number} begins save", _with(world, number, begun)


def _through(world: World, number: int, path: Path) -> World:
    """What is promised of a program that came to its end, and what is promised from now on."""
    process = world.processes[number]
    if process.program == "logout" and process.found is not None and process.found == world.live:
        raise Broken("a session lives on after it was signed out", path)
    if process.program == "login":
        session, _token = process.answers[1]
        world = world._replace(complete=world.complete | {session})
    if process.program == "restore" and world.record is not None:
        world = world._replace(complete=world.complete | {world.record.session})
    return _with(world, number, Local(process.todo, unsaved=process.unsaved))


def _signed_out_in_vain(world: World, number: int, rules: Rules) -> World:
    """The log goes on saying that the session lives; the record and the tokens in it are to go."""
    record, process = world.record, world.processes[number]._replace(found=None)
    if record is not None and record.session == world.found(rules):
        gone = {record.session}
        world = world._replace(complete=world.complete - gone, signed_out=world.signed_out | gone)
    return _with(world, number, process)


def _deleted(world: World, number: int) -> World:
    record, process = world.record, world.processes[number]
    is_in_vain = process.program == "logout" and process.answers[1:2] == ("failed",)
    if record is not None and is_in_vain:
        # Whatever lies there, in the fence or not: what somebody just then writes, nobody has read.
        gone = {record.session}
        blurred = world.blurred if world.fence == number else world.blurred | gone
        world = world._replace(blurred=blurred, trodden=world.trodden | gone)
    return world._replace(record=None)


def _can_be_refreshed_elsewhere(world: World) -> bool:
    return world.live is not None and _has_good_token(world, world.live)


def _refreshed_elsewhere(world: World) -> World:
    record = world.record
    assert record is not None
    session, generation, token, _intent = record
    family = world.families[session]
    following = Token(session, token.number + 1)
    changed = _put(world, session, family._replace(current=following.number))
    return changed._replace(
        record=Record(session, generation + 1, following),
        elsewhere=world.elsewhere - 1,
        blurred=world.blurred | {session},
    )


def _has_good_token(world: World, session: int) -> bool:
    record, family = world.record, world.families[session]
    return record is not None and (record.token, family.revoked) == (
        Token(session, family.current),
        False,
    )


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


def _check(world: World, path: Path) -> None:
    """The promises about every state."""
    live = world.live
    if live is None or live not in world.complete - world.trodden:
        return
    kept = [world.record, *(each.unsaved for each in world.processes)]
    if not any(record is not None and record.session == live for record in kept):
        raise Broken("a session lives whose record is gone", path)


def _check_at_rest(world: World, path: Path) -> None:
    """The promises about what remains when every process is through."""
    record, live = world.record, world.live
    holders = [each.unsaved for each in world.processes if each.unsaved is not None]
    if live in world.ended:
        raise Broken("an ended session came back", path)
    if world.fence is not None and not holders:
        raise Broken("the fence was left closed", path)
    excused = world.blurred | world.reported
    is_dead = record is not None and world.log not in (record.session, MISSING)
    if record is not None and is_dead and record.session not in excused:
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


def _ended(world: World, session: int | None) -> World:
    return world if session is None else world._replace(ended=world.ended | {session})


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
