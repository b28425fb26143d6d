"""`/admin/VERB`: what `Admin` in another process asks of a running server.

JSON in, JSON out, POST only. There is no password: the server listens on loopback, keeps made-up
users, and is for tests. Requests that a browser could send across sites are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tokenkeep.testing.authorization_server.injection import fault_from_json
from tokenkeep.testing.authorization_server.listener import read_json
from tokenkeep.testing.authorization_server.policy import policy_from_json
from tokenkeep.testing.authorization_server.wire import Answer, Endpoint, Request, json_answer

if TYPE_CHECKING:
    from tokenkeep.testing.authorization_server.server import AuthorizationServer

PREFIX = "/admin/"


def answer(server: AuthorizationServer, request: Request) -> Answer:
    """Answer one question or carry out one order."""
    if request.method != "POST" or "origin" in request.headers:
        return json_answer({"error": "POST, and not from a web page"}, 405)
    # A page could post a form here but, without asking first, never this content type.
    if request.headers.get("content-type") != "application/json":
        return json_answer({"error": "Content-Type has to be application/json"}, 415)
    verb = _VERBS.get(request.path.removeprefix(PREFIX))
    if verb is None:
        return json_answer({"error": "no such verb"}, 404)
    try:
        return json_answer({"result": verb(server, read_json(request))})
    except (ValueError, TypeError, KeyError) as exc:
        return json_answer({"error": f"{type(exc).__name__}: {exc}"}, 400)


def _counts(server: AuthorizationServer, order: Mapping[str, object]) -> object:
    return {**server.requests.counts(), "reuse_detected": server.reuse_detected}


def _requests(server: AuthorizationServer, order: Mapping[str, object]) -> object:
    return [
        {
            "endpoint": seen.endpoint.value,
            "method": seen.request.method,
            "path": seen.request.path,
            "parameters": seen.request.parameters,
            "headers": dict(seen.request.headers),
            "at": seen.at,
            "status": seen.status,
        }
        for seen in server.requests.all()
    ]


def _add_fault(server: AuthorizationServer, order: Mapping[str, object]) -> object:
    described = order["faults"]
    times, skip = order.get("times", 1), order.get("skip", 0)
    if not isinstance(described, list) or not isinstance(skip, int):
        raise TypeError("faults has to be a list, skip a number")
    if times is not None and not isinstance(times, int):
        raise TypeError("times has to be a number or null")
    faults = [fault_from_json(each) for each in described]
    server.faults.add(Endpoint(order["endpoint"]), *faults, times=times, skip=skip)
    return None


def _clear_faults(server: AuthorizationServer, order: Mapping[str, object]) -> object:
    server.faults.clear()
    return None


def _release(server: AuthorizationServer, order: Mapping[str, object]) -> object:
    server.faults.release()
    return None


def _wait_held(server: AuthorizationServer, order: Mapping[str, object]) -> object:
    return server.faults.wait_held(int(str(order["count"])), float(str(order["timeout"])))


def _is_alive(server: AuthorizationServer, order: Mapping[str, object]) -> object:
    return server.is_alive(str(order["token"]))


def _accepts(server: AuthorizationServer, order: Mapping[str, object]) -> object:
    return server.accepts(str(order["token"]))


def _grants(server: AuthorizationServer, order: Mapping[str, object]) -> object:
    now = server.now()
    return [
        {
            "family_id": family.family_id,
            "client_id": family.client_id,
            "user": family.user,
            "scope": family.scope,
            "generation": family.generation,
            "revoked": family.revoked,
            "refresh_tokens": [
                value
                for value, token in family.refresh_tokens.items()
                if not family.revoked
                and token.spent_at is None
                and (token.expires_at is None or now < token.expires_at)
            ],
            "access_tokens": [
                value
                for value, token in family.access_tokens.items()
                if not token.killed and now < token.expires_at
            ],
        }
        for family in server.grants()
    ]


def _login(server: AuthorizationServer, order: Mapping[str, object]) -> object:
    user, nonce = order.get("user"), order.get("nonce")
    return server.login(
        str(order["client_id"]),
        user=None if user is None else str(user),
        scope=str(order["scope"]),
        nonce=None if nonce is None else str(nonce),
    )


def _revoke(server: AuthorizationServer, order: Mapping[str, object]) -> object:
    server.revoke(str(order["token"]))
    return None


def _decide_device(server: AuthorizationServer, order: Mapping[str, object]) -> object:
    user_code, user = str(order["user_code"]), order.get("user")
    if not order["approve"]:
        return server.deny_device(user_code)
    return server.approve_device(user_code, user=None if user is None else str(user))


def _advance(server: AuthorizationServer, order: Mapping[str, object]) -> object:
    server.advance(float(str(order["seconds"])))
    return None


def _set_policy(server: AuthorizationServer, order: Mapping[str, object]) -> object:
    described = order["policy"]
    if not isinstance(described, dict):
        raise TypeError("policy has to be an object")
    server.policy = policy_from_json(described)
    return None


_VERBS: Mapping[str, Callable[[AuthorizationServer, Mapping[str, object]], object]] = {
    "accepts": _accepts,
    "add_fault": _add_fault,
    "advance": _advance,
    "clear_faults": _clear_faults,
    "counts": _counts,
    "decide_device": _decide_device,
    "grants": _grants,
    "is_alive": _is_alive,
    "login": _login,
    "release": _release,
    "requests": _requests,
    "revoke": _revoke,
    "set_policy": _set_policy,
    "wait_held": _wait_held,
}
