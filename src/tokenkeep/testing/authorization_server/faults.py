"""The faults: each a value that says what goes wrong with one request.

A fault acts at one of two moments. `When.BEFORE`: the request never reaches the grants, nothing
was issued or revoked. `When.AFTER`: the server did what was asked, only the answer is wrong or
lost; this is the half that costs sessions.

    server.faults.add(Endpoint.TOKEN, Drop(When.AFTER))
    server.faults.add(Endpoint.TOKEN, Status(503, retry_after_seconds=5), times=3)
    server.faults.add(Endpoint.TOKEN, Delay(When.AFTER, 0.2), Drop(When.AFTER))
"""

# ruff: noqa: D102 - what `before`, `after` and `answer` are is said once, at the top of the tree.

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from enum import Enum
from typing import Protocol

from tokenkeep.testing.authorization_server.wire import Answer, Request, error_answer, redirect


class When(Enum):
    """Whether the server does what was asked before it misbehaves."""

    BEFORE = "before"
    AFTER = "after"


class Stage(Protocol):
    """What a fault may do to time."""

    def now(self) -> float:
        """The server's time in seconds since the epoch."""
        ...

    def pause(self, seconds: float) -> None:
        """Let real time pass; cut short when the server stops."""
        ...

    def hold(self, at_most_seconds: float) -> None:
        """Wait until somebody releases the held requests."""
        ...


@dataclass(frozen=True)
class Fault:
    """What may happen to a request; the kinds below override one half or both."""

    def before(self, request: Request, stage: Stage) -> Request | Answer:
        """The request to go on with, or an answer that keeps it from the grants."""
        return request

    def after(self, answer: Answer, stage: Stage) -> Answer:
        """The answer to send instead of `answer`."""
        return answer


@dataclass(frozen=True)
class Delay(Fault):
    """The answer comes late; the client may have given up."""

    when: When
    seconds: float

    def before(self, request: Request, stage: Stage) -> Request | Answer:
        if self.when is When.BEFORE:
            stage.pause(self.seconds)
        return request

    def after(self, answer: Answer, stage: Stage) -> Answer:
        if self.when is When.AFTER:
            stage.pause(self.seconds)
        return answer


@dataclass(frozen=True)
class Hold(Fault):
    """The request stands still until `faults.release()`: for a crash or a logout just there."""

    when: When
    at_most_seconds: float = 30.0

    def before(self, request: Request, stage: Stage) -> Request | Answer:
        if self.when is When.BEFORE:
            stage.hold(self.at_most_seconds)
        return request

    def after(self, answer: Answer, stage: Stage) -> Answer:
        if self.when is When.AFTER:
            stage.hold(self.at_most_seconds)
        return answer


@dataclass(frozen=True)
class _Instead(Fault):
    """Another answer takes the place of the true one."""

    when: When = field(default=When.AFTER, kw_only=True)

    def before(self, request: Request, stage: Stage) -> Request | Answer:
        return self.answer(stage) if self.when is When.BEFORE else request

    def after(self, answer: Answer, stage: Stage) -> Answer:
        return self.answer(stage) if self.when is When.AFTER else answer

    def answer(self, stage: Stage) -> Answer:
        """The answer that is sent instead."""
        raise NotImplementedError


@dataclass(frozen=True)
class Drop(Fault):
    """The connection closes without an answer; with `reset`, by a TCP reset."""

    when: When
    reset: bool = False

    def before(self, request: Request, stage: Stage) -> Request | Answer:
        return Answer(dropped=True, reset=self.reset) if self.when is When.BEFORE else request

    def after(self, answer: Answer, stage: Stage) -> Answer:
        return Answer(dropped=True, reset=self.reset) if self.when is When.AFTER else answer


@dataclass(frozen=True)
class Status(_Instead):
    """A bare HTTP status, with `Retry-After` in seconds or as a date if wanted."""

    code: int
    retry_after_seconds: int | None = None
    retry_after_as_date: bool = False
    when: When = field(default=When.BEFORE, kw_only=True)

    def answer(self, stage: Stage) -> Answer:
        headers = {"Content-Type": "text/plain"}
        if self.retry_after_seconds is not None:
            headers["Retry-After"] = str(self.retry_after_seconds)
            if self.retry_after_as_date:
                at = stage.now() + self.retry_after_seconds
                headers["Retry-After"] = formatdate(at, usegmt=True)
        return Answer(self.code, headers, b"something is wrong here")


@dataclass(frozen=True)
class OAuthError(_Instead):
    """An OAuth error code: `invalid_client` is 401, everything else 400 unless said."""

    error: str
    status: int | None = None
    when: When = field(default=When.BEFORE, kw_only=True)

    def answer(self, stage: Stage) -> Answer:
        status = self.status or (401 if self.error == "invalid_client" else 400)
        return error_answer(self.error, "injected", status)


