"""The negotiated session: how secrets travel between this process and the Secret Service.

Secret Service API, "Transfer of Secrets": Diffie-Hellman in RFC 2409's second group, HKDF with
SHA-256, AES-128-CBC. It hides secrets from who records the bus, not from who sits in the middle.
"""

from __future__ import annotations

from tokenkeep.crypto import CbcCipher, hkdf_sha256, random_bytes
from tokenkeep.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: RFC 2409 section 6.2, the second Oakley group; its generator is 2.
_PRIME = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
    16,
)
_GENERATOR = 2
_GROUP_BYTES = 128
#: RFC 3526 section 8 puts the strength of a group of this size at 80 bits or so, which an exponent
#: of 160 to 320 bits does not lessen; a full one would cost a cold read four times the time.
_EXPONENT_BYTES = 32
_AES_BYTES = 16

DH = "dh-ietf1024-sha256-aes128-cbc-pkcs7"
PLAIN = "plain"
#: Written always, trusted never: gnome-keyring reports text whatever was written, and KWallet and
#: KeePassXC cut and mend what was written as text.
CONTENT_TYPE = "application/octet-stream"


class Exponent:
    """Our half of the agreement."""

    __slots__ = ("_secret",)

    def __init__(self) -> None:
        self._secret = Secret(random_bytes(_EXPONENT_BYTES))

    def public(self) -> bytes:
        """What the other side gets."""
        return _power(_GENERATOR, self._secret).reveal_bytes()

    def agreed(self, public: bytes) -> Secret | None:
        """The number both sides have now; None if the other half is none (RFC 2631 2.1.5)."""
        theirs = int.from_bytes(public, "big")
        return _power(theirs, self._secret) if 1 < theirs < _PRIME - 1 else None


def cipher_of(agreed: Secret) -> CbcCipher | None:
    """The cipher of an agreed number; None if that begins with a zero byte, as one in 256 does.

    The specification keeps that byte and KWallet leaves it out before it derives the key: of a key
    that one side has not, what the other sends would be garbage that looks like a value.
    """
    return CbcCipher(hkdf_sha256(agreed, _AES_BYTES)) if agreed.reveal_bytes()[0] else None


class Session:
    """A session's path, and the cipher of its secrets; None where the service knows only plain."""

    __slots__ = ("_cipher", "path")

    def __init__(self, path: str, cipher: CbcCipher | None) -> None:
        self.path = path
        self._cipher = cipher

    @property
    def is_encrypted(self) -> bool:
        """Whether secrets cross the bus encrypted."""
        return self._cipher is not None

    def sealed(self, value: Secret) -> tuple[str, bytes, bytes, str]:
        """The value as the structure `(oayays)` of the specification."""
        if self._cipher is None:
            return self.path, b"", value.reveal_bytes(), CONTENT_TYPE
        return self.path, *self._cipher.seal(value), CONTENT_TYPE

    def opened(self, structure: tuple[Any, ...]) -> Secret | None:
        """The value in a structure; None if it was not made for this session."""
        path, parameters, sealed, _content_type = structure
        if path != self.path:
            return None
        if self._cipher is None:
            return Secret(sealed)
        return self._cipher.open(bytes(parameters), bytes(sealed))


def _power(base: int, exponent: Secret) -> Secret:
    number = pow(base, int.from_bytes(exponent.reveal_bytes(), "big"), _PRIME)
    return Secret(number.to_bytes(_GROUP_BYTES, "big"))
