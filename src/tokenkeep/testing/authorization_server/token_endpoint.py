"""`/token` and `/revoke`: who asks, which grant, and the answer.

Each request is one change of the grants under the realm's lock: of two requests with the same
refresh token, the second sees what the first one did.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from urllib.parse import unquote_plus

from tokenkeep.testing.authorization_server.grants import Issued, Refused
from tokenkeep.testing.authorization_server.realm import Realm
from tokenkeep.testing.authorization_server.wire import Answer, Request, error_answer, json_answer

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def answer_token(realm: Realm, request: Request) -> Answer:
    """Answer a token request (RFC 6749 sections 4.1.3 and 6, RFC 8628 section 3.4)."""
    try:
        client_id = authenticated_client(realm, request)
        with realm.lock:
            issued = _issued(realm, client_id, request.form)
    except Refused as refused:
        return _refusal(refused)
    return json_answer(realm.token_answer(issued, request))


def answer_revoke(realm: Realm, request: Request) -> Answer:
    """Answer a revocation request (RFC 7009)."""
    try:
        client_id = authenticated_client(realm, request)
        with realm.lock:
            realm.grants.revoke(client_id, required(request.form, "token"))
    except Refused as refused:
        return _refusal(refused)
    return Answer(200, {"Cache-Control": "no-store"})


def authenticated_client(realm: Realm, request: Request) -> str:
    """The client that asks (RFC 6749 section 2.3).

    Raises:
        Refused: `invalid_client` for an unknown client or a wrong secret, `invalid_request` for a
            parameter that came twice or for two ways to authenticate at once.
    """
    if request.repeated:
        raise Refused("invalid_request", f"repeated: {', '.join(sorted(request.repeated))}")
    header = request.headers.get("authorization", "")
    client_id, secret = request.form.get("client_id"), request.form.get("client_secret")
    if header.lower().startswith("basic "):
        if secret is not None:
            raise Refused("invalid_request", "two ways to authenticate at once")
        basic_id, secret = _basic_credentials(header[len("basic ") :])
        if client_id not in (None, basic_id):
            raise Refused("invalid_request", "two different client ids")
        client_id = basic_id
    if not client_id:
        raise Refused("invalid_client", "no client_id", status=401)
    known = {client.client_id: client for client in realm.policy.clients}
    if not known:
        return client_id
    client = known.get(client_id)
    if client is None:
        raise Refused("invalid_client", "no such client", status=401)
    if client.secret is not None and not _same(client.secret, secret or ""):
        raise Refused("invalid_client", "the client is confidential", status=401)
    return client_id


def required(form: Mapping[str, str], name: str) -> str:
    """A parameter that has to be there.

    Raises:
        Refused: `invalid_request`.
    """
    value = form.get(name)
    if not value:
        raise Refused("invalid_request", f"{name} is missing")
    return value


def _issued(realm: Realm, client_id: str, form: Mapping[str, str]) -> Issued:
    grant_type, now = required(form, "grant_type"), realm.now()
    if grant_type == "authorization_code":
        return realm.codes.redeem(
            realm.grants,
            client_id=client_id,
            value=required(form, "code"),
            redirect_uri=required(form, "redirect_uri"),
            verifier=required(form, "code_verifier"),
            now=now,
        )
    if grant_type == "refresh_token":
        token = required(form, "refresh_token")
        return realm.grants.refresh(client_id, token, form.get("scope") or None, now)
    if grant_type == DEVICE_GRANT:
        return realm.devices.redeem(realm.grants, client_id, required(form, "device_code"), now)
    raise Refused("unsupported_grant_type", grant_type)


def _basic_credentials(encoded: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Refused("invalid_client", "not Basic credentials", status=401) from None
    client_id, _, secret = text.partition(":")
    return unquote_plus(client_id), unquote_plus(secret)


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode("utf-8", "surrogatepass"))


def _refusal(refused: Refused) -> Answer:
    answer = error_answer(refused.error, refused.description, refused.status)
    if refused.status != 401:
        return answer
    headers = {**answer.headers, "WWW-Authenticate": 'Basic realm="token"'}
    return Answer(401, headers, document=answer.document)
