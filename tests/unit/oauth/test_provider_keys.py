"""The keys that a provider signs with: fetched when they are needed, and no more often."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from joserfc.jwk import ECKey

from support.captured import assert_nothing_leaks
from support.id_tokens import (
    CLAIMS,
    EC,
    ISSUER,
    NOW,
    OTHER,
    Keys,
    Setting,
    public,
    signed,
)
from tokenkeep.errors import RefreshUnavailable
from tokenkeep.oauth.wire import HttpRequest, HttpResponse
from tokenkeep.secret import Secret


def test_keys_are_fetched_once_and_again_for_an_unknown_one() -> None:
    """Keys rotate; however many tokens no key fits, they cost one request in ten seconds."""
    setting = Setting()
    setting.check(signed(CLAIMS))
    setting.check(signed(CLAIMS))
    assert len(setting.keys.requests) == 1
    new = ECKey.generate_key("P-256", {"kid": "new"})
    for wait, requests in [(0.0, 1), (9.9, 1), (0.1, 2), (0.0, 2), (9.9, 2)]:
        setting.clock.advance(wait)
        assert "no key" in setting.problem(signed(CLAIMS, new))
        assert requests == len(setting.keys.requests)
    setting.keys.keys.append(public(new))
    setting.clock.advance(0.1)
    assert setting.check(signed(CLAIMS, new)).subject == "alice"
    assert len(setting.keys.requests) == 3


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, 3600.0),
        ("public", 3600.0),
        ("max-age=600", 600.0),
        ('Public, MAX-AGE="600", must-revalidate', 600.0),
        ("max-age=0", 60.0),
        ("max-age=600, no-cache", 60.0),
        ("no-store", 60.0),
        ("max-age=86400", 3600.0),
        ("max-age=" + "9" * 400, 3600.0),
        ("max-age=-1", 3600.0),
        ("max-age=soon", 3600.0),
        ("s-maxage=600", 3600.0),
    ],
)
def test_a_key_that_the_provider_withdrew_is_trusted_for_an_hour_at_most(
    said: str | None, seconds: float
) -> None:
    """As long as the answer says, between a minute and an hour; the wall clock means nothing."""
    setting = Setting()
    setting.keys.headers = {} if said is None else {"cache-control": said}
    claims = {**CLAIMS, "exp": NOW + 2 * 86400}
    setting.check(signed(claims))
    setting.keys.keys = [public(OTHER)]
    setting.clock.advance(seconds - 0.1)
    setting.clock.jump_wall(86400.0)
    assert "alice" == setting.check(signed(claims)).subject
    setting.clock.advance(0.1)
    assert "no key" in setting.problem(signed(claims))
    assert 2 == len(setting.keys.requests)


@pytest.mark.parametrize(("age", "seconds"), [("500", 100.0), ("900", 60.0), ("soon", 600.0)])
def test_what_a_cache_on_the_way_has_used_up_counts(age: str, seconds: float) -> None:
    """An answer that is 500 seconds old when it comes may be kept for 500 less."""
    setting, token = Setting(), signed({**CLAIMS, "exp": NOW + 86400})
    setting.keys.headers = {"cache-control": "max-age=600", "age": age}
    setting.check(token)
    setting.clock.advance(seconds - 0.1)
    setting.check(token)
    assert 1 == len(setting.keys.requests)
    setting.clock.advance(0.1)
    setting.check(token)
    assert 2 == len(setting.keys.requests)


def test_old_keys_that_cannot_be_fetched_anew_are_a_passing_failure() -> None:
    """As at the first time: whether they are trusted still, nobody knows."""
    setting = Setting()
    setting.check(signed(CLAIMS))
    setting.clock.advance(3600.0)
    setting.keys.is_down = True
    token = signed({**CLAIMS, "exp": NOW + 86400})
    for _attempt in range(2):
        with pytest.raises(RefreshUnavailable):
            setting.check(token)
    setting.keys.is_down = False
    setting.clock.advance(5.0)
    assert "alice" == setting.check(token).subject
    assert 4 == len(setting.keys.requests)


@pytest.mark.parametrize("token", [signed(CLAIMS), signed(CLAIMS, OTHER, kid="new")])
@pytest.mark.parametrize("known", [False, True], ids=["no keys", "old keys"])
def test_a_provider_that_fails_is_not_asked_by_every_caller(known: bool, token: Secret) -> None:
    """One failure may be a hiccup; after the second in a row it is left alone for five seconds."""
    setting = Setting()
    if known:
        setting.check(signed(CLAIMS))
        setting.clock.advance(3600.0)
    asked = len(setting.keys.requests)
    setting.keys.is_down = True
    problems, waits = [], []
    for _caller in range(9):
        with pytest.raises(RefreshUnavailable) as caught:
            setting.check(token)
        problems.append(str(caught.value))
        waits.append(caught.value.retry_after)
        setting.clock.advance(1.0)
    assert 3 == len(setting.keys.requests) - asked
    late = "issuer.example did not answer in time"
    again = [f"{late} ({ago} s ago; not asked again yet)" for ago in (1, 2, 3, 4)]
    assert [late, late, *again, late, *again[:2]] == problems
    assert [None, 5.0, 4.0, 3.0, 2.0, 1.0, 5.0, 4.0, 3.0] == waits


def test_a_key_set_that_is_none_is_not_asked_for_by_every_caller() -> None:
    """The failure is remembered as what it is, and forgotten once there are keys."""
    setting = Setting()
    setting.keys.status = 404
    for _caller in range(3):
        problem = setting.problem(signed(CLAIMS))
        assert problem.startswith("the provider's key set cannot be read")
    assert 2 == len(setting.keys.requests)
    setting.keys.status = 200
    setting.clock.advance(5.0)
    setting.check(signed(CLAIMS))
    setting.clock.advance(3600.0)
    setting.keys.status = 404
    for _caller in range(2):
        assert "the provider's key set cannot be read" == setting.problem(signed(CLAIMS))
    assert 5 == len(setting.keys.requests)


@pytest.mark.parametrize(("said", "seconds"), [("30", 30.0), ("9999", 60.0)])
def test_keys_are_asked_for_again_when_the_provider_says(said: str, seconds: float) -> None:
    """Even after the first failure; a minute at most."""
    setting = Setting()
    setting.keys.status, setting.keys.headers = 503, {"retry-after": said}
    for left, asked in ((seconds, 1), (0.1, 1), (seconds, 2)):
        with pytest.raises(RefreshUnavailable) as caught:
            setting.check(signed(CLAIMS))
        assert (left, asked) == (caught.value.retry_after, len(setting.keys.requests))
        setting.clock.advance(seconds - 0.1 if left > 1 else 0.1)


def held_up(keys: Keys) -> tuple[threading.Event, threading.Event]:
    """The provider's answers wait from now on: that they are asked for, and what lets them come."""
    is_asked, goes_on = threading.Event(), threading.Event()
    send = keys.send

    def slow(request: HttpRequest, timeout: float) -> HttpResponse:
        is_asked.set()
        assert goes_on.wait(30)
        return send(request, timeout)

    keys.send = slow  # type: ignore[method-assign]
    return is_asked, goes_on


