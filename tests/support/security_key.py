"""A security key in software: CTAP 2 with hmac-secret, its owner's touch decided by the test."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.cose import ES256
from fido2.ctap import STATUS, CtapDevice, CtapError
from fido2.ctap2.pin import PinProtocolV2
from fido2.hid import CAPABILITY, CTAPHID

_MAKE, _GET, _INFO, _PIN = 1, 2, 4, 6


class SecurityKey(CtapDevice):
    """An authenticator; `touch` says whether its owner touches it: True, False, or an error."""

    def __init__(self, touch: Callable[[], bool] = lambda: True) -> None:
        self.touch = touch
        self.has_hmac_secret = True
        self.lies = False
        self.error: Any = None
        self._credentials: dict[bytes, tuple[str, ec.EllipticCurvePrivateKey, bytes]] = {}
        self._agreement = ec.generate_private_key(ec.SECP256R1())
        self._count = 0

    @property
    def capabilities(self) -> int:
        return int(CAPABILITY.CBOR)

    def close(self) -> None:
        pass

    @classmethod
    def list_devices(cls) -> Iterator[CtapDevice]:
        return iter(())

    def call(
        self, cmd: int, data: bytes = b"", event: Any = None, on_keepalive: Any = None
    ) -> bytes:
        assert cmd == CTAPHID.CBOR
        values: Any = cbor.decode(data[1:]) if len(data) > 1 else {}
        try:
            answer = self._do(data[0], values, event, on_keepalive)
        except CtapError as exc:
            return bytes([exc.code])
        return b"\0" + cbor.encode(answer)

    def _do(self, command: int, values: Any, event: Any, on_keepalive: Any) -> Mapping[int, Any]:
        if command == _INFO:
            extensions = ["hmac-secret"] if self.has_hmac_secret else []
            options = {"rk": False, "up": True, "plat": False}
            return {1: ["FIDO_2_0", "FIDO_2_1"], 2: extensions, 3: bytes(16), 4: options, 6: [2]}
        if command == _PIN:
            key = dict(ES256.from_cryptography_key(self._agreement.public_key()))
            key[3] = -25
            return {1: key}
        if command == _MAKE:
            return self._make(values, event, on_keepalive)
        if command == _GET:
            return self._get(values, event, on_keepalive)
        raise CtapError(CtapError.ERR.INVALID_COMMAND)

    def _make(self, values: Any, event: Any, on_keepalive: Any) -> Mapping[int, Any]:
        self._wait_for_touch(event, on_keepalive)
        identity, key = os.urandom(32), ec.generate_private_key(ec.SECP256R1())
        self._credentials[identity] = (values[2]["id"], key, os.urandom(32))
        public = cbor.encode(dict(ES256.from_cryptography_key(key.public_key())))
        attested = bytes(16) + len(identity).to_bytes(2, "big") + identity + public
        extensions = cbor.encode({"hmac-secret": True}) if self.has_hmac_secret else b""
        flags = 0xC1 if extensions else 0x41
        data = self._authenticator_data(values[2]["id"], flags, attested + extensions)
        return {1: "none", 2: data, 3: {}}

    def _get(self, values: Any, event: Any, on_keepalive: Any) -> Mapping[int, Any]:
        identity = next(
            (
                each["id"]
                for each in values[3]
                if self._credentials.get(each["id"], ("",))[0] == values[1]
            ),
            None,
        )
        if identity is None:
            raise CtapError(CtapError.ERR.NO_CREDENTIALS)
        # The client first looks, without a touch, which credentials the key has.
        is_touched = values.get(5, {}).get("up", True)
        if is_touched:
            self._wait_for_touch(event, on_keepalive)
        party, key, secret = self._credentials[identity]
        extensions = b""
        if "hmac-secret" in values.get(4, {}):
            answered = self._hmac_secret(values[4]["hmac-secret"], secret)
            extensions = cbor.encode({"hmac-secret": answered})
        flags = (0x80 if extensions else 0) | int(is_touched)
        data = self._authenticator_data(party, flags, extensions)
        signed = b"something else" if self.lies else data + values[2]
        return {
            1: {"id": identity, "type": "public-key"},
            2: data,
            3: key.sign(signed, ec.ECDSA(hashes.SHA256())),
        }

    def _hmac_secret(self, asked: Any, secret: bytes) -> bytes:
        x, y = (int.from_bytes(asked[1][label], "big") for label in (-2, -3))
        theirs = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        protocol = PinProtocolV2()
        shared = protocol.kdf(self._agreement.exchange(ec.ECDH(), theirs))
        if protocol.authenticate(shared, asked[2]) != asked[3]:
            raise CtapError(CtapError.ERR.PIN_AUTH_INVALID)
        salt = protocol.decrypt(shared, asked[2])
        return protocol.encrypt(shared, hmac.new(secret, salt[:32], "sha256").digest())

    def _authenticator_data(self, party: str, flags: int, rest: bytes) -> bytes:
        self._count += 1
        hashed = hashlib.sha256(party.encode()).digest()
        return hashed + bytes([flags]) + self._count.to_bytes(4, "big") + rest

    def _wait_for_touch(self, event: Any, on_keepalive: Any) -> None:
        if on_keepalive is not None:
            on_keepalive(STATUS.UPNEEDED)
        if self.error is not None:
            raise CtapError(self.error)
        while not self.touch():
            if event is not None and event.wait(0.01):
                raise CtapError(CtapError.ERR.KEEPALIVE_CANCEL)
