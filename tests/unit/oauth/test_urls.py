"""A token travels over https, or within this machine."""

from __future__ import annotations

import pytest

from tokenkeep.oauth.urls import endpoint_problem, is_loopback_host, issuer_problem


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example",
        "https://issuer.example/",
        "https://issuer.example:8443/tenant/a%20b",
        "https://[2001:db8::1]/",
        "http://127.0.0.1:8080",
        "http://127.255.0.9/x",
        "http://[::1]:9",
        "http://localhost:1/",
    ],
)
def test_an_issuer_is_https_or_on_this_machine(url: str) -> None:
    """RFC 8414 section 2 wants https; loopback is this library's one exception."""
    assert issuer_problem(url) is None


@pytest.mark.parametrize(
    "url",
    [
        None,
        7,
        "",
        "issuer.example",
        "http://issuer.example",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://128.0.0.1",
        "http://0.0.0.0",
        "http://[::]",
        "http://[::ffff:127.0.0.1]",
        "http://127.1",
        "http://2130706433",
        "ftp://issuer.example",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://user:pass@issuer.example",
        "https://user@issuer.example",
        "https://issuer.example?x=1",
        "https://issuer.example/#f",
        "https://issuer.example:99999",
        "https://issuer.example\\@evil.example",
        "https://issuer.example\n.evil.example",
        "https://issuer.example/\t",
        " https://issuer.example",
        "https://ïssuer.example",
        "https://[::1",
        "https://x.example/" + "a" * 3000,
    ],
)
def test_anything_else_is_no_issuer(url: object) -> None:
    """Whoever misleads the parser gets no token."""
    assert issuer_problem(url) is not None


def test_an_endpoint_may_have_a_query_and_no_fragment() -> None:
    """RFC 6749 section 3.1."""
    assert endpoint_problem("https://issuer.example/token?tenant=a") is None
    assert endpoint_problem("https://issuer.example/token#a") == "has a fragment"


def test_a_problem_does_not_repeat_the_address() -> None:
    """A secret pasted in its place must not be printed."""
    assert "hunter2" not in str(endpoint_problem("https://me:hunter2@issuer.example"))


def test_localhost_is_this_machine_in_any_case() -> None:
    """Host names have no case."""
    assert is_loopback_host("LocalHost")
    assert not is_loopback_host("localhost.")
