"""A provider is a checked value that does nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from support.captured import assert_nothing_leaks
from tokenkeep.errors import UnsupportedOption
from tokenkeep.oauth.metadata import Metadata
from tokenkeep.oauth.provider import Provider
from tokenkeep.secret import Secret

ISSUER = "https://issuer.example"


def test_a_provider_has_defaults_for_an_installed_application() -> None:
    """No client secret, no window for replays, ten seconds."""
    provider = Provider(ISSUER, client_id="notes")
    assert provider.issuer == ISSUER
    assert provider.client_id == "notes"
    assert provider.client_secret is None
    assert provider.redirect_path == "/callback"
    assert provider.replay_window == 0.0
    assert provider.metadata is None
    assert dict(provider.token_parameters) == {}
    assert dict(provider.authorization_parameters) == {}
    assert provider.timeout == 10.0


def test_a_provider_cannot_be_changed() -> None:
    """Not by assignment, not by deletion, not through the mappings it was given."""
    parameters = {"resource": "https://api.example"}
    provider = Provider(ISSUER, client_id="notes", token_parameters=parameters)
    parameters["resource"] = "changed"
    assert provider.token_parameters["resource"] == "https://api.example"
    with pytest.raises(AttributeError):
        provider.issuer = "https://evil.example"
    with pytest.raises(AttributeError):
        del provider.issuer
    with pytest.raises(TypeError):
        provider.token_parameters["a"] = "b"  # type: ignore[index]


def test_a_provider_does_not_print_its_secrets() -> None:
    """The client secret, and the parameters in which applications put keys of their own."""
    provider = Provider(
        ISSUER,
        client_id="notes",
        client_secret="hunter2hunter2",
        token_parameters={"api_key": "hunter2hunter2"},
    )
    assert repr(provider) == "Provider('https://issuer.example', client_id='notes')"
    assert isinstance(provider.client_secret, Secret)


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "http://issuer.example"},
        {"issuer": "issuer.example"},
        {"client_id": ""},
        {"client_id": "notes\n"},
        {"client_id": 7},
        {"client_secret": ""},
        {"client_secret": "a\x00b"},
        {"redirect_path": "callback"},
        {"redirect_path": "/a?b"},
        {"redirect_path": "/a b"},
        {"replay_window": -1},
        {"replay_window": float("nan")},
        {"replay_window": float("inf")},
        {"replay_window": True},
        {"replay_window": "30"},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"timeout": None},
        {"token_parameters": {"grant_type": "password"}},
        {"token_parameters": {"refresh_token": "x"}},
        {"token_parameters": {"resource": 7}},
        {"token_parameters": {"": "x"}},
        {"token_parameters": {"resource": "\ud800"}},
        {"authorization_parameters": {"state": "fixed"}},
        {"authorization_parameters": {"response_mode": "fragment"}},
        {"metadata": Metadata(issuer="https://other.example", token_endpoint=f"{ISSUER}/token")},
    ],
)
def test_a_provider_that_cannot_be_is_refused_at_once(wrong: dict[str, Any]) -> None:
    """A wrong option is an error where it is given, not at the first refresh."""
    options: dict[str, Any] = {"issuer": ISSUER, "client_id": "notes", **wrong}
    with pytest.raises(UnsupportedOption):
        Provider(options.pop("issuer"), **options)


def test_a_refused_client_secret_is_in_no_captured_frame() -> None:
    """Neither it nor another given with it."""
    with pytest.raises(UnsupportedOption) as caught:
        Provider("http://issuer.example", client_id="notes", client_secret="hunter2hunter2")
    assert_nothing_leaks(caught.value, "hunter2hunter2")
    with pytest.raises(UnsupportedOption) as caught:
        Provider(ISSUER, client_id="notes", client_secret="hunter2hunter2\n")
    assert_nothing_leaks(caught.value, "hunter2hunter2")


@pytest.mark.parametrize(
    "module", ["provider", "metadata", "messages", "requests", "outcome", "answers"]
)
def test_values_are_imported_without_network_or_threads(module: str) -> None:
    """The protocol is values: importing them loads nothing that could talk."""
    heavy = "httpx2", "joserfc", "http.server", "socket", "ssl", "threading", "selectors"
    code = (
        f"import sys, tokenkeep.oauth.{module}\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert answer.stdout.strip() == "[]"
