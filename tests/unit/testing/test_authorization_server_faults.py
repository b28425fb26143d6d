"""Every fault of the authorization server does what it says, and to the state what it says."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet

from support.wire import START, ask, authorization_url, query_of, refresh, userinfo
from tokenkeep.testing.authorization_server import (
    AuthorizationServer,
    Delay,
    Drop,
    Endpoint,
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
from tokenkeep.testing.authorization_server.faults import KINDS
from tokenkeep.testing.authorization_server.injection import fault_from_json, fault_to_json

EXAMPLES: list[Fault] = [
    Delay(When.BEFORE, 0.1),
    Drop(When.AFTER, reset=True),
    ForgedIdToken(),
    GzipBomb(65536),
    Hold(When.AFTER, at_most_seconds=1.0),
    Html(when=When.AFTER),
    HugeBody(100),
    IdTokenClaims({"sub": "mallory", "nonce": None}),
    OAuthError("invalid_scope"),
    RedirectParameters({"state": "wrong"}),
    RedirectTo("https://elsewhere.example/"),
    ScopeGrown(),
    SkewedDate(-3600.0),
    SlowBody(0.001),
    Status(503, retry_after_seconds=5, retry_after_as_date=True),
    TruncatedJson(cut=True),
    WithFields({"expires_in": "soon"}),
    WithoutFields(("access_token",)),
]


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with AuthorizationServer(clock=lambda: START) as running:
        yield running


@pytest.fixture
def token(server: AuthorizationServer) -> str:
    return str(server.login(scope="notes offline_access")["refresh_token"])


def test_every_kind_of_fault_has_an_example_here() -> None:
    """The list below is complete, so that each kind crosses processes."""
    assert set(KINDS) == {type(fault).__name__ for fault in EXAMPLES}


@pytest.mark.parametrize("fault", EXAMPLES, ids=lambda fault: type(fault).__name__)
def test_a_fault_survives_the_way_to_another_process(fault: Fault) -> None:
    """What `Admin` sends is what the server arms."""
    assert fault == fault_from_json(fault_to_json(fault))


@pytest.mark.parametrize(
    "document",
    [{}, {"fault": "Earthquake"}, {"fault": "Drop", "when": "never"}, {"fault": "Html", "x": 1}],
)
def test_an_unknown_fault_is_an_error(document: dict[str, object]) -> None:
    """A misspelt fault must not be a test that passes."""
    with pytest.raises(ValueError):
        fault_from_json(document)


# Which requests are struck.


def test_a_fault_strikes_the_next_requests_of_one_endpoint(
    server: AuthorizationServer, token: str
) -> None:
    """So many times, after so many that pass, and nobody else."""
    server.faults.add(Endpoint.TOKEN, Status(503), times=2, skip=1)
    assert 401 == userinfo(server.issuer, "unknown").status
    statuses = []
    for _ in range(4):
        reply = refresh(server.issuer, token)
        statuses.append(reply.status)
        token = reply.json["refresh_token"] if reply.status == 200 else token
    assert [200, 503, 503, 200] == statuses
    assert 0 == server.faults.armed()


def test_faults_queue_and_clear_disarms_them(server: AuthorizationServer, token: str) -> None:
    """The second begins when the first is used up; None means until cleared."""
    server.faults.add(Endpoint.TOKEN, Status(500))
    server.faults.add(Endpoint.TOKEN, Status(502), times=None)
    assert [500, 502, 502] == [refresh(server.issuer, token).status for _ in range(3)]
    server.faults.clear()
    assert 200 == refresh(server.issuer, token).status
    with pytest.raises(ValueError, match="no fault"):
        server.faults.add(Endpoint.TOKEN)


def test_several_faults_may_strike_one_request(server: AuthorizationServer, token: str) -> None:
    """They happen in their order, to the same request."""
    server.faults.add(Endpoint.TOKEN, ScopeGrown(), SkewedDate(60), WithoutFields(("expires_in",)))
    reply = refresh(server.issuer, token)
    assert "notes offline_access admin" == reply.json["scope"]
    assert "expires_in" not in reply.json
    assert START + 60 == parsedate_to_datetime(reply.headers["Date"]).timestamp()


# Before or after the change of state.


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("when", list(When))
def test_a_dropped_connection_has_or_has_not_spent_the_token(
    server: AuthorizationServer, token: str, when: When, reset: bool
) -> None:
    """BEFORE leaves the token alive; AFTER issues a successor that nobody receives."""
    server.faults.add(Endpoint.TOKEN, Drop(when, reset=reset))
    with pytest.raises(ConnectionResetError) as caught:
        refresh(server.issuer, token)
    assert reset == (not isinstance(caught.value, http.client.RemoteDisconnected))
    assert (when is When.BEFORE) == server.is_alive(token)
    seen = server.requests.to(Endpoint.TOKEN)
    assert (1, None) == (len(seen), seen[0].status)


@pytest.mark.parametrize(
    "fault_and_status",
    [
        (Status, (429,), 429),
        (Status, (503,), 503),
        (Html, (), 200),
        (OAuthError, ("invalid_client",), 401),
        (RedirectTo, ("https://elsewhere.example/",), 302),
        (HugeBody, (10,), 200),
        (GzipBomb, (65536,), 200),
    ],
)
@pytest.mark.parametrize("when", list(When))
def test_another_answer_has_or_has_not_spent_the_token(
    server: AuthorizationServer,
    token: str,
    when: When,
    fault_and_status: tuple[type[Fault], tuple[object, ...], int],
) -> None:
    """Each replacement exists in both halves."""
    kind, arguments, status = fault_and_status
    server.faults.add(Endpoint.TOKEN, kind(*arguments, when=when))  # type: ignore[call-arg]
    assert status == refresh(server.issuer, token).status
    assert (when is When.BEFORE) == server.is_alive(token)


@pytest.mark.parametrize("when", list(When))
def test_a_delay_outlasts_an_impatient_client(
    server: AuthorizationServer, token: str, when: When
) -> None:
    """The client's time-out comes first; what the server does, it does."""
    server.faults.add(Endpoint.TOKEN, Delay(when, 0.3))
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "notes"}
    with pytest.raises(TimeoutError):
        ask(f"{server.issuer}/token", form, timeout=0.1)
    assert (when is When.BEFORE) == server.is_alive(token)
    time.sleep(0.4)
    assert not server.is_alive(token)


