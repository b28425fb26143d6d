"""The protocol's model notices every broken step: each mutation breaks a promise somewhere."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from session import programs
from session.model import Broken, Exploration, Local, World
from session.programs import MISSING, Rules

NOT_REVOKED = "the newest token of an ended session was not revoked"
SENT_TWICE = "a refresh token was sent twice"
CAME_BACK = "an ended session came back"
NO_RECORD = "a session lives whose record is gone"
TWO_AT_ONCE = "two processes redeem at once"


class Mutation(NamedTuple):
    """One place in which a program is wrong: edits of its text, and the promise that this breaks.

    `among` is who has to meet for it to show.
    """

    promise: str
    among: tuple[str, ...]
    edits: tuple[tuple[str, str], ...]


LOOK = 'if (yield Step("log.read")) != {}:'
NEVER = "if False:"

MUTATIONS = {
    "an intent is ignored and its token sent again": Mutation(
        SENT_TWICE,
        ("refresh",),
        (("if not (confirmed or rules.replay_window):", NEVER),),
    ),
    "the intent is noted after sending": Mutation(
        SENT_TWICE,
        ("refresh",),
        (
            ('elif (yield Step("store.replace", record, noted)) != "done":', "elif False:"),
            (
                'answer = yield Step("wire.redeem", record.token)\n',
                'answer = yield Step("wire.redeem", record.token)\n'
                "    if not in_memory:\n"
                '        yield Step("store.replace", record, noted)\n',
            ),
        ),
    ),
    "a lost answer takes the intent back": Mutation(
        SENT_TWICE,
        ("refresh",),
        (
            (
                '    if answer == "lost":\n        if not in_memory:\n',
                '    if answer == "lost":\n        if not in_memory:\n'
                '            yield Step("store.replace", noted, record)\n',
            ),
        ),
    ),
    "the dead are erased without looking who lives": Mutation(
        NO_RECORD,
        ("login", "refresh", "logout"),
        (
            (
                "    if found is not None and found.session != log:\n"
                '        yield Step("store.delete")\n',
                '    if found is not None:\n        yield Step("store.delete")\n',
            ),
        ),
    ),
    "a login saves before it begins": Mutation(
        NO_RECORD,
        ("login",),
        (
            (
                '    if (yield Step("log.begin", session)) == "failed":\n',
                '    written = yield Step("store.write", Record(session, 1, token))\n'
                '    if (yield Step("log.begin", session)) == "failed":\n',
            ),
            ('    written = yield Step("store.write", fresh)\n', ""),
        ),
    ),
    "a login does not look after its write": Mutation(
        "a dead record was left behind", ("login", "logout"), ((LOOK.format("session"), NEVER),)
    ),
    "a refusal ends without comparing what was read again": Mutation(
        "a refusal ended a session whose good token lies in the store",
        ("refresh",),
        (("if not is_ours or found.generation > record.generation:", NEVER),),
    ),
    "nobody looks before the wire": Mutation(
        "a refresh token was sent a step after its session was ended",
        ("refresh", "logout"),
        (
            (
                f"    {LOOK.format('record.session')}\n"
                "        return (yield from (too_late(record.token) if in_memory else bury()))\n"
                "    answer = ",
                "    answer = ",
            ),
        ),
    ),
    "a refresh does not look after its write": Mutation(
        NOT_REVOKED,
        ("refresh", "logout"),
        (
            (
                f"    {LOOK.format('record.session')}\n"
                "        return (yield from too_late(answer))\n"
                '    if written == "refused":\n',
                '    if written == "refused":\n',
            ),
        ),
    ),
    "a refresh does not read again inside the fence": Mutation(
        "an older generation was written over a newer",
        ("refresh",),
        (
            (
                '    record = yield Step("store.read")\n    if record is None',
                "    if record is None",
            ),
            (
                '    log = yield Step("log.read")\n    if log != early.session:\n',
                '    record = early\n    log = yield Step("log.read")\n'
                "    if log != early.session:\n",
            ),
            (
                'Step("store.replace", record, noted)) != "done"',
                'Step("store.write", noted)) == ""',
            ),
        ),
    ),
    "the fence is stolen": Mutation(
        TWO_AT_ONCE,
        ("refresh",),
        (
            (
                '    if not (yield Step("fence.enter")):\n        return "unavailable"\n'
                '    log = yield Step("log.read")\n    if log != early',
                '    yield Step("fence.steal")\n'
                '    log = yield Step("log.read")\n    if log != early',
            ),
        ),
    ),
    "a refresh goes on without the fence": Mutation(
        TWO_AT_ONCE,
        ("refresh",),
        (
            (
                '    if not (yield Step("fence.enter")):\n        return "unavailable"\n'
                '    log = yield Step("log.read")\n    if log != early',
                '    yield Step("fence.enter")\n'
                '    log = yield Step("log.read")\n    if log != early',
            ),
        ),
    ),
    "an unsaved session lets the fence go": Mutation(
        NOT_REVOKED,
        ("refresh", "logout"),
        (
            (
                '        yield Step("keep", fresh)\n        return "memory only"\n'
                '    yield Step("fence.leave")\n    return "refreshed"\n',
                '        yield Step("fence.leave")\n        return "refreshed"\n'
                '    yield Step("fence.leave")\n    return "refreshed"\n',
            ),
        ),
    ),
    "an unsaved session is saved without looking": Mutation(
        NOT_REVOKED,
        ("refresh", "logout"),
        (
            (
                f"    {LOOK.format('unsaved.session')}\n        yield from erase_dead()\n",
                f"    {NEVER}\n        yield from erase_dead()\n",
            ),
            (
                f"    {LOOK.format('unsaved.session')}\n"
                '        return "memory only"\n    yield Step("fence.leave")\n'
                '    return "saved"\n',
                '    yield Step("fence.leave")\n    return "saved"\n',
            ),
        ),
    ),
    "who buries the dead does not revoke them": Mutation(
        NOT_REVOKED,
        ("refresh", "logout"),
        (('        yield Step("wire.revoke", found.token)\n', ""),),
    ),
    "a sign-out has no last word": Mutation(
        "a session lives on after it was signed out",
        ("logout",),
        (('(yield Step("log.end", SIGNED_OUT)) != "failed"', '(yield Step("log.read")) != ""'),),
    ),
    "a sign-out revokes nothing": Mutation(
        NOT_REVOKED,
        ("logout",),
        (('        yield Step("wire.revoke", captured.token)\n', "        pass\n"),),
    ),
    "a sign-out without a last word takes what lives for a new login": Mutation(
        NOT_REVOKED,
        ("logout",),
        (
            ("    if has_ended and captured is not None", "    if captured is not None"),
            (
                '    found = yield Step("store.read")\n    yield Step("store.delete")\n'
                "    return None if found is None else found.token\n",
                '    yield Step("store.delete")\n    return None\n',
            ),
        ),
    ),
    "an adopted session begins whatever was said meanwhile": Mutation(
        CAME_BACK,
        ("restore", "logout"),
        (('Step("log.adopt", found.session)', 'Step("log.begin", found.session)'),),
    ),
}

#: What may go wrong, and how the server and the application behave.
STARTS: list[tuple[Rules, dict[str, Any]]] = [
    (Rules(), {}),
    (Rules(), {"crashes": 1}),
    (Rules(), {"refusals": 1}),
    (Rules(), {"losses": 1}),
    (Rules(), {"fulls": 1}),
    (Rules(detects_reuse=False), {"elsewhere": 1}),
    (Rules(keeps=True), {"log": MISSING, "complete": frozenset()}),
]


def mutated(mutation: Mutation) -> ModuleType:
    """The programs with the mutation's edits, each of which finds its place exactly once."""
    text = inspect.getsource(programs)
    for before, after in mutation.edits:
        assert 1 == text.count(before), before
        text = text.replace(before, after)
    module = ModuleType("mutated")
    module.__dict__["__name__"] = programs.__name__
    exec(compile(text, "mutated programs", "exec"), module.__dict__)
    return module


def broken(mutation: Mutation) -> Iterator[str]:
    """The promises that are broken wherever two of those meet who have to."""
    changed = mutated(mutation).PROGRAMS
    for todo in itertools.combinations_with_replacement(mutation.among, 2):
        for rules, world in STARTS:
            processes = tuple(Local((each,)) for each in todo)
            try:
                Exploration(rules, changed).explore(World(processes, **world))
            except Broken as found:
                yield found.promise


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_protocol_with_one_step_broken_is_noticed(name: str) -> None:
    """The model can fail: without any one of these steps a promise is broken somewhere."""
    seen = set()
    for promise in broken(MUTATIONS[name]):
        seen.add(promise)
        if promise == MUTATIONS[name].promise:
            return
    raise AssertionError(f"{name}: {seen or 'nothing was noticed'}")