def test_many_logins_at_once_ask_for_the_keys_once() -> None:
    """Those who come while they are being fetched wait for them."""
    setting = Setting()
    is_asked, goes_on = held_up(setting.keys)
    with ThreadPoolExecutor(8) as pool:
        checks = [pool.submit(setting.check, signed(CLAIMS)) for _caller in range(8)]
        assert is_asked.wait(5)
        goes_on.set()
        assert {"alice"} == {check.result(5).subject for check in checks}
    assert 1 == len(setting.keys.requests)


def test_who_waits_for_the_keys_has_a_deadline_of_their_own() -> None:
    """A provider that is slow for somebody with more time does not use up that of others."""
    setting = Setting()
    is_asked, goes_on = held_up(setting.keys)
    with ThreadPoolExecutor(1) as pool:
        check = pool.submit(setting.check, signed(CLAIMS), timeout=30.0)
        assert is_asked.wait(5)
        try:
            with pytest.raises(RefreshUnavailable, match="being fetched"):
                setting.check(signed(CLAIMS), timeout=0.05)
        finally:
            goes_on.set()
        assert "alice" == check.result(5).subject
    assert "alice" == setting.check(signed(CLAIMS), timeout=0.05).subject


def test_keys_from_another_address_are_fetched_there() -> None:
    """The provider's metadata was discovered anew, and names another one."""
    setting = Setting()
    setting.check(signed(CLAIMS))
    setting.metadata = dataclasses.replace(setting.metadata, jwks_uri=f"{ISSUER}/moved")
    setting.check(signed(CLAIMS))
    assert [f"{ISSUER}/jwks", f"{ISSUER}/moved"] == [each.url for each in setting.keys.requests]


