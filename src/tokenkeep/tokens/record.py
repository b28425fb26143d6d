"""The session record: everything that survives a restart, as one value of the store.

Nothing here does input or output. A record is `tokenkeep.fields` of the fields below; numbers are
ASCII decimals, an absent field is an absent value, and fields that this version does not know are
kept as they are. The unknown fields of a token response and the provider's metadata are JSON text.
"""

from __future__ import annotations

from tokenkeep.errors import FormatUnsupported, SecretDamaged
from tokenkeep.fields import pack, unpack
from tokenkeep.secret import Secret

FORMAT = 1

#: A wall clock that stands this far before the moment a token was obtained was set back.
_CLOCK_SLACK_SECONDS = 60.0

_TEXTS = (
    "session_id",
    "account",
    "issuer",
    "client_id",
    "subject",
    "scope",
    "granted",
    "token_type",
    "metadata",
    "policy",
    "extra",
)
_SECRETS = ("refresh_token", "access_token", "id_token", "dpop_key")
_KNOWN = frozenset(
    (
        *_TEXTS,
        *_SECRETS,
        "format",
        "generation",
        "lifetime",
        "obtained_wall",
        "obtained_monotonic",
        "obtained_boot",
        "shares",
        "pause_seconds",
        "pause_wall",
        "pause_monotonic",
        "pause_boot",
        "intent_generation",
        "intent_digest",
        "intent_wall",
        "intent_monotonic",
        "intent_boot",
    )
)


class Moment:
    """A point in time that survives a restart: wall time, and monotonic time of one boot."""

    __slots__ = ("boot", "monotonic", "wall")

    def __init__(self, wall: float, monotonic: float, boot: str) -> None:
        self.wall = wall
        self.monotonic = monotonic
        self.boot = boot

    def age(self, now: Moment) -> float | None:
        """Seconds from here to `now`; None if the clock was set back and nobody can tell.

        Within one boot the monotonic clock answers, whatever happened to the wall clock.
        """
        if self.boot and self.boot == now.boot and now.monotonic >= self.monotonic:
            return now.monotonic - self.monotonic
        age = now.wall - self.wall
        return None if age < -_CLOCK_SLACK_SECONDS else max(0.0, age)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Moment):
            return NotImplemented
        return (self.wall, self.monotonic, self.boot) == (other.wall, other.monotonic, other.boot)

    __hash__ = None  # type: ignore[assignment]  # compares floats; nobody needs it as a key

    def __repr__(self) -> str:
        return f"Moment({self.wall!r}, {self.monotonic!r}, {self.boot!r})"


class Intent:
    """The durable note "this refresh token is being redeemed", written before the wire."""

    __slots__ = ("at", "digest", "generation")

    def __init__(self, generation: int, digest: str, at: Moment) -> None:
        self.generation = generation
        self.digest = digest
        self.at = at


class Pause:
    """The provider asked, at a moment, not to be asked again for some seconds."""

    __slots__ = ("at", "seconds")

    def __init__(self, seconds: float, at: Moment) -> None:
        self.seconds = seconds
        self.at = at

    def left(self, now: Moment) -> float:
        """Seconds still to wait; none if nobody can tell: asking again is answered again."""
        age = self.at.age(now)
        return 0.0 if age is None else max(0.0, self.seconds - age)


class Record:
    """One account's session as it is kept.

    Attributes:
        session_id: 32 hexadecimal digits, drawn at login.
        account: whose session it is; "" if the record's name says so.
        generation: 1 at login, one more at each redemption.
        lifetime: seconds the access token was granted for; None if the provider did not say.
        obtained: when the token response came.
        scope: what the newest answer said.
        granted: what the login was granted, where a later answer said another; else "".
        access_token: the current one, if access tokens are shared or must survive; else None.
        shares: whether access tokens are kept here for every process.
        dpop_key: what the tokens are bound to; None for bearer tokens.
        pause: what the provider asked for, until a redemption succeeds.
        metadata, policy, extra: JSON text, "" if there is none: the provider's metadata, what the
            application said of it, and the fields of the token response nobody here knows.
        unknown: fields of a newer version, kept as they are.
    """

    __slots__ = (
        "access_token",
        "account",
        "client_id",
        "dpop_key",
        "extra",
        "generation",
        "granted",
        "id_token",
        "intent",
        "issuer",
        "lifetime",
        "metadata",
        "obtained",
        "pause",
        "policy",
        "refresh_token",
        "scope",
        "session_id",
        "shares",
        "subject",
        "token_type",
        "unknown",
    )

    def __init__(
        self,
        session_id: str,
        obtained: Moment,
        *,
        account: str = "",
        generation: int = 1,
        refresh_token: Secret | None = None,
        access_token: Secret | None = None,
        id_token: Secret | None = None,
        dpop_key: Secret | None = None,
        issuer: str = "",
        client_id: str = "",
        subject: str = "",
        scope: str = "",
        granted: str = "",
        token_type: str = "Bearer",
        lifetime: float | None = None,
        metadata: str = "",
        policy: str = "",
        extra: str = "",
        shares: bool = False,
        pause: Pause | None = None,
        intent: Intent | None = None,
        unknown: dict[str, bytes] | None = None,
    ) -> None:
        self.session_id = session_id
        self.obtained = obtained
        self.account = account
        self.generation = generation
        self.refresh_token = refresh_token
        self.access_token = access_token
        self.id_token = id_token
        self.dpop_key = dpop_key
        self.issuer = issuer
        self.client_id = client_id
        self.subject = subject
        self.scope = scope
        self.granted = granted
        self.token_type = token_type
        self.lifetime = lifetime
        self.metadata = metadata
        self.policy = policy
        self.extra = extra
        self.shares = shares
        self.pause = pause
        self.intent = intent
        self.unknown = unknown or {}

    def changed(self, **fields: object) -> Record:
        """A copy with some fields replaced."""
        copy = Record.__new__(Record)
        for name in Record.__slots__:
            setattr(copy, name, fields[name] if name in fields else getattr(self, name))
        return copy

    def remaining(self, now: Moment) -> float:
        """Seconds the access token is still good for; 0 if nobody can tell, inf without expiry."""
        if self.lifetime is None:
            return float("inf")
        age = self.obtained.age(now)
        return 0.0 if age is None else self.lifetime - age

    def is_of(self, issuer: str, client_id: str) -> bool:
        """Whether the tokens are this client's; a record that names no issuer is its user's."""
        return not self.issuer or (self.issuer, self.client_id) == (issuer, client_id)

    def may_be_same_grant(self, other: Record) -> bool:
        """Whether issuer, client and subject can agree: a server may revoke such grants together.

        What a record does not say may be what the other one says.
        """
        pairs = (
            (self.issuer, other.issuer),
            (self.client_id, other.client_id),
            (self.subject, other.subject),
        )
        return all(one == another or not (one and another) for one, another in pairs)

    def __repr__(self) -> str:
        return f"<Record generation={self.generation}>"


