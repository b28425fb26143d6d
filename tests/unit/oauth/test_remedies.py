"""The hints of a failed login: each is for something that really can go wrong."""

from __future__ import annotations

import inspect

import pytest

from tokenkeep.oauth import idtoken, remedies


@pytest.mark.parametrize("problem", sorted(remedies._ID_TOKENS))
def test_every_remedy_of_an_id_token_is_for_a_problem_that_there_is(problem: str) -> None:
    """In the words of the check, or the hint would never be seen."""
    assert f'"{problem}"' in inspect.getsource(idtoken)
    assert remedies.for_id_token(problem) != remedies.TELL_THE_PROVIDER


def test_whatever_else_is_wrong_is_the_provider_s_to_mend() -> None:
    """A person cannot; but once more may help."""
    assert remedies.for_id_token(idtoken.NO_KEY_FITS) == remedies.TELL_THE_PROVIDER


@pytest.mark.parametrize(
    ("error", "about"),
    [
        ("invalid_client", "secret"),
        ("unauthorized_client", "this kind of login"),
        ("invalid_scope", "--scope"),
        ("invalid_target", "resource"),
        ("invalid_request", "registered"),
        ("unknown_error", "registered"),
    ],
)
def test_every_refusal_has_a_remedy(error: str, about: str) -> None:
    """By its code; one that nobody knows is a matter of how the client is registered."""
    assert about in remedies.for_refusal(error)