@dataclass(frozen=True)
class Html(_Instead):
    """A page with status 200, as a captive portal or a proxy sends it."""

    when: When = field(default=When.BEFORE, kw_only=True)

    def answer(self, stage: Stage) -> Answer:
        body = b"<!doctype html><title>Welcome</title><h1>Please accept our terms</h1>"
        return Answer(200, {"Content-Type": "text/html; charset=utf-8"}, body)


@dataclass(frozen=True)
class RedirectTo(_Instead):
    """A redirect, which a token endpoint never sends and a client must not follow."""

    location: str
    status: int = 302
    when: When = field(default=When.BEFORE, kw_only=True)

    def answer(self, stage: Stage) -> Answer:
        return redirect(self.location, {}, self.status)


@dataclass(frozen=True)
class HugeBody(_Instead):
    """JSON whose first string does not end for `size_bytes`."""

    size_bytes: int = 64 * 1024 * 1024

    def answer(self, stage: Stage) -> Answer:
        headers = {"Content-Type": "application/json"}
        return Answer(200, headers, b'{"access_token": "', filler_bytes=self.size_bytes)


@dataclass(frozen=True)
class GzipBomb(_Instead):
    """A small compressed body that opens to `decompressed_bytes` of spaces."""

    decompressed_bytes: int = 16 * 1024 * 1024

    def answer(self, stage: Stage) -> Answer:
        compressor, chunk = zlib.compressobj(wbits=31), b" " * 65536
        pieces = [compressor.compress(chunk) for _ in range(self.decompressed_bytes // len(chunk))]
        body = b"".join(pieces) + compressor.flush()
        return Answer(200, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, body)


@dataclass(frozen=True)
class TruncatedJson(Fault):
    """Half of the document; with `cut`, the length says more and the connection breaks."""

    cut: bool = False

    def after(self, answer: Answer, stage: Stage) -> Answer:
        return replace(answer, cut=True) if self.cut else replace(answer, truncated=True)


@dataclass(frozen=True)
class WithFields(Fault):
    """Fields of the JSON answer set to something else: wrong types, another issuer."""

    fields: Mapping[str, object]

    def after(self, answer: Answer, stage: Stage) -> Answer:
        if answer.document is None:
            return answer
        return replace(answer, document={**answer.document, **self.fields})


@dataclass(frozen=True)
class WithoutFields(Fault):
    """Fields of the JSON answer left out, such as `access_token`."""

    names: tuple[str, ...]

    def after(self, answer: Answer, stage: Stage) -> Answer:
        if answer.document is None:
            return answer
        kept = {name: each for name, each in answer.document.items() if name not in self.names}
        return replace(answer, document=kept)


@dataclass(frozen=True)
class ScopeGrown(Fault):
    """The answer grants a scope that nobody asked for."""

    added: str = "admin"

    def after(self, answer: Answer, stage: Stage) -> Answer:
        if answer.document is None:
            return answer
        scope = f"{answer.document.get('scope', '')} {self.added}".strip()
        return replace(answer, document={**answer.document, "scope": scope})


@dataclass(frozen=True)
class IdTokenClaims(Fault):
    """Other claims in a properly signed ID token: another `sub`, `iss`, `nonce`; None removes."""

    claims: Mapping[str, object]

    def before(self, request: Request, stage: Stage) -> Request | Answer:
        return replace(request, id_token_claims={**request.id_token_claims, **self.claims})


@dataclass(frozen=True)
class ForgedIdToken(Fault):
    """An ID token that names the published key and is signed by another."""

    def before(self, request: Request, stage: Stage) -> Request | Answer:
        return replace(request, forge_id_token=True)


@dataclass(frozen=True)
class SkewedDate(Fault):
    """The `Date` header is wrong by so many seconds."""

    seconds: float

    def after(self, answer: Answer, stage: Stage) -> Answer:
        return replace(answer, date_skew_seconds=self.seconds)


@dataclass(frozen=True)
class SlowBody(Fault):
    """The body comes byte by byte, each in time for a read time-out, all of it too late."""

    seconds_per_byte: float = 0.05

    def after(self, answer: Answer, stage: Stage) -> Answer:
        return replace(answer, seconds_per_byte=self.seconds_per_byte)


@dataclass(frozen=True)
class RedirectParameters(Fault):
    """Other parameters in the redirect to the client: a wrong `state` or `iss`; None removes."""

    parameters: Mapping[str, str | None]

    def after(self, answer: Answer, stage: Stage) -> Answer:
        location = answer.headers.get("Location")
        if location is None:
            return answer
        return redirect(location, self.parameters, answer.status)


KINDS: Mapping[str, type[Fault]] = {
    kind.__name__: kind
    for kind in (
        Delay,
        Drop,
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
        WithFields,
        WithoutFields,
    )
}
