"""The endpoints that a person's browser visits: `/authorize`, `/activate`, `/end_session`."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from tokenkeep.testing.authorization_server.grants import Login
from tokenkeep.testing.authorization_server.pending import Decision
from tokenkeep.testing.authorization_server.realm import Realm
from tokenkeep.testing.authorization_server.wire import Answer, Request, page, redirect, with_query

# RFC 7636 section 4.2: an S256 challenge is 43 characters of base64url.
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_PROMPTS = {"none", "login", "consent", "select_account", "create"}


def answer_authorize(realm: Realm, request: Request) -> Answer:
    """Answer an authorization request (RFC 6749 section 4.1.1, RFC 7636, RFC 8252).

    `login=NAME` signs in as somebody else, `decision=deny` says no. A bad client or redirect gets
    a page, because nobody may be redirected to an address that cannot be trusted.
    """
    parameters = request.parameters
    client_id = parameters.get("client_id", "")
    redirect_uri = parameters.get("redirect_uri", "")
    known = {client.client_id for client in realm.policy.clients}
    if not client_id or (known and client_id not in known):
        return page("this client is not known", status=400)
    if not is_loopback(redirect_uri):
        return page("redirect_uri has to be on 127.0.0.1 or [::1]", status=400)
    error = _request_error(parameters, request.repeated)
    if error is not None:
        return _back(realm, parameters, {"error": error[0], "error_description": error[1]})
    decision = parameters.get("decision") or ("approve" if realm.policy.auto_approve else None)
    if decision is None:
        if parameters.get("prompt") == "none":
            return _back(realm, parameters, {"error": "login_required"})
        return _ask(realm, request, f"allow {client_id}?")
    if decision != "approve":
        return _back(realm, parameters, {"error": "access_denied"})
    login = Login(
        client_id,
        parameters.get("login") or realm.policy.user,
        parameters.get("scope", ""),
        parameters.get("nonce"),
    )
    with realm.lock:
        code = realm.codes.issue(
            login,
            redirect_uri=redirect_uri,
            challenge=parameters["code_challenge"],
            expires_at=realm.now() + realm.policy.code_seconds,
        )
    return _back(realm, parameters, {"code": code})


def answer_activate(realm: Realm, request: Request) -> Answer:
    """The page that decides a device login: `user_code`, `decision`, `login`."""
    parameters = request.parameters
    user_code = parameters.get("user_code", "")
    with realm.lock:
        device = realm.devices.find(user_code)
    if device is None:
        return page("no such code", status=404)
    decision = parameters.get("decision")
    if decision is None:
        return _ask(realm, request, f"allow {device.login.client_id}?")
    outcome = Decision.APPROVED if decision == "approve" else Decision.DENIED
    with realm.lock:
        realm.devices.decide(user_code, outcome, parameters.get("login") or realm.policy.user)
    return page(f"device {outcome.value}")


def answer_end_session(realm: Realm, request: Request) -> Answer:
    """RP-initiated logout: ends the browser's session only; tokens live until they are revoked."""
    parameters = request.parameters
    address = parameters.get("post_logout_redirect_uri")
    if address is None:
        return page("signed out")
    if not is_loopback(address):
        return page("post_logout_redirect_uri has to be on 127.0.0.1 or [::1]", status=400)
    return redirect(address, {"state": parameters.get("state")})


def is_loopback(address: str) -> bool:
    """True for a redirect of RFC 8252 section 7.3: a loopback address, any port, no fragment."""
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return False
    return (
        parts.scheme == "http"
        and parts.hostname in ("127.0.0.1", "::1")
        and parts.username is None
        and not parts.fragment
    )


def _request_error(parameters: dict[str, str], repeated: frozenset[str]) -> tuple[str, str] | None:
    prompts = set(parameters.get("prompt", "").split())
    if repeated:
        return "invalid_request", f"repeated: {', '.join(sorted(repeated))}"
    if parameters.get("response_type") != "code":
        return "unsupported_response_type", "response_type has to be code"
    if not parameters.get("state"):
        return "invalid_request", "state is missing"
    if parameters.get("code_challenge_method") != "S256":
        return "invalid_request", "code_challenge_method has to be S256"
    if not _CHALLENGE.fullmatch(parameters.get("code_challenge", "")):
        return "invalid_request", "code_challenge is not an S256 challenge"
    if not prompts <= _PROMPTS or ("none" in prompts and len(prompts) > 1):
        return "invalid_request", "no such prompt"
    return None


def _back(realm: Realm, parameters: dict[str, str], outcome: dict[str, str]) -> Answer:
    issuer = realm.issuer if realm.policy.states_iss_in_redirect else None
    answer = {**outcome, "state": parameters.get("state"), "iss": issuer}
    return redirect(parameters["redirect_uri"], answer)


def _ask(realm: Realm, request: Request, question: str) -> Answer:
    here = f"{realm.issuer}{request.path}"
    links = {
        decision: with_query(here, {**request.parameters, "decision": decision})
        for decision in ("approve", "deny")
    }
    return page(question, links)
