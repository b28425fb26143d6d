"""Logins that are not finished: authorization codes and device codes.

Nothing here does input or output, waits, or knows the time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from enum import Enum

from tokenkeep.testing.authorization_server.grants import Family, Grants, Issued, Login, Refused
from tokenkeep.testing.authorization_server.policy import Policy

# RFC 8628 section 3.2: what an answer without "interval" means; section 3.5: what slow_down adds.
_DEFAULT_INTERVAL_SECONDS = 5.0
_SLOW_DOWN_SECONDS = 5.0
# A poller that waits exactly the interval may arrive a little early by our clock.
_INTERVAL_TOLERANCE = 0.9
# Consonants only, so that no word comes out (RFC 8628 section 6.1).
_USER_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


class Decision(Enum):
    """What the person said to a device login."""

    WAITING = "waiting"
    APPROVED = "approved"
    DENIED = "denied"


@dataclass
class _Code:
    login: Login
    redirect_uri: str
    challenge: str
    expires_at: float
    family: Family | None = None


@dataclass
class DeviceLogin:
    """A device login on its way."""

    device_code: str
    user_code: str
    login: Login
    expires_at: float
    interval: float
    decision: Decision = Decision.WAITING
    polls: int = 0
    polled_at: float | None = None
    redeemed: bool = False


class Codes:
    """Authorization codes: single use, bound to client, redirect and PKCE challenge."""

    def __init__(self) -> None:
        self._codes: dict[str, _Code] = {}

    def issue(self, login: Login, *, redirect_uri: str, challenge: str, expires_at: float) -> str:
        """A code for a login that the person approved."""
        value = f"code-{secrets.token_urlsafe(16)}"
        self._codes[value] = _Code(login, redirect_uri, challenge, expires_at)
        return value

    def redeem(
        self,
        grants: Grants,
        *,
        client_id: str,
        value: str,
        redirect_uri: str,
        verifier: str,
        now: float,
    ) -> Issued:
        """Turn a code into tokens.

        Raises:
            Refused: `invalid_grant`; a second use also ends what the first one obtained
                (RFC 6749 section 4.1.2).
        """
        code = self._codes.get(value)
        if code is None or code.login.client_id != client_id:
            raise Refused("invalid_grant", "no such code of this client")
        if code.family is not None:
            code.family.revoke()
            raise Refused("invalid_grant", "the code was used before")
        if now >= code.expires_at:
            raise Refused("invalid_grant", "the code expired")
        if redirect_uri != code.redirect_uri:
            raise Refused("invalid_grant", "redirect_uri is not the one of the authorization")
        if not hmac.compare_digest(s256(verifier), code.challenge):
            raise Refused("invalid_grant", "code_verifier does not match code_challenge")
        issued = grants.begin(code.login, now)
        code.family = issued.family
        return issued


class DeviceLogins:
    """Device logins (RFC 8628): started by a device, decided by a person, polled meanwhile."""

    def __init__(self) -> None:
        self._by_device_code: dict[str, DeviceLogin] = {}

    def start(self, policy: Policy, login: Login, now: float) -> DeviceLogin:
        """A new device login that waits for its person."""
        letters = "".join(secrets.choice(_USER_CODE_LETTERS) for _ in range(8))
        interval = policy.device_interval
        device = DeviceLogin(
            device_code=f"device-{secrets.token_urlsafe(24)}",
            user_code=f"{letters[:4]}-{letters[4:]}",
            login=login,
            expires_at=now + policy.device_seconds,
            interval=_DEFAULT_INTERVAL_SECONDS if interval is None else float(interval),
        )
        self._by_device_code[device.device_code] = device
        return device

    def find(self, user_code: str) -> DeviceLogin | None:
        """The login with this user code, typed with or without the hyphen, in any case."""
        wanted = user_code.replace("-", "").upper()
        for device in self._by_device_code.values():
            if device.user_code.replace("-", "") == wanted:
                return device
        return None

    def decide(self, user_code: str, decision: Decision, user: str) -> bool:
        """Record what the person said; False if there is no such login."""
        device = self.find(user_code)
        if device is None:
            return False
        device.decision = decision
        device.login = replace(device.login, user=user)
        return True

    def redeem(self, grants: Grants, client_id: str, device_code: str, now: float) -> Issued:
        """Answer one poll.

        Raises:
            Refused: `authorization_pending`, `slow_down`, `access_denied`, `expired_token`,
                `invalid_grant`.
        """
        device = self._by_device_code.get(device_code)
        if device is None or device.login.client_id != client_id or device.redeemed:
            raise Refused("invalid_grant", "no such device code of this client")
        if now >= device.expires_at:
            raise Refused("expired_token", "the device code expired")
        device.polls += 1
        if self._is_too_fast(grants.policy, device, now):
            device.interval += _SLOW_DOWN_SECONDS
            raise Refused("slow_down", "polled faster than the interval")
        if device.polls == grants.policy.device_polls_until_approved:
            device.decision = Decision.APPROVED
        if device.decision is Decision.DENIED:
            raise Refused("access_denied", "the person said no")
        if device.decision is Decision.WAITING:
            raise Refused("authorization_pending", "nobody has decided yet")
        device.redeemed = True
        return grants.begin(device.login, now)

    @staticmethod
    def _is_too_fast(policy: Policy, device: DeviceLogin, now: float) -> bool:
        earlier, device.polled_at = device.polled_at, now
        if earlier is None or not policy.enforce_device_interval:
            return False
        return now - earlier < device.interval * _INTERVAL_TOLERANCE


def s256(verifier: str) -> str:
    """The PKCE challenge of a verifier (RFC 7636 section 4.2)."""
    digest = hashlib.sha256(verifier.encode("utf-8", "surrogatepass")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