def test_a_token_without_a_key_id_is_checked_against_every_fitting_key() -> None:
    """A provider with one key may leave `kid` out."""
    assert Setting().check(signed(CLAIMS, EC, "ES256", kid=None)).subject == "alice"


def test_keys_that_make_no_sense_do_not_hide_those_that_do() -> None:
    """RFC 7517 section 5: unknown kinds are ignored."""
    setting = Setting()
    setting.keys.keys = [
        {"kty": "EC", "kid": "ec", "crv": "P-999", "x": "?", "y": "?"},
        {"kty": "EC", "kid": "ec"},
        {"kty": 7},
        public(EC),
        {"kty": "AKP", "kid": "ec"},
        "key",  # type: ignore[list-item]
    ]
    assert setting.check(signed(CLAIMS)).subject == "alice"


def test_keys_for_encryption_sign_nothing() -> None:
    """`use` is `enc`."""
    setting = Setting()
    setting.keys.keys = [{**public(EC), "use": "enc"}]
    assert "no key" in setting.problem(signed(CLAIMS))


def test_keys_that_cannot_be_fetched_are_a_passing_failure() -> None:
    """The token may be good: nothing is concluded."""
    setting = Setting()
    setting.keys.is_down = True
    token = signed(CLAIMS)
    with pytest.raises(RefreshUnavailable) as caught:
        setting.check(token)
    assert caught.value.__context__ is None
    assert_nothing_leaks(caught.value, token.reveal())


@pytest.mark.parametrize("kid", [None, "ec"], ids=["unnamed", "of the same name"])
def test_keys_that_rotate_without_a_new_name_are_looked_for_once(kid: str | None) -> None:
    """A signature that fits no known key is a reason to ask; a forged one costs one request."""
    setting = Setting()
    setting.check(signed(CLAIMS, kid=kid))
    assert 1 == len(setting.keys.requests)
    setting.clock.advance(10.0)
    rotated = public(OTHER)
    if kid is None:
        del rotated["kid"]
    setting.keys.keys = [rotated]
    assert "alice" == setting.check(signed(CLAIMS, OTHER, kid=kid)).subject
    assert 2 == len(setting.keys.requests)
    setting.clock.advance(10.0)
    setting.problem(signed(CLAIMS, EC, kid=kid))
    assert 3 == len(setting.keys.requests)
    setting.keys.is_down = True
    assert "alice" == setting.check(signed(CLAIMS, OTHER, kid=kid)).subject


def test_a_key_set_that_is_none_is_a_violation() -> None:
    """And so is a provider without one."""
    setting = Setting()
    setting.keys.status = 404
    assert setting.problem(signed(CLAIMS)) == "the provider's key set cannot be read"
    assert "publishes no keys" in Setting(jwks_uri=None).problem(signed(CLAIMS))
