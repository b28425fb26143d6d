"""What a person can do about a login that failed: the hints of this package, each said once.

Nothing here does input or output.
"""

from __future__ import annotations

LOG_IN_AGAIN = "log in again"
MORE_TIME = "log in again, if need be with more time (login --timeout SECONDS)"
ONLY_WHAT_BEGAN_HERE = "log in again, and approve only what was begun here"
CHECK_THE_NETWORK = "check the network and the provider's address, then log in again"
CHECK_THE_ISSUER = "check the issuer's address, or give the provider's metadata"
TELL_THE_PROVIDER = "log in again; if that does not help, tell whoever runs the provider"
WITH_A_DEVICE_CODE = "log in with a device code instead"

_OWN_CLIENT = "check the issuer and the client id"
_OWN_CLOCK = "check this machine's clock"
_LOG_IN_THERE = "log in again with prompt=login"
#: By what is wrong with an ID token.
_ID_TOKENS = {
    "has expired": _OWN_CLOCK,
    "was issued in the future": _OWN_CLOCK,
    "belongs to another issuer": _OWN_CLIENT,
    "was issued for another client": _OWN_CLIENT,
    "does not answer this login (its nonce is another)": ONLY_WHAT_BEGAN_HERE,
    "does not say when the person logged in": _LOG_IN_THERE,
    "says that the person logged in too long ago": _LOG_IN_THERE,
}
#: By the provider's error code (RFC 6749, sections 4.1.2.1 and 5.2; RFC 8707).
_REFUSALS = {
    "invalid_client": "check the client id and the client's secret",
    "unauthorized_client": "let the provider allow this client this kind of login",
    "invalid_scope": "ask for a scope that the provider allows this client (--scope SCOPE)",
    "invalid_target": "check the resource among the extra parameters",
    "invalid_dpop_proof": "check this machine's clock, or log in without dpop",
}


def for_refusal(error: str) -> str:
    """What helps where the provider rejects the client or the request with this code."""
    return _REFUSALS.get(error, "check how this client is registered at the provider")


def for_id_token(problem: str) -> str:
    """What helps where this is wrong with an ID token."""
    return _ID_TOKENS.get(problem, TELL_THE_PROVIDER)