def test_a_delayed_request_does_not_hold_up_the_others(
    server: AuthorizationServer, token: str
) -> None:
    """Waiting happens outside the lock."""
    other = str(server.login(scope="notes")["refresh_token"])
    server.faults.add(Endpoint.TOKEN, Hold(When.AFTER))
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(refresh, server.issuer, token)
        assert server.faults.wait_held()
        assert 200 == refresh(server.issuer, other).status
        assert not held.done()
        server.faults.release()
        assert 200 == held.result().status


@pytest.mark.parametrize("when", list(When))
def test_a_held_request_waits_for_its_release(
    server: AuthorizationServer, token: str, when: When
) -> None:
    """The moment between request and answer, for as long as a test needs."""
    server.faults.add(Endpoint.TOKEN, Hold(when), times=3)
    with ThreadPoolExecutor(2) as pool:
        held = [pool.submit(refresh, server.issuer, token) for _ in range(2)]
        assert server.faults.wait_held(2)
        assert not server.faults.wait_held(3, timeout=0.05)
        assert (when is When.BEFORE) == server.is_alive(token)
        server.faults.release()
        assert [200, 400] == sorted(job.result().status for job in held)
        late = pool.submit(refresh, server.issuer, token)
        assert server.faults.wait_held(1)
        server.faults.clear()
        assert 400 == late.result().status


def test_stopping_undoes_nothing_and_finishes_nothing(
    server: AuthorizationServer, token: str
) -> None:
    """A request on hold before the change stays undone when the server goes offline."""
    server.faults.add(Endpoint.TOKEN, Hold(When.BEFORE))
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(refresh, server.issuer, token)
        assert server.faults.wait_held()
        server.stop()
        with pytest.raises(ConnectionError):
            held.result()
        server.start()
    assert server.is_alive(token)
    assert 200 == refresh(server.issuer, token).status


