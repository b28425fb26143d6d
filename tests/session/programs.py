"""The session protocol's programs as a small model: what the library does, step by step.

A program is a generator that yields the steps of the real code, by the same names, and gets each
step's answer. What a step does, and what may go wrong at it, is `model.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

#: What a log says that begins no session: nothing yet, or who had the last word.
MISSING, SIGNED_OUT, REFUSED = "missing", "signed out", "refused"


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


class Step(NamedTuple):
    """One step of a process; `name` is what the real code's trace calls it."""

    name: str
    value: Any = None
    more: Any = None


Program = Generator[Step, Any, str]


class Rules(NamedTuple):
    """How the server and the application behave in one exploration.

    Attributes:
        replay_window: a spent token is taken once more, and the session told so.
        detects_reuse: a spent token that comes again ends the whole login.
        keeps: a fresh install goes on with the record that it finds.
    """

    replay_window: bool = False
    detects_reuse: bool = True
    keeps: bool = False


def restore(rules: Rules, unsaved: Record | None) -> Program:
    if unsaved is not None:
        return "memory only"
    log = yield Step("log.read")
    found = yield Step("store.read")
    if found is None or found.session == log:
        return "signed out" if found is None else "signed in"
    if log == SIGNED_OUT or not (yield Step("fence.enter")):
        return "signed out"  # erased by whoever signed out, or is inside
    return (yield from settle(rules))


def settle(rules: Rules) -> Program:
    found = yield Step("store.read")
    log = yield Step("log.read")
    if found is not None and log == MISSING and rules.keeps:
        if (yield Step("log.adopt", found.session)) == "failed":
            yield Step("fence.leave")
            return "unavailable"
        found = yield Step("store.read")
        log = yield Step("log.read")
    if found is not None and found.session == log:
        yield Step("fence.leave")
        return "signed in"
    if found is not None and log != SIGNED_OUT:
        yield from erase_dead()
    yield Step("fence.leave")
    return "signed out"


def login(rules: Rules, unsaved: Record | None) -> Program:
    session, token = yield Step("wire.login")
    if unsaved is None and not (yield Step("fence.enter")):
        return "unavailable"
    if (yield Step("log.begin", session)) == "failed":
        if unsaved is None:
            yield Step("fence.leave")
        return "could not begin"  # an unsaved session that lived before lives on
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
    log = yield Step("log.read")
    early = yield Step("store.read")
    if early is None or early.session != log:
        return "signed out"
    if not (yield Step("fence.enter")):
        return "unavailable"
    log = yield Step("log.read")
    if log != early.session:
        return (yield from bury())
    record = yield Step("store.read")
    if record is None or record.session != log:
        yield Step("fence.leave")
        return "ended"
    return (yield from redeem(rules, record, confirmed, in_memory=False))


def confirm(rules: Rules, unsaved: Record | None) -> Program:
    """`redeem_uncertain`: a person agreed that an uncertain token is sent once more."""
    return (yield from refresh(rules, unsaved, confirmed=True))


def redeem(rules: Rules, record: Record, confirmed: bool, in_memory: bool) -> Program:
    noted = record._replace(intent=True)
    if record.intent:
        if not (confirmed or rules.replay_window):
            if not in_memory:
                yield Step("fence.leave")
            return "uncertain"
    elif in_memory:
        yield Step("keep", noted)
    elif (yield Step("store.replace", record, noted)) != "done":
        yield Step("fence.leave")
        return "not saved, not sent"
    if (yield Step("log.read")) != record.session:
        return (yield from (too_late(record.token) if in_memory else bury()))
    answer = yield Step("wire.redeem", record.token)
    if answer in ("lost", "refused") and (yield Step("log.read")) != record.session:
        return (yield from (too_late(record.token) if in_memory else bury()))
    if answer == "lost":
        if not in_memory:
            yield Step("fence.leave")
        return "uncertain"
    if answer == "refused":
        return (yield from refused(record, in_memory))
    fresh = Record(record.session, record.generation + 1, answer)
    if (yield Step("log.read")) != record.session:
        return (yield from too_late(answer))
    if in_memory:
        yield Step("keep", fresh)
        return "memory only"
    written = yield Step("store.replace", noted, fresh)
    if written == "conflict":
        return (yield from too_late(answer))
    if (yield Step("log.read")) != record.session:
        return (yield from too_late(answer))
    if written == "refused":
        yield Step("keep", fresh)
        return "memory only"
    yield Step("fence.leave")
    return "refreshed"


def refused(record: Record, in_memory: bool) -> Program:
    found = record if in_memory else (yield Step("store.read"))
    log = record.session if in_memory else (yield Step("log.read"))
    is_ours = found is not None and found.session == log == record.session
    if not is_ours or found.generation > record.generation:
        yield Step("fence.leave")
        return "ended"
    if (yield Step("log.end", REFUSED)) == "failed":
        if not in_memory:
            yield Step("fence.leave")
        return "could not be ended"
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
    log = yield Step("log.read")
    found = yield Step("store.read")
    if found is not None and found.session != log:
        yield Step("store.delete")
        return found.token
    return None


def bury() -> Program:
    """Who erases a dead record revokes it: whoever ended it may come too late to read it."""
    found = yield Step("store.read")
    log = yield Step("log.read")
    if found is not None and found.session != log:
        yield from erase_dead()
        yield Step("wire.revoke", found.token)
    yield Step("fence.leave")
    return "ended"


def logout(rules: Rules, unsaved: Record | None) -> Program:
    has_ended = (yield Step("log.end", SIGNED_OUT)) != "failed"
    found = yield Step("store.read")
    log = yield Step("log.read")
    captured = unsaved if unsaved is not None else found
    if has_ended and captured is not None and captured.session == log:
        captured = None  # somebody signed in anew meanwhile
    erased = None
    is_inside = unsaved is not None or (yield Step("fence.enter"))
    if is_inside and has_ended:
        erased = yield from erase_dead()
    elif not has_ended:
        erased = yield from erase()
    elif captured is not None:
        yield Step("report", captured.session)
    if is_inside:
        yield Step("fence.leave")
    if captured is not None:
        yield Step("wire.revoke", captured.token)
    if erased is not None and (captured is None or erased != captured.token):
        yield Step("wire.revoke", erased)
    return "signed out" if has_ended else "erased"


def erase() -> Generator[Step, Any, Token | None]:
    """What a sign-out erases that the log does not know of: whatever lies there."""
    found = yield Step("store.read")
    yield Step("store.delete")
    return None if found is None else found.token


def save(rules: Rules, unsaved: Record | None) -> Program:
    """What the background thread of an unsaved session does now and then."""
    if unsaved is None:
        return "nothing to save"
    if (yield Step("log.read")) != unsaved.session:
        yield from erase_dead()
        yield Step("fence.leave")
        yield Step("wire.revoke", unsaved.token)
        return "ended"
    if (yield Step("store.write", unsaved)) == "refused":
        return "memory only"
    if (yield Step("log.read")) != unsaved.session:
        return "memory only"
    yield Step("fence.leave")
    return "saved"


PROGRAMS: dict[str, Callable[[Rules, Record | None], Program]] = {
    "login": login,
    "refresh": refresh,
    "confirm": confirm,
    "logout": logout,
    "restore": restore,
    "save": save,
}
