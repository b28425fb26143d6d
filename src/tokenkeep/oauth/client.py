"""Client: the requests of a session to its provider, each bounded in time and size."""

from __future__ import annotations

import dataclasses
from threading import TIMEOUT_MAX, Lock
from typing import TYPE_CHECKING

from tokenkeep.clock import SystemClock
from tokenkeep.errors import ProtocolViolation, RefreshUnavailable
from tokenkeep.oauth import idtoken, remedies, requests
from tokenkeep.oauth.answers import error_code, json_object, max_age, retry_after, token_outcome
from tokenkeep.oauth.dpop import NONCE_WANTED, usable_nonce
from tokenkeep.oauth.idtoken import Claims, Header
from tokenkeep.oauth.metadata import Metadata, metadata_urls, parse_metadata
from tokenkeep.oauth.outcome import Answered, Misconfigured, Outcome, Unanswered, Unsent
from tokenkeep.oauth.transport import Httpx2Transport, NoAnswer, NotSent
from tokenkeep.oauth.wire import HttpRequest, HttpResponse
from tokenkeep.secret import Secret, as_secret

if TYPE_CHECKING:
    from tokenkeep.clock import Clock
    from tokenkeep.oauth.dpop import DpopKey
    from tokenkeep.oauth.provider import Provider
    from tokenkeep.oauth.transport import Transport


#: How long what was discovered is taken as it is. A provider that moves an endpoint keeps the old
#: one for longer, and one request a day costs nobody anything.
_METADATA_SECONDS = 86400.0
#: Seconds for discovering anew where there is something to go on with, and between two attempts.
_ANEW_SECONDS, _ANEW_PAUSE = 3.0, 60.0
#: How long keys are trusted that the provider may have withdrawn since: as long as its answer says,
#: within these. The most is what jose4j takes where nothing is said; less than the least would be
#: one request more for each login.
_MOST_KEY_SECONDS, _LEAST_KEY_SECONDS = 3600.0, 60.0
#: Seconds after keys came until a token that none of them fits is a reason to look again, so that
#: many forged ones are not as many requests. The library jose waits for 30; here a login is lost
#: whose key is newer than that.
_KEYS_PAUSE = 10.0
#: Seconds after keys could not be fetched until they are asked for again, so that many logins at a
#: provider that fails are not as many requests: from the second failure in a row, because one may
#: be a hiccup, and as long as a Retry-After says, up to a minute.
_FAILED_SECONDS, _MOST_FAILED_SECONDS = 5.0, 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class _KeySet:
    """The provider's keys, where and when they were fetched; times are monotonic."""

    url: str
    document: object
    fetched_at: float
    trusted_until: float


@dataclasses.dataclass(frozen=True, slots=True)
class _NoKeys:
    """The keys could not be fetched: where, when, why, and until when that is taken as it is."""

    url: str
    at: float
    until: float
    problem: str
    #: Whether the provider answered, with something that is no key set.
    is_wrong: bool

    def error(self, now: float) -> RefreshUnavailable | ProtocolViolation:
        """What to raise for it, at the time and later."""
        ago = now - self.at
        when = f" ({ago:.0f} s ago; not asked again yet)" if ago > 0 else ""
        if self.is_wrong:
            return ProtocolViolation(self.problem + when, hint=remedies.TELL_THE_PROVIDER)
        left = round(self.until - now, 3)
        return RefreshUnavailable(self.problem + when, retry_after=left or None)