# What the answers look like.


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_comes_in_seconds_or_as_a_date(
    server: AuthorizationServer, token: str, as_date: bool
) -> None:
    """Both forms of RFC 9110 section 10.2.3; the date is by the server's clock."""
    fault = Status(429, retry_after_seconds=7, retry_after_as_date=as_date)
    server.faults.add(Endpoint.TOKEN, fault)
    value = refresh(server.issuer, token).headers["Retry-After"]
    assert 7 == (parsedate_to_datetime(value).timestamp() - START if as_date else int(value))


@pytest.mark.parametrize(
    ("error", "status"),
    [("invalid_client", 401), ("invalid_scope", 400), ("unauthorized_client", 400)],
)
def test_oauth_errors_have_their_status(
    server: AuthorizationServer, token: str, error: str, status: int
) -> None:
    """RFC 6749 section 5.2."""
    server.faults.add(Endpoint.TOKEN, OAuthError(error))
    reply = refresh(server.issuer, token)
    assert (status, error) == (reply.status, reply.json["error"])


def test_truncated_json_is_half_a_document(server: AuthorizationServer, token: str) -> None:
    """Complete by its length, broken by its content."""
    server.faults.add(Endpoint.TOKEN, TruncatedJson())
    reply = refresh(server.issuer, token)
    assert str(len(reply.body)) == reply.headers["Content-Length"]
    with pytest.raises(ValueError):
        _ = reply.json


def test_a_cut_body_breaks_off_before_its_length(server: AuthorizationServer, token: str) -> None:
    """The connection ends in the middle of the answer."""
    server.faults.add(Endpoint.TOKEN, TruncatedJson(cut=True))
    with pytest.raises(http.client.IncompleteRead):
        refresh(server.issuer, token)
    assert not server.is_alive(token)


def test_fields_change_type_or_disappear(server: AuthorizationServer, token: str) -> None:
    """Missing access_token, wrong types."""
    fault = WithFields({"expires_in": {"not": "a number"}})
    server.faults.add(Endpoint.TOKEN, fault, WithoutFields(("access_token",)))
    document = refresh(server.issuer, token).json
    assert {"not": "a number"} == document["expires_in"]
    assert "access_token" not in document


def test_metadata_may_claim_another_issuer(server: AuthorizationServer) -> None:
    """The mix-up that a client has to notice."""
    server.faults.add(Endpoint.METADATA, WithFields({"issuer": "https://attacker.example"}))
    address = f"{server.issuer}/.well-known/openid-configuration"
    issuers = [ask(address).json["issuer"] for _ in range(2)]
    assert ["https://attacker.example", server.issuer] == issuers


def test_id_token_claims_may_be_wrong_and_the_signature_right(
    server: AuthorizationServer,
) -> None:
    """Another subject, issuer or nonce, from the same signer."""
    login = str(server.login()["refresh_token"])
    claims = {"sub": "mallory", "iss": "https://attacker.example", "nonce": "n", "auth_time": None}
    server.faults.add(Endpoint.TOKEN, IdTokenClaims(claims))
    id_token = refresh(server.issuer, login).json["id_token"]
    keys = KeySet.import_key_set(ask(f"{server.issuer}/jwks").json)
    found = jwt.decode(id_token, keys, algorithms=["ES256"]).claims
    assert ("mallory", "https://attacker.example", "n") == (
        found["sub"],
        found["iss"],
        found["nonce"],
    )
    assert "auth_time" not in found


def test_a_forged_id_token_does_not_verify(server: AuthorizationServer) -> None:
    """It names the published key and was signed by another."""
    login = str(server.login()["refresh_token"])
    server.faults.add(Endpoint.TOKEN, ForgedIdToken())
    id_token = refresh(server.issuer, login).json["id_token"]
    keys = KeySet.import_key_set(ask(f"{server.issuer}/jwks").json)
    with pytest.raises(BadSignatureError):
        jwt.decode(id_token, keys, algorithms=["ES256"])


def test_the_redirect_may_carry_a_wrong_state(server: AuthorizationServer) -> None:
    """And no issuer at all."""
    fault = RedirectParameters({"state": "wrong", "iss": None})
    server.faults.add(Endpoint.AUTHORIZE, fault)
    location = query_of(server.approve(authorization_url(server.issuer)))
    assert {"state", "code"} == set(location)
    assert "wrong" == location["state"]


