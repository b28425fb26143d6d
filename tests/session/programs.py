"""The session protocol's programs as a small model: what the library does, step by step.

A program is a generator that yields the steps of the real code, by the same names, and gets each
step's answer. What a step does, and what may go wrong at it, is `model.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
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


class Step(NamedTuple):
    """One step of a process; `name` is what the real code's trace calls it."""

    name: str
    value: Any = None
    more: Any = None


Program = Generator[Step, Any, str]


class Rules(NamedTuple):
    """How the server and the protocol behave in one exploration; `mutation` breaks one step."""

    replay_window: bool = False
    mutation: str = ""


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