class Client:
    """One provider, reached over one transport. Safe to use from many threads.

    Args:
        transport: None takes httpx2, loaded at the first request.
        clock: for ID tokens and for waiting.
    """

    def __init__(
        self, provider: Provider, transport: Transport | None = None, clock: Clock | None = None
    ) -> None:
        self.provider = provider
        self.transport: Transport = Httpx2Transport() if transport is None else transport
        self.clock: Clock = SystemClock() if clock is None else clock
        self._metadata: Metadata | None = None
        self._not_anew_before = 0.0
        self._keys: _KeySet | None = None
        self._no_keys: _NoKeys | None = None
        self._fetching_keys = Lock()
        # The newest that the token endpoint gave; RFC 9449, section 8.2.
        self._dpop_nonce: str | None = None

    def close(self) -> None:
        """Lets the transport go; a later request starts anew."""
        self.transport.close()

    def metadata(
        self,
        cached: Metadata | None = None,
        timeout: float | None = None,
        *,
        anew: bool = False,
    ) -> Metadata:
        """The provider's metadata: given with the provider, known for less than a day, or fetched.

        What is known from before goes on serving where nothing newer is to be had, so that
        restore and logout work offline.

        Args:
            cached: what a session's record knows; not used if it is another issuer's.
            anew: fetch even if what is known is recent: an endpoint may have moved.

        Raises:
            RefreshUnavailable: the provider cannot be reached now, and nothing is known.
            ProtocolViolation: what it says is wrong, or of another issuer, and nothing is known.
            MissingExtra: httpx2 is not installed.
        """
        if self.provider.metadata is not None:
            return self.provider.metadata
        seconds = self._seconds(timeout)
        known = self._newer(self._metadata, cached)
        if known is None:
            self._metadata = self._fetched_metadata(seconds)
            return self._metadata
        if known.discovered_at is None:
            return known  # the application that began the session gave it
        now = self.clock.monotonic()
        if not anew and (self._is_recent(known) or now < self._not_anew_before):
            return known
        try:
            self._metadata = self._fetched_metadata(min(seconds, _ANEW_SECONDS))
        except (RefreshUnavailable, ProtocolViolation):
            self._not_anew_before = now + _ANEW_PAUSE
            return known
        return self._metadata

    def refresh(
        self,
        metadata: Metadata,
        refresh_token: Secret,
        scope: str | None = None,
        timeout: float | None = None,
        dpop_key: DpopKey | None = None,
    ) -> Outcome:
        """Redeems the refresh token, once; never raises for what the network or provider does.

        Args:
            scope: None asks for what was granted.
            dpop_key: what the session's tokens are bound to, if they are.

        Raises:
            MissingExtra: httpx2 is not installed; nothing was sent.
        """
        refresh_token = as_secret(refresh_token)
        request = requests.refresh_request(
            self.provider, metadata, refresh_token=refresh_token, scope=scope
        )
        outcome = self.token_request(request, timeout, dpop_key)
        if isinstance(outcome, Answered) and not outcome.response.is_bound_by(dpop_key):
            return Unanswered("the tokens that came are bound otherwise than the session's")
        return outcome

    def token_request(
        self,
        request: HttpRequest,
        timeout: float | None = None,
        dpop_key: DpopKey | None = None,
    ) -> Outcome:
        """Sends a request to the token endpoint and says what became of it.

        With a DPoP key, an answer that only asks for a nonce is answered with one, once: the
        provider has not looked at anything else of the request (RFC 9449, section 8).

        Raises:
            MissingExtra: httpx2 is not installed; nothing was sent.
        """
        deadline = self.clock.monotonic() + self._seconds(timeout)
        may_repeat = dpop_key is not None
        while True:
            nonce = self._dpop_nonce
            sent = request if dpop_key is None else self._proven(request, dpop_key, nonce)
            try:
                response = self.transport.send(sent, max(0.1, deadline - self.clock.monotonic()))
            except NotSent as exc:
                return Unsent(exc.reason)
            except NoAnswer as exc:
                return Unanswered(exc.reason)
            self._dpop_nonce = usable_nonce(response.headers.get("dpop-nonce")) or nonce
            outcome = token_outcome(response, request.secrets())
            is_asked = isinstance(outcome, Misconfigured) and outcome.error == NONCE_WANTED
            if not (may_repeat and is_asked and self._dpop_nonce != nonce):
                return outcome
            may_repeat = False

    def _proven(self, request: HttpRequest, key: DpopKey, nonce: str | None) -> HttpRequest:
        proof = key.proof(request.method, request.url, at=self.clock.wall(), nonce=nonce)
        return dataclasses.replace(request, headers=(*request.headers, ("dpop", proof)))

    def revoke(
        self,
        metadata: Metadata,
        token: Secret,
        hint: str = "refresh_token",
        timeout: float | None = None,
    ) -> str | None:
        """Revokes a token (RFC 7009): None if it is revoked now, else why that is not known.

        Raises:
            MissingExtra: httpx2 is not installed; nothing was sent.
        """
        token = as_secret(token)
        if metadata.revocation_endpoint is None:
            return "the provider has no revocation endpoint"
        request = requests.revoke_request(
            self.provider,
            metadata,
            endpoint=metadata.revocation_endpoint,
            token=token,
            hint=hint,
        )
        try:
            response = self.transport.send(request, self._seconds(timeout))
        except (NotSent, NoAnswer) as exc:
            return exc.reason
        return _revocation_problem(response, request)

    def check_id_token(
        self,
        metadata: Metadata,
        id_token: Secret,
        *,
        nonce: Secret | str | None = None,
        access_token: Secret | None = None,
        max_age: float | None = None,
        server_time: float | None = None,
        timeout: float | None = None,
    ) -> Claims:
        """The claims of a new login's ID token (OpenID Connect Core, section 3.1.3.7).

        Args:
            nonce: what the login sent; None if it sent none.
            server_time: the Date of the answer that brought the token. A token that is in time by
                it is in time: this machine's clock may be the wrong one.

        Raises:
            ProtocolViolation: the token is not the provider's, not for this client, not of this
                login, or not in time.
            RefreshUnavailable: the provider's keys cannot be fetched now.
            MissingExtra: joserfc is not installed.
        """
        id_token = as_secret(id_token)
        nonce = None if nonce is None else as_secret(nonce)
        access_token = None if access_token is None else as_secret(access_token)
        header = idtoken.read_header(id_token)
        if header is None:
            raise _violation("is not a signed JWT")
        allowed = idtoken.allowed_algorithms(
            metadata.id_token_signing_algs,
            is_confidential=self.provider.client_secret is not None,
        )
        if header.algorithm not in allowed:
            raise _violation("is signed with an algorithm that is not allowed")
        claims = self._verified(metadata, id_token, header, self._seconds(timeout))
        if isinstance(claims, str):
            raise _violation(claims)
        times = [self.clock.wall()] if server_time is None else [self.clock.wall(), server_time]
        in_time = [idtoken.time_problem(claims, now=now, max_age=max_age) for now in times]
        problem = (
            idtoken.party_problem(
                claims, issuer=self.provider.issuer, client_id=self.provider.client_id
            )
            or (None if nonce is None else idtoken.nonce_problem(claims, nonce))
            or (
                None
                if access_token is None
                else idtoken.access_token_problem(claims, access_token, header.algorithm)
            )
            or (None if None in in_time else in_time[0])
        )
        if problem is not None:
            raise _violation(problem)
        return claims

    def peek_id_token(self, id_token: Secret) -> Claims:
        """The claims without checking the signature: for a token that is already trusted.

        Raises:
            ProtocolViolation: it is not a JWT, or a claim has the wrong type.
        """
        id_token = as_secret(id_token)
        claims = idtoken.read_claims(id_token)
        if isinstance(claims, str):
            raise _violation(claims)
        return claims

    def check_refreshed_id_token(self, id_token: Secret, *, subject: str | None) -> Claims:
        """The claims of an ID token that a refresh brought (Core, section 12.2); no network.

        It must be of the same issuer, client and subject as the login's. Its signature is not
        looked at: it came from the token endpoint itself (section 3.1.3.7, point 6), and a
        refresh must not fail because keys cannot be fetched.

        Args:
            subject: the login's; None if the login had no ID token.

        Raises:
            ProtocolViolation: it is not; the answer belongs to somebody else.
        """
        claims = self.peek_id_token(id_token)
        problem = idtoken.party_problem(
            claims, issuer=self.provider.issuer, client_id=self.provider.client_id
        )
        if problem is None and subject is not None and claims.subject != subject:
            problem = "belongs to another subject"
        if problem is not None:
            raise _violation(problem)
        return claims

    def logout_url(
        self,
        metadata: Metadata,
        id_token_hint: Secret | None = None,
        post_logout_redirect_uri: str | None = None,
        state: str | None = None,
    ) -> str:
        """Where a person ends the provider's own session; holds the ID token if one is given.

        Raises:
            ProviderRefused: the provider has no end session endpoint.
        """
        return requests.logout_url(
            self.provider,
            metadata,
            id_token_hint=None if id_token_hint is None else as_secret(id_token_hint),
            post_logout_redirect_uri=post_logout_redirect_uri,
            state=state,
        )

    def _newer(self, own: Metadata | None, cached: Metadata | None) -> Metadata | None:
        """What is known: another process may have asked later than this one."""
        if cached is None or cached.issuer != self.provider.issuer:
            return own
        if own is None:
            return cached
        return max(own, cached, key=lambda each: (self._is_recent(each), each.discovered_at or 0.0))

    def _is_recent(self, metadata: Metadata) -> bool:
        at = metadata.discovered_at
        return at is not None and 0 <= self.clock.wall() - at < _METADATA_SECONDS

    def _fetched_metadata(self, timeout: float) -> Metadata:
        deadline = self.clock.monotonic() + timeout
        for url in metadata_urls(self.provider.issuer):
            response = self._get(url, deadline - self.clock.monotonic())
            if response.status == 200:
                document = json_object(response)
                # A web site may answer every address with a page; then the other place counts.
                if document is not None:
                    return parse_metadata(
                        document, self.provider.issuer, discovered_at=self.clock.wall()
                    )
        raise ProtocolViolation(
            "there is no metadata of a provider at the issuer's address",
            hint=remedies.CHECK_THE_ISSUER,
        )

    def _get(self, url: str, timeout: float) -> HttpResponse:
        """A document of the provider.

        Raises:
            RefreshUnavailable: the network or the provider failed for now.
        """
        problem: str = ""
        wait: float | None = None
        request = HttpRequest("GET", url, (("accept", "application/json"),))
        try:
            response = self.transport.send(request, timeout)
            if response.status != 429 and response.status < 500:
                return response
            problem = f"the provider answered {response.status}"
            wait = retry_after(response)
        except (NotSent, NoAnswer) as exc:
            problem = exc.reason
        raise RefreshUnavailable(problem, retry_after=wait)

    def _verified(
        self, metadata: Metadata, id_token: Secret, header: Header, timeout: float
    ) -> Claims | str:
        secret = self.provider.client_secret
        if header.algorithm in idtoken.SYMMETRIC:
            assert secret is not None  # allowed_algorithms saw to it
            return idtoken.verified_claims(
                id_token, [idtoken.symmetric_key(secret)], header.algorithm
            )
        if metadata.jwks_uri is None:
            return "cannot be checked: the provider publishes no keys"
        now, known = self.clock.monotonic(), self._keys
        if known is None or known.url != metadata.jwks_uri or now >= known.trusted_until:
            known = self._fetched_keys(metadata.jwks_uri, timeout, known)
        claims = _claims_by(known, id_token, header)
        # Keys rotate, some without a name of their own: a reason to look again, once.
        if claims == idtoken.NO_KEY_FITS and now >= known.fetched_at + _KEYS_PAUSE:
            known = self._fetched_keys(metadata.jwks_uri, timeout, known)
            claims = _claims_by(known, id_token, header)
        return claims

    def _fetched_keys(self, url: str, timeout: float, stale: _KeySet | None) -> _KeySet:
        """The provider's keys anew, by one request however many ask at once.

        Args:
            stale: what will not do any more.

        Raises:
            RefreshUnavailable: they cannot be fetched now, or could not some seconds ago.
            ProtocolViolation: what is there, or was some seconds ago, is no key set.
        """
        deadline = self.clock.monotonic() + timeout
        is_ours = False
        try:
            # Unpacked, so that no Ctrl-C comes between the lock and the note that it is ours.
            (is_ours,) = map(
                self._fetching_keys.acquire, (True,), (max(0.0, min(timeout, TIMEOUT_MAX)),)
            )
            if not is_ours:
                raise RefreshUnavailable("the provider's keys were being fetched all the time")
            known, failed, now = self._keys, self._no_keys, self.clock.monotonic()
            if known is not None and known is not stale and known.url == url:
                return known
            if failed is not None and failed.url == url and now < failed.until:
                raise failed.error(now)
            if now >= deadline:
                raise RefreshUnavailable("no time was left to fetch the provider's keys")
            found = self._asked_keys(url, deadline - now)
            if isinstance(found, _NoKeys):
                if failed is not None and failed.url == url:
                    until = max(found.until, found.at + _FAILED_SECONDS)
                    found = dataclasses.replace(found, until=until)
                self._no_keys = found
                raise found.error(found.at)
            self._keys, self._no_keys = found, None
            return found
        finally:
            if is_ours:
                self._fetching_keys.release()

    def _asked_keys(self, url: str, timeout: float) -> _KeySet | _NoKeys:
        document, problem, wait, is_wrong = None, "the provider's key set cannot be read", 0.0, True
        try:
            response = self._get(url, timeout)
            document = json_object(response) if response.status == 200 else None
        except RefreshUnavailable as exc:
            problem, wait, is_wrong = str(exc), exc.retry_after or 0.0, False
        now = self.clock.monotonic()
        if document is None:
            return _NoKeys(url, now, now + min(wait, _MOST_FAILED_SECONDS), problem, is_wrong)
        said = max_age(response)
        seconds = _MOST_KEY_SECONDS if said is None else max(said, _LEAST_KEY_SECONDS)
        return _KeySet(url, document, now, now + min(seconds, _MOST_KEY_SECONDS))

    def _seconds(self, timeout: float | None) -> float:
        return self.provider.timeout if timeout is None else timeout


def _claims_by(known: _KeySet, id_token: Secret, header: Header) -> Claims | str:
    keys = idtoken.matching_keys(known.document, header)
    return idtoken.verified_claims(id_token, keys, header.algorithm)


def _revocation_problem(response: HttpResponse, request: HttpRequest) -> str | None:
    if 200 <= response.status < 300:
        return None
    problem = f"the provider answered {response.status}"
    error = error_code(response, request.secrets())
    if error is not None:
        problem += f" ({error})"
    wait = retry_after(response)
    # RFC 7009, section 2.2.1: after a 503 the token still exists.
    return problem if wait is None else f"{problem}, retry after {wait:g} s"


def _violation(problem: str) -> ProtocolViolation:
    return ProtocolViolation(f"the ID token {problem}", hint=remedies.for_id_token(problem))