def test_a_huge_body_goes_on_until_the_client_has_enough(
    server: AuthorizationServer, token: str
) -> None:
    """It is sent piece by piece; a client that leaves does no harm."""
    server.faults.add(Endpoint.TOKEN, HugeBody(500_000_000))
    host, _, port = server.issuer.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    body = f"grant_type=refresh_token&client_id=notes&refresh_token={token}"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/token", body, kind)
    answer = connection.getresponse()
    assert b'{"access_token": "aaa' == answer.read(21)
    assert 500_000_000 < int(answer.headers["Content-Length"])
    answer.close()
    connection.close()


def test_a_gzip_bomb_is_small_until_it_is_opened(server: AuthorizationServer, token: str) -> None:
    """A limit on received bytes does not stop it."""
    server.faults.add(Endpoint.TOKEN, GzipBomb(8 * 1024 * 1024))
    reply = refresh(server.issuer, token)
    assert "gzip" == reply.headers["Content-Encoding"]
    assert len(reply.body) < 64 * 1024
    assert 8 * 1024 * 1024 == len(gzip.decompress(reply.body))


def test_a_slow_body_arrives_byte_by_byte(server: AuthorizationServer, token: str) -> None:
    """No single read takes long; all of them together do."""
    server.faults.add(Endpoint.TOKEN, SlowBody(0.001))
    begin = time.monotonic()
    reply = refresh(server.issuer, token)
    assert "access_token" in reply.json
    assert time.monotonic() - begin > 0.001 * len(reply.body)


@pytest.mark.parametrize(("fault", "status"), [(Status(503), 503), (OAuthError("x"), 400)])
def test_a_refused_revocation_leaves_the_token_alive(
    server: AuthorizationServer, token: str, fault: Fault, status: int
) -> None:
    """RFC 7009 section 2.2.1: 503 means it still exists."""
    server.faults.add(Endpoint.REVOKE, fault)
    form = {"token": token, "client_id": "notes"}
    assert status == ask(f"{server.issuer}/revoke", form).status
    assert server.is_alive(token)
    assert 200 == ask(f"{server.issuer}/revoke", form).status
    assert not server.is_alive(token)


# A server that survives its clients.


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"",
        b"\x16\x03\x01\x02\x00",
        b"POST /token HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc",
        b"POST /token HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /token HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST /token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /authorize?%ff=%00 HTTP/1.1\r\nHost: \xff\r\n\r\n",
        b"DELETE /token HTTP/1.1\r\n\r\n",
    ],
)
def test_broken_requests_do_not_break_the_server(
    server: AuthorizationServer, token: str, bytes_sent: bytes
) -> None:
    """Whatever arrives, the next request is answered, and no defect is recorded."""
    host, _, port = server.issuer.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(bytes_sent)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    assert 200 == refresh(server.issuer, token).status


def read_again(connection: http.client.HTTPConnection) -> bytes:
    connection.request("GET", "/jwks")
    return connection.getresponse().read()


def test_connections_are_kept_alive_and_broken_when_the_server_stops(
    server: AuthorizationServer,
) -> None:
    """A pooled connection does not get around being offline."""
    host, _, port = server.issuer.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    connection.connect()
    first_socket = connection.sock
    for _ in range(2):
        assert read_again(connection).startswith(b'{"keys"')
        assert first_socket is connection.sock
    server.stop()
    with contextlib.closing(connection), pytest.raises(ConnectionError):
        read_again(connection)


def test_faults_are_shared_fairly_among_sixteen_threads(server: AuthorizationServer) -> None:
    """Of a hundred requests exactly as many are struck as were armed."""
    server.faults.add(Endpoint.USERINFO, Status(500), times=37)

    def one() -> int:
        return userinfo(server.issuer, "unknown").status

    with ThreadPoolExecutor(16) as pool:
        statuses = [job.result() for job in [pool.submit(one) for _ in range(100)]]
    assert (37, 63) == (statuses.count(500), statuses.count(401))
