"""Every door of the server in one table, and the doors that need few lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tokenkeep.testing.authorization_server.front_channel import (
    answer_activate,
    answer_authorize,
    answer_end_session,
)
from tokenkeep.testing.authorization_server.grants import Login, Refused
from tokenkeep.testing.authorization_server.realm import Realm
from tokenkeep.testing.authorization_server.signing import ALGORITHM
from tokenkeep.testing.authorization_server.token_endpoint import (
    DEVICE_GRANT,
    answer_revoke,
    answer_token,
    authenticated_client,
)
from tokenkeep.testing.authorization_server.wire import (
    Answer,
    Endpoint,
    Request,
    error_answer,
    json_answer,
    with_query,
)


def answer(realm: Realm, endpoint: Endpoint, request: Request) -> Answer:
    """Answer a request at one of the doors."""
    methods, respond = _DOORS[endpoint]
    if request.method not in methods:
        return Answer(405, {"Allow": ", ".join(methods)})
    return respond(realm, request)


def _metadata(realm: Realm, request: Request) -> Answer:
    """RFC 8414 and OpenID Connect Discovery, the same document for both."""
    issuer = realm.issuer
    return json_answer(
        {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "revocation_endpoint": f"{issuer}/revoke",
            "device_authorization_endpoint": f"{issuer}/device",
            "userinfo_endpoint": f"{issuer}/userinfo",
            "jwks_uri": f"{issuer}/jwks",
            "end_session_endpoint": f"{issuer}/end_session",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token", DEVICE_GRANT],
            "subject_types_supported": ["public"],
            "scopes_supported": ["openid", "offline_access"],
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "token_endpoint_auth_methods_supported": [
                "none",
                "client_secret_basic",
                "client_secret_post",
            ],
            "authorization_response_iss_parameter_supported": realm.policy.states_iss_in_redirect,
        }
    )


def _device(realm: Realm, request: Request) -> Answer:
    """Start a device login (RFC 8628 section 3.1)."""
    try:
        client_id = authenticated_client(realm, request)
    except Refused as refused:
        return error_answer(refused.error, refused.description, refused.status)
    policy = realm.policy
    login = Login(client_id, policy.user, request.form.get("scope", ""))
    with realm.lock:
        device = realm.devices.start(policy, login, realm.now())
    verification_uri = f"{realm.issuer}/activate"
    document: dict[str, object] = {
        "device_code": device.device_code,
        "user_code": device.user_code,
        "verification_uri": verification_uri,
        "verification_uri_complete": with_query(verification_uri, {"user_code": device.user_code}),
        "expires_in": round(policy.device_seconds),
    }
    if policy.device_interval is not None:
        document["interval"] = policy.device_interval
    return json_answer(document)


def _userinfo(realm: Realm, request: Request) -> Answer:
    """A protected resource: bearer token in, claims or 401 out (RFC 6750 section 3)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != realm.policy.token_type.lower() or not token:
        return Answer(401, {"WWW-Authenticate": "Bearer"})
    with realm.lock:
        accepted = realm.grants.accepted(token.strip(), realm.now())
    if accepted is None:
        return Answer(401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
    family, access_token = accepted
    return json_answer({"sub": family.user, "scope": access_token.scope})


def _jwks(realm: Realm, request: Request) -> Answer:
    return json_answer(realm.signer.key_set())


_Respond = Callable[[Realm, Request], Answer]
_DOORS: Mapping[Endpoint, tuple[tuple[str, ...], _Respond]] = {
    Endpoint.METADATA: (("GET",), _metadata),
    Endpoint.AUTHORIZE: (("GET", "POST"), answer_authorize),
    Endpoint.TOKEN: (("POST",), answer_token),
    Endpoint.REVOKE: (("POST",), answer_revoke),
    Endpoint.DEVICE: (("POST",), _device),
    Endpoint.ACTIVATE: (("GET", "POST"), answer_activate),
    Endpoint.USERINFO: (("GET", "POST"), _userinfo),
    Endpoint.JWKS: (("GET",), _jwks),
    Endpoint.END_SESSION: (("GET", "POST"), answer_end_session),
}
