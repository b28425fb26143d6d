"""Decisions on values: margins, intents, what a token response makes of a record."""

from __future__ import annotations

import pytest

from tokenkeep.errors import ProtocolViolation
from tokenkeep.oauth.messages import TokenResponse
from tokenkeep.secret import Secret
from tokenkeep.session import grant
from tokenkeep.tokens.record import Intent, Moment, Pause, Record, decode, encode

NOW = Moment(1000.0, 10.0, "boot")


def record(**more: object) -> Record:
    fields: dict[str, object] = {"refresh_token": Secret("one"), "scope": "a b", "lifetime": 300.0}
    return Record("a" * 32, NOW, **{**fields, **more})  # type: ignore[arg-type]


def renewed(old: Record, **more: object) -> Record:
    response = TokenResponse(Secret("access"), **more)  # type: ignore[arg-type]
    return grant.renewed(old, response, NOW, shares=False)


@pytest.mark.parametrize(
    ("lifetime", "advisory", "mandatory"),
    [(3600.0, 300.0, 30.0), (300.0, 60.0, 15.0), (10.0, 2.0, 0.5), (0.0, 0.0, 0.0)],
)
def test_margins_scale_with_the_lifetime(
    lifetime: float, advisory: float, mandatory: float
) -> None:
    found = grant.margins(lifetime, 0.0)
    assert (advisory, mandatory) == (pytest.approx(found.advisory), pytest.approx(found.mandatory))


def test_jitter_only_shortens_the_advisory_window() -> None:
    found = grant.margins(3600.0, 1.0)
    assert 225.0 == found.advisory
    assert 30.0 == found.mandatory


def test_an_intent_names_the_token_without_being_it() -> None:
    intent = grant.intent_for(record(), NOW)
    assert 1 == intent.generation
    assert "one" not in intent.digest


def test_only_an_intent_of_this_token_and_generation_counts() -> None:
    intent = grant.intent_for(record(), NOW)
    assert intent is grant.pending_intent(record(intent=intent))
    assert grant.pending_intent(record()) is None
    assert grant.pending_intent(record(intent=intent, generation=2)) is None
    assert grant.pending_intent(record(intent=intent, refresh_token=Secret("two"))) is None
    assert grant.pending_intent(record(intent=intent, refresh_token=None)) is None


@pytest.mark.parametrize(("age", "may"), [(0.0, True), (9.9, True), (10.0, False), (99.0, False)])
def test_a_replay_is_allowed_within_the_window_only(age: float, may: bool) -> None:
    intent = Intent(1, "d", NOW)
    now = Moment(NOW.wall + age, NOW.monotonic + age, "boot")
    assert may == grant.may_replay(intent, now, 10.0)
    assert not grant.may_replay(intent, now, 0.0)


def test_a_redemption_rotates_and_clears_what_was_noted() -> None:
    old = record(intent=grant.intent_for(record(), NOW), pause=Pause(5.0, NOW), generation=4)
    new = renewed(old, refresh_token=Secret("two"), expires_in=60.0)
    assert (5, "two", 60.0) == (new.generation, new.refresh_token.reveal(), new.lifetime)  # type: ignore[union-attr]
    assert new.intent is None
    assert new.pause is None
    assert new.access_token is None


def test_without_a_new_refresh_token_the_old_one_stays() -> None:
    assert "one" == renewed(record()).refresh_token.reveal()  # type: ignore[union-attr]


def test_the_scope_may_shrink_stay_unsaid_and_never_grow() -> None:
    assert "a" == renewed(record(), scope="a").scope
    assert "a b" == renewed(record()).scope
    assert "c" == renewed(record(scope=""), scope="c").scope
    with pytest.raises(ProtocolViolation):
        renewed(record(), scope="a b c")


@pytest.mark.parametrize("narrower", ["a", ""], ids=["narrower", "nothing"])
def test_a_scope_that_shrank_may_come_back_and_still_not_grow(narrower: str) -> None:
    """Each refresh asks for what the login was granted, whatever the one before brought."""
    shrunk = decode(encode(renewed(record(), scope=narrower)))
    assert narrower == shrunk.scope
    assert "a b" == renewed(shrunk).scope, "an answer without one is about what was asked for"
    back = renewed(renewed(shrunk), scope="b a")
    assert "b a" == back.scope
    for each in (shrunk, back):
        with pytest.raises(ProtocolViolation):
            renewed(each, scope="a c")


def test_an_id_token_is_kept_only_where_it_was_asked_for() -> None:
    assert renewed(record(), id_token=Secret("id")).id_token is None
    kept = renewed(record(id_token=Secret("old")), id_token=Secret("new"))
    assert kept.id_token is not None
    assert "new" == kept.id_token.reveal()


@pytest.mark.parametrize(
    ("extra", "age", "was_replay", "reason"),
    [
        ("", 10.0, True, "reused"),
        ("", 10.0, False, "revoked"),
        ('{"refresh_expires_in": 5}', 10.0, False, "expired"),
        ('{"refresh_expires_in": 50}', 10.0, False, "revoked"),
        ('{"refresh_expires_in": "x"}', 10.0, False, "revoked"),
        ("rubbish", 10.0, False, "revoked"),
    ],
)
def test_the_reason_of_a_refusal_is_told_as_far_as_it_can_be(
    extra: str, age: float, was_replay: bool, reason: str
) -> None:
    now = Moment(NOW.wall + age, NOW.monotonic + age, "boot")
    assert reason == grant.refusal_reason(record(extra=extra), now, was_replay=was_replay)
