"""How the server behaves: what it rotates, how long things live, what it leaves out.

Values only. A policy is frozen; to change the behaviour of a running server, give it another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import Enum


class Grace(Enum):
    """What a refresh token gets that is sent again within `Policy.grace_seconds`."""

    IDEMPOTENT = "idempotent"
    """The same successor as the first time (WorkOS, dex)."""
    BRANCHING = "branching"
    """A sibling of the first successor, a new one each time (Auth0)."""


class RevocationReach(Enum):
    """What ends when one refresh token is revoked."""

    FAMILY = "family"
    """The tokens that came from the same login."""
    CLIENT_AND_USER = "client_and_user"
    """Every login of this client and this user: a login in another window ends too."""


@dataclass(frozen=True)
class Client:
    """A client that the server knows: public without a `secret`, confidential with one."""

    client_id: str
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Policy:
    """What the server does; the defaults are those of a strict, modern provider.

    Args:
        clients: The clients that are known. None given: any client id is a public client.
        user: Who is signed in, the `sub` of every login that names nobody else.
        auto_approve: Without it `/authorize` shows a page with a link to approve and one to deny.
        rotation: Every refresh returns a new refresh token and spends the one sent.
        returns_refresh_token: With `rotation=False`: repeat the refresh token in the answer to a
            refresh. False leaves it out, and the client has to keep the one it has.
        reuse_detection: A spent refresh token that comes again, outside the grace window, ends the
            whole family and its access tokens (RFC 9700 section 4.14.2).
        grace_seconds: For how long a spent refresh token may come again, as long as none of its
            successors was used.
        grace: What it gets then.
        refresh_kills_access_tokens: A refresh ends the earlier access tokens of the family.
        access_token_seconds: How long an access token lives.
        refresh_token_seconds: How long a refresh token lives, counted from its own issue.
            None: without end.
        code_seconds: How long an authorization code lives.
        offline_access_required: Give a refresh token only to logins that asked for the scope
            `offline_access`.
        withheld_scopes: Scopes that are never granted, whoever asks.
        states_scope: The token answer carries `scope`.
        omit_expires_in: The token answer does not say how long the access token lives.
        token_type: The `token_type` of a token answer.
        id_token_on_refresh: A refresh of an OpenID login returns an ID token again.
        id_token_seconds: How long an ID token lives.
        extra_fields: Unknown fields that every token answer carries.
        revocation_reach: What ends when a refresh token is revoked.
        device_interval: Seconds between two polls of the device grant as stated in the answer.
            None leaves it out, which means 5 (RFC 8628 section 3.2).
        enforce_device_interval: Polling faster is answered `slow_down`, and the interval grows by
            5 seconds for good.
        device_seconds: How long a device code lives.
        device_polls_until_approved: The device login approves itself at this poll (1 is the
            first). None: somebody has to approve it.
        states_iss_in_redirect: The redirect carries `iss`, and the metadata says so (RFC 9207).

    Raises:
        ValueError: Rotation without returning the new refresh token: the session would end with
            every refresh.
    """

    clients: tuple[Client, ...] = ()
    user: str = "alice"
    auto_approve: bool = True
    rotation: bool = True
    returns_refresh_token: bool = True
    reuse_detection: bool = True
    grace_seconds: float = 0.0
    grace: Grace = Grace.IDEMPOTENT
    refresh_kills_access_tokens: bool = False
    access_token_seconds: float = 300.0
    refresh_token_seconds: float | None = None
    code_seconds: float = 60.0
    offline_access_required: bool = False
    withheld_scopes: frozenset[str] = frozenset()
    states_scope: bool = True
    omit_expires_in: bool = False
    token_type: str = "Bearer"
    id_token_on_refresh: bool = True
    id_token_seconds: float = 300.0
    extra_fields: Mapping[str, object] = field(default_factory=dict)
    revocation_reach: RevocationReach = RevocationReach.FAMILY
    device_interval: int | None = 1
    enforce_device_interval: bool = True
    device_seconds: float = 600.0
    device_polls_until_approved: int | None = None
    states_iss_in_redirect: bool = True

    def __post_init__(self) -> None:
        if self.rotation and not self.returns_refresh_token:
            raise ValueError("rotation has to return the new refresh token")


def policy_to_json(policy: Policy) -> dict[str, object]:
    """The policy as a JSON object, for another process."""
    document: dict[str, object] = asdict(policy)
    document["grace"] = policy.grace.value
    document["revocation_reach"] = policy.revocation_reach.value
    document["withheld_scopes"] = sorted(policy.withheld_scopes)
    return document


def policy_from_json(document: Mapping[str, object]) -> Policy:
    """The policy that a JSON object describes; what it does not name has its default.

    Raises:
        ValueError: It names something that a policy does not have, or a value that it cannot be.
    """
    unknown = set(document) - {each.name for each in fields(Policy)}
    if unknown:
        raise ValueError(f"a policy has no {', '.join(sorted(unknown))}")
    try:
        return Policy(**{name: _decoded(name, value) for name, value in document.items()})  # type: ignore[arg-type]
    except (TypeError, KeyError) as exc:
        raise ValueError(f"not a policy: {exc}") from exc


def _decoded(name: str, value: object) -> object:
    if name == "grace":
        return Grace(value)
    if name == "revocation_reach":
        return RevocationReach(value)
    if name == "withheld_scopes":
        return frozenset(_strings(value))
    if name == "clients":
        return tuple(_client(each) for each in _list(value))
    return value


def _client(value: object) -> Client:
    if not isinstance(value, dict):
        raise ValueError("a client is an object with client_id and secret")
    return Client(**value)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, not {type(value).__name__}")
    return value


def _strings(value: object) -> list[str]:
    return [str(each) for each in _list(value)]
