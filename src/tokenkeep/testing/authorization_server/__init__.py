"""An authorization server for tests: real HTTP on loopback, strict by default, wrong on demand.

    from tokenkeep.testing.authorization_server import AuthorizationServer, Drop, Endpoint, When

    with AuthorizationServer() as server:
        session = Session(Provider(server.issuer, client_id="notes"), tokens)
        session.begin(server.login("notes"))
        server.faults.add(Endpoint.TOKEN, Drop(When.AFTER))    # the answer is lost
        ...
        assert 1 == server.token_requests

It rotates refresh tokens and ends a family when a spent one comes again; `Policy` changes that,
`faults` breaks single requests, `stop` and `start` take the server offline and back.

As a process of its own, with `Admin` as its remote control:

    python -m tokenkeep.testing.authorization_server --policy '{"access_token_seconds": 2}'

It stands alone: the standard library and, for ID tokens, `joserfc`. It is not safe for production:
there are no passwords.
"""

from __future__ import annotations

from tokenkeep.testing.authorization_server.admin import Admin, AdminRefused
from tokenkeep.testing.authorization_server.faults import (
    Delay,
    Drop,
    Fault,
    ForgedIdToken,
    GzipBomb,
    Hold,
    Html,
    HugeBody,
    IdTokenClaims,
    OAuthError,
    RedirectParameters,
    RedirectTo,
    ScopeGrown,
    SkewedDate,
    SlowBody,
    Status,
    TruncatedJson,
    When,
    WithFields,
    WithoutFields,
)
from tokenkeep.testing.authorization_server.grants import Family
from tokenkeep.testing.authorization_server.injection import Faults
from tokenkeep.testing.authorization_server.policy import Client, Grace, Policy, RevocationReach
from tokenkeep.testing.authorization_server.records import Requests, SeenRequest
from tokenkeep.testing.authorization_server.server import AuthorizationServer
from tokenkeep.testing.authorization_server.wire import Endpoint

__all__ = [
    "Admin",
    "AdminRefused",
    "AuthorizationServer",
    "Client",
    "Delay",
    "Drop",
    "Endpoint",
    "Family",
    "Fault",
    "Faults",
    "ForgedIdToken",
    "Grace",
    "GzipBomb",
    "Hold",
    "Html",
    "HugeBody",
    "IdTokenClaims",
    "OAuthError",
    "Policy",
    "RedirectParameters",
    "RedirectTo",
    "Requests",
    "RevocationReach",
    "ScopeGrown",
    "SeenRequest",
    "SkewedDate",
    "SlowBody",
    "Status",
    "TruncatedJson",
    "When",
    "WithFields",
    "WithoutFields",
]
