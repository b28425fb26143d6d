"""A salted session with a TPM: what crosses the bus is encrypted and authenticated.

TCG TPM 2.0 Library, part 1, sections 11.4.10 (KDFa, KDFe), 19 (authorizations) and 21 (parameter
encryption). The salt is agreed with the TPM's storage key, so that somebody who listens between
processor and TPM sees neither the key that is sealed nor the PIN. Nothing here does input or
output.
"""

from __future__ import annotations

import hashlib
import hmac

from tokenkeep.crypto import aes_cfb, agree_p256, random_bytes
from tokenkeep.errors import SecretInvalidated, StoreUnavailable
from tokenkeep.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

NONCE_BYTES = 32
_CONTINUE, _DECRYPT, _ENCRYPT = 0x01, 0x20, 0x40


class Salt:
    """A secret agreed with a TPM's storage key (P-256), and what lets the TPM agree on it.

    Raises:
        SecretInvalidated: the storage key is no point of the curve.
    """

    __slots__ = ("encrypted", "secret")

    def __init__(self, peer_x: bytes, peer_y: bytes) -> None:
        agreed = agree_p256(peer_x, peer_y)
        if agreed is None:
            raise SecretInvalidated("the TPM's storage key is no point of its curve")
        x, y, shared = agreed
        self.encrypted = sized(sized(x) + sized(y))
        self.secret = _kdf_e(shared, b"SECRET", x, peer_x)


class Session:
    """An authorization by HMAC, or a policy, that also encrypts the first parameter.

    Args:
        auth: the authorization value of what the session is used for; empty if it has none.
    """

    def __init__(
        self, handle: int, salt: Salt, nonce_caller: bytes, nonce_tpm: bytes, auth: Secret
    ) -> None:
        self.handle = handle
        self._caller = nonce_caller
        self._tpm = nonce_tpm
        self._value = _with(kdf_a(salt.secret, b"ATH", nonce_tpm, nonce_caller, 256), auth)

    def command(
        self, code: int, names: Sequence[bytes], parameters: Secret, *, hides_first: bool
    ) -> bytes:
        """The authorization area and the parameters of a command that uses the session.

        Args:
            names: of the handles, in their order.
            hides_first: encrypt the first parameter; else the response's first one is to be.
        """
        self._caller = random_bytes(NONCE_BYTES)
        if hides_first:
            parameters = self._first(parameters, self._caller, self._tpm, sealing=True)
        sent = parameters.reveal_bytes()
        attributes = bytes([_CONTINUE | (_DECRYPT if hides_first else _ENCRYPT)])
        digest = _sha256(code.to_bytes(4, "big"), *names, sent)
        proof = self._hmac(digest, self._caller, self._tpm, attributes)
        area = self.handle.to_bytes(4, "big") + sized(self._caller) + attributes + sized(proof)
        return len(area).to_bytes(4, "big") + area + sent

    def response(
        self, code: int, parameters: bytes, nonce: bytes, attributes: bytes, proof: bytes
    ) -> Secret:
        """The response's parameters, checked, the first one decrypted if the TPM encrypted it.

        Raises:
            StoreUnavailable: the answer was not the TPM's.
        """
        self._tpm = nonce
        digest = _sha256(bytes(4), code.to_bytes(4, "big"), parameters)
        expected = self._hmac(digest, nonce, self._caller, attributes)
        if not hmac.compare_digest(expected, proof):
            raise StoreUnavailable("the TPM's answer was changed on its way")
        if not attributes[0] & _ENCRYPT:
            return Secret(parameters)
        return self._first(Secret(parameters), nonce, self._caller, sealing=False)

    def _hmac(self, digest: bytes, newer: bytes, older: bytes, attributes: bytes) -> bytes:
        message = digest + newer + older + attributes
        return hmac.digest(self._value.reveal_bytes(), message, "sha256")

    def _first(self, parameters: Secret, newer: bytes, older: bytes, *, sealing: bool) -> Secret:
        """The parameters with the content of the first one, which is sized, through AES-CFB."""
        key_and_iv = kdf_a(self._value, b"CFB", newer, older, 256)
        plain = parameters.reveal_bytes()
        end = 2 + int.from_bytes(plain[:2], "big")
        turned = aes_cfb(key_and_iv, Secret(plain[2:end]), sealing=sealing)
        return Secret(plain[:2] + turned.reveal_bytes() + plain[end:])


def sized(data: bytes) -> bytes:
    """A TPM2B: the data behind its length in two bytes."""
    return len(data).to_bytes(2, "big") + data


def auth_value(pin: Secret) -> Secret:
    """A PIN as an object's authorization value, which trailing zeros are no part of."""
    return Secret(hashlib.sha256(pin.reveal_bytes()).digest().rstrip(b"\0"))


def name_of(public: bytes) -> bytes:
    """The Name of an object whose name algorithm is SHA-256: that and the public area's hash."""
    return b"\x00\x0b" + _sha256(public)


def kdf_a(key: Secret, label: bytes, newer: bytes, older: bytes, bits: int) -> Secret:
    """NIST SP 800-108 in counter mode with HMAC-SHA-256; one round, so up to 256 bits."""
    message = b"\0\0\0\1" + label + b"\0" + newer + older + bits.to_bytes(4, "big")
    return Secret(hmac.digest(key.reveal_bytes(), message, "sha256")[: bits // 8])


def _kdf_e(shared: Secret, label: bytes, own_x: bytes, peer_x: bytes) -> Secret:
    """NIST SP 800-56A's concatenation with SHA-256; 256 bits."""
    return Secret(_sha256(b"\0\0\0\1", shared.reveal_bytes(), label + b"\0", own_x, peer_x))


def _with(key: Secret, auth: Secret) -> Secret:
    return Secret(key.reveal_bytes() + auth.reveal_bytes())


def _sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()