def encode(record: Record) -> Secret:
    """The record as a store's value."""
    fields = dict(record.unknown)
    fields["format"] = b"%d" % FORMAT
    fields["generation"] = b"%d" % record.generation
    for name in _TEXTS:
        text: str = getattr(record, name)
        if text:
            fields[name] = text.encode("utf-8")
    for name in _SECRETS:
        secret: Secret | None = getattr(record, name)
        if secret is not None:
            fields[name] = secret.reveal_bytes()
    _put_moment(fields, "obtained", record.obtained)
    if record.lifetime is not None:
        fields["lifetime"] = _number(record.lifetime)
    if record.pause is not None:
        fields["pause_seconds"] = _number(record.pause.seconds)
        _put_moment(fields, "pause", record.pause.at)
    if record.shares:
        fields["shares"] = b"1"
    if record.intent is not None:
        fields["intent_generation"] = b"%d" % record.intent.generation
        fields["intent_digest"] = record.intent.digest.encode("ascii")
        _put_moment(fields, "intent", record.intent.at)
    return Secret(pack(fields))


def decode(value: Secret) -> Record:
    """The record that `encode` encoded.

    Raises:
        FormatUnsupported: a newer tokenkeep wrote it.
        SecretDamaged: it is no session record.
    """
    record: Record | None = None
    newer = False
    try:
        fields = unpack(value.reveal_bytes())
        newer = int(fields["format"]) > FORMAT
        record = None if newer else _from_fields(fields)
    except (ValueError, KeyError):
        pass  # raised below, where no frame holds the fields
    fields = {}
    if newer:
        raise FormatUnsupported(
            "the session record was written by a newer tokenkeep", hint="upgrade tokenkeep"
        )
    if record is None:
        raise SecretDamaged("the session record is damaged", hint="tokenkeep logout, then login")
    return record


def _from_fields(fields: dict[str, bytes]) -> Record:
    texts = {name: fields[name].decode("utf-8") for name in _TEXTS if name in fields}
    secrets = {name: Secret(fields[name]) for name in _SECRETS if name in fields}
    record = Record(
        texts.pop("session_id"), _moment(fields, "obtained"), generation=int(fields["generation"])
    )
    for name, value in (*texts.items(), *secrets.items()):
        setattr(record, name, value)
    if "lifetime" in fields:
        record.lifetime = _finite(fields["lifetime"])
    if "pause_seconds" in fields:
        record.pause = Pause(_finite(fields["pause_seconds"]), _moment(fields, "pause"))
    record.shares = fields.get("shares") == b"1"
    if "intent_generation" in fields:
        record.intent = Intent(
            int(fields["intent_generation"]),
            fields["intent_digest"].decode("ascii"),
            _moment(fields, "intent"),
        )
    record.unknown = {name: value for name, value in fields.items() if name not in _KNOWN}
    return record


def _put_moment(fields: dict[str, bytes], prefix: str, moment: Moment) -> None:
    fields[f"{prefix}_wall"] = _number(moment.wall)
    fields[f"{prefix}_monotonic"] = _number(moment.monotonic)
    fields[f"{prefix}_boot"] = moment.boot.encode("utf-8")


def _moment(fields: dict[str, bytes], prefix: str) -> Moment:
    return Moment(
        _finite(fields[f"{prefix}_wall"]),
        _finite(fields[f"{prefix}_monotonic"]),
        fields[f"{prefix}_boot"].decode("utf-8"),
    )


def _number(value: float) -> bytes:
    return f"{value:.3f}".encode("ascii")


def _finite(text: bytes) -> float:
    value = float(text)
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError("not a finite number")
    return value
