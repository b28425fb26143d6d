"""The session protocol as a small model, explored exhaustively.

Processes are generators that yield the steps of the real code, by the same names, and get each
step's answer. The world they share is one value: log, record, fence, server. `explore` plays every
interleaving of their steps with every crash, refused write and lost answer that a budget allows,
and checks the promises in every state. A `mutation` breaks the protocol in one place; the model is
worth something because it notices each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple


class Token(NamedTuple):
    """A refresh token: the session it belongs to, and which of its rotations it is."""

    session: int
    number: int


class Record(NamedTuple):
    """What the store keeps: which session, its generation, its refresh token, its intent."""

    session: int
    generation: int
    token: Token
    intent: bool = False


class Family(NamedTuple):
    """A login at the server: the number of the one token that is good, and whether it ended."""

    current: int = 0
    revoked: bool = False


class Step(NamedTuple):
    """One step of a process; `name` is what the real code's trace calls it."""

    name: str
    value: Any = None
    more: Any = None


Program = Generator[Step, Any, str]
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


class Rules(NamedTuple):
    """How the server and the protocol behave in one exploration; `mutation` breaks one step."""

    replay_window: bool = False
    mutation: str = ""


# The programs: what the library does, step by step.


def login(rules: Rules, unsaved: Record | None) -> Program:
    session, token = yield Step("wire.login")
    if unsaved is None and not (yield Step("fence.enter")):
        return "unavailable"
    yield Step("log.begin", session)
    fresh = Record(session, 1, token)
    written = yield Step("store.write", fresh)
    if (yield Step("log.read")) != session:
        yield from erase_dead()
        yield Step("wire.revoke", token)
        yield Step("fence.leave")
        return "signed out meanwhile"
    if written == "refused":
        yield Step("keep", fresh)
        return "memory only"
    yield Step("fence.leave")
    return "signed in"


def refresh(rules: Rules, unsaved: Record | None, confirmed: bool = False) -> Program:
    if unsaved is not None:
        return (yield from redeem(rules, unsaved, confirmed, in_memory=True))
    live = yield Step("log.read")
    early = yield Step("store.read")
    if live is None or early is None or early.session != live:
        return "signed out"
    if not (yield Step("fence.enter")) and rules.mutation != "go on without the fence":
        return "unavailable"
    live = yield Step("log.read")
    if live != early.session:
        return (yield from bury(rules))
    record = yield Step("store.read")
    if rules.mutation == "refresh without re-reading":
        record = early
    if record is None or record.session != live:
        yield Step("fence.leave")
        return "ended"
    return (yield from redeem(rules, record, confirmed, in_memory=False))


def confirm(rules: Rules, unsaved: Record | None) -> Program:
    """`redeem_uncertain`: a person agreed that an uncertain token is sent once more."""
    return (yield from refresh(rules, unsaved, confirmed=True))


def redeem(rules: Rules, record: Record, confirmed: bool, in_memory: bool) -> Program:
    allowed = confirmed
    if record.intent:
        if not (confirmed or rules.replay_window):
            if not in_memory:
                yield Step("fence.leave")
            return "uncertain"
        allowed = True
        noted = record
    else:
        noted = record._replace(intent=True)
        if in_memory:
            yield Step("keep", noted)
        elif rules.mutation == "refresh without re-reading":
            yield Step("store.write", noted)
        elif rules.mutation != "intent after sending":
            written = yield Step("store.replace", record, noted)
            if written != "done":
                yield Step("fence.leave")
                return "not saved, not sent"
    if (yield Step("log.read")) != record.session:
        return (yield from (too_late(record.token) if in_memory else bury(rules)))
    answer = yield Step("wire.redeem", record.token, allowed)
    if rules.mutation == "intent after sending" and not in_memory and not record.intent:
        yield Step("store.replace", record, noted)
    if answer in ("lost", "refused") and (yield Step("log.read")) != record.session:
        return (yield from (too_late(record.token) if in_memory else bury(rules)))
    if answer == "lost":
        if not in_memory:
            yield Step("fence.leave")
        return "uncertain"
    if answer == "refused":
        return (yield from refused(rules, record, in_memory))
    fresh = Record(record.session, record.generation + 1, answer)
    if (yield Step("log.read")) != record.session:
        return (yield from too_late(answer))
    if in_memory:
        yield Step("keep", fresh)
        return "memory only"
    written = yield Step("store.replace", noted, fresh)
    if written == "conflict":
        return (yield from too_late(answer))
    looks = rules.mutation != "no look after the write"
    if looks and (yield Step("log.read")) != record.session:
        return (yield from too_late(answer))
    if written == "refused":
        if rules.mutation == "let go unsaved":
            yield Step("fence.leave")
            return "refreshed"
        yield Step("keep", fresh)
        return "memory only"
    yield Step("fence.leave")
    return "refreshed"


def refused(rules: Rules, record: Record, in_memory: bool) -> Program:
    found = record if in_memory else (yield Step("store.read"))
    live = record.session if in_memory else (yield Step("log.read"))
    is_ours = found is not None and found.session == live == record.session
    if not is_ours or found.generation > record.generation:
        yield Step("fence.leave")
        return "ended"
    yield Step("log.end", record.session)
    yield from erase_dead()
    yield Step("fence.leave")
    return "login required"


def too_late(token: Token) -> Program:
    """What came after the end is erased and revoked; a holder lets go with it."""
    yield from erase_dead()
    yield Step("wire.revoke", token)
    yield Step("fence.leave")
    return "ended"


def erase_dead() -> Generator[Step, Any, Token | None]:
    live = yield Step("log.read")
    found = yield Step("store.read")
    if found is not None and found.session != live:
        yield Step("store.delete")
        return found.token
    return None


def bury(rules: Rules) -> Program:
    """Who erases a dead record revokes it: whoever ended it may come too late to read it."""
    found = yield Step("store.read")
    live = yield Step("log.read")
    if found is not None and found.session != live:
        yield from erase_dead()
        if rules.mutation != "erase without revoking":
            yield Step("wire.revoke", found.token)
    yield Step("fence.leave")
    return "ended"


def logout(rules: Rules, unsaved: Record | None) -> Program:
    yield Step("log.end")
    found = yield Step("store.read")
    live = yield Step("log.read")
    captured = unsaved if unsaved is not None else found
    if captured is not None and captured.session == live:
        captured = None
    erased = None
    if unsaved is not None or (yield Step("fence.enter")):
        erased = yield from erase_dead()
        yield Step("fence.leave")
    elif captured is not None:
        yield Step("report", captured.session)
    if captured is not None:
        yield Step("wire.revoke", captured.token)
    is_other = erased is not None and (captured is None or erased != captured.token)
    if is_other and rules.mutation != "erase without revoking":
        yield Step("wire.revoke", erased)
    return "signed out"


def save(rules: Rules, unsaved: Record | None) -> Program:
    """What the background thread of an unsaved session does now and then."""
    if unsaved is None:
        return "nothing to save"
    looks = rules.mutation != "save without looking"
    if looks and (yield Step("log.read")) != unsaved.session:
        yield from erase_dead()
        yield Step("fence.leave")
        yield Step("wire.revoke", unsaved.token)
        return "ended"
    if (yield Step("store.write", unsaved)) == "refused":
        return "memory only"
    if looks and (yield Step("log.read")) != unsaved.session:
        return "memory only"
    yield Step("fence.leave")
    return "saved"


PROGRAMS: dict[str, Callable[[Rules, Record | None], Program]] = {
    "login": login,
    "refresh": refresh,
    "confirm": confirm,
    "logout": logout,
    "save": save,
}


# The world: what a step does, and what it answers.


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
