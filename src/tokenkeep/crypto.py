"""The only importer of `cryptography`, and the keyed hash: sealing, opening, deriving.

Keys come in as `Secret` and live on inside opaque objects, so that no frame that an error passes
through holds a key. What does not open is None, never an exception of the library beneath.
"""

from __future__ import annotations

import os
import sys

from tokenkeep.errors import SecretDamaged, UnsupportedOption
from tokenkeep.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Bytes = bytes | bytearray

try:
    from _blake2 import blake2b  # what `hashlib.blake2b` is, without loading a second OpenSSL
except ImportError:  # pragma: no cover - an interpreter built without the extension module
    from hashlib import blake2b

try:
    # The class behind the public name. The public module costs a cold read as much again as
    # everything else in it, because it imports every AEAD's Python side.
    from cryptography.hazmat.bindings._rust import openssl as _openssl

    _AESGCM = _openssl.aead.AESGCM
except (ImportError, AttributeError):  # pragma: no cover - a release that moved it
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM as _AESGCM

#: AES-256, and every key derived here.
KEY_BYTES = 32
#: NIST SP 800-38D 8.2.2: 96 random bits, at most 2**32 messages under one key.
NONCE_BYTES = 12
TAG_BYTES = 16
CHECKSUM_BYTES = 32
CBC_BLOCK_BYTES = 16
_SHA256_BLOCK_BYTES = 64

random_bytes = os.urandom


class Cipher:
    """AES-256-GCM under one key, with a random nonce in front of each ciphertext."""

    __slots__ = ("_aead",)

    def __init__(self, key: Secret) -> None:
        self._aead = _AESGCM(key.reveal_bytes())

    def seal(self, value: Secret, associated: Bytes) -> bytes:
        """Nonce, ciphertext and tag."""
        nonce = random_bytes(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, value.reveal_bytes(), associated)

    def seal_plain(self, data: bytes, associated: Bytes) -> bytes:
        """As `seal`, of what may stand in a traceback."""
        nonce = random_bytes(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, data, associated)

    def seal_pair(
        self,
        front: bytes,
        data: bytes,
        associated: Bytes,
        value: Secret,
        associated_value: Bytes,
    ) -> tuple[bytearray, bytearray]:
        """What `seal_plain` and then `seal` give, each behind `front`: every write needs both.

        As arrays, so that who needs one has it without another copy.
        """
        nonces = random_bytes(2 * NONCE_BYTES)
        nonce, other = nonces[:NONCE_BYTES], nonces[NONCE_BYTES:]
        encrypt, join = self._aead.encrypt, bytearray().join
        return (
            join((front, nonce, encrypt(nonce, data, associated))),
            join((front, other, encrypt(other, value.reveal_bytes(), associated_value))),
        )

    @property
    def decrypt(self) -> Callable[[bytes, bytes, bytes], bytes]:
        """The library's own function of nonce, ciphertext with its tag, and associated data.

        No code of Python's runs in it. It raises where it does not open.
        """
        load_failures()
        decrypt: Callable[[bytes, bytes, bytes], bytes] = self._aead.decrypt
        return decrypt

    def open(self, sealed: bytes, associated: Bytes) -> Secret | None:
        """What was sealed; None if the key, the bytes or the associated data are other ones."""
        if len(sealed) < NONCE_BYTES + TAG_BYTES:
            return None
        try:
            return Secret(
                self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
            )
        except Exception as exc:
            # By name: importing the class costs a cold read and is needed only here.
            if type(exc).__name__ != "InvalidTag":
                raise
        return None


def load_failures() -> None:
    """Imports what the library would by itself when the first value does not open.

    A Ctrl-C that came just then would end the process.
    """
    import cryptography.exceptions  # noqa: F401


class KeyedHash:
    """BLAKE2b keyed with a secret (RFC 7693): a pseudo-random function of its input.

    Args:
        purpose: up to 16 bytes that keep hashes for different uses apart.
    """

    __slots__ = ("_start",)

    def __init__(self, key: Secret, purpose: bytes, size: int) -> None:
        self._start = blake2b(key=key.reveal_bytes(), person=purpose, digest_size=size)

    def digest(self, data: bytes) -> bytes:
        """The hash of the data."""
        state = self._start.copy()
        state.update(data)
        return state.digest()


class SigningKey:
    """A P-256 key that signs by ECDSA with SHA-256 (ES256, RFC 7518 section 3.4).

    Args:
        secret: the private number, 32 bytes.

    Raises:
        SecretDamaged: it is no such number.
    """

    __slots__ = ("_key",)

    def __init__(self, secret: Secret) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        key = None
        try:
            number = int.from_bytes(secret.reveal_bytes(), "big")
            key = ec.derive_private_key(number, ec.SECP256R1())
        except ValueError:
            pass  # raised below, where no frame holds the number
        number = 0
        if key is None or secret.size != KEY_BYTES:
            raise SecretDamaged("the signing key is damaged")
        self._key = key

    @staticmethod
    def generate() -> Secret:
        """A new private number."""
        from cryptography.hazmat.primitives.asymmetric import ec

        numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()
        return Secret(numbers.private_value.to_bytes(KEY_BYTES, "big"))

    def public(self) -> tuple[bytes, bytes]:
        """The public point's two coordinates, 32 bytes each."""
        numbers = self._key.public_key().public_numbers()
        return numbers.x.to_bytes(KEY_BYTES, "big"), numbers.y.to_bytes(KEY_BYTES, "big")

    def sign(self, data: bytes) -> bytes:
        """The signature as JOSE has it: two numbers of 32 bytes."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        r, s = utils.decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(KEY_BYTES, "big") + s.to_bytes(KEY_BYTES, "big")


def derive(key: Secret, purpose: bytes, context: bytes = b"") -> Secret:
    """A key for one purpose; neither the given key nor its siblings follow from it."""
    return Secret(
        blake2b(context, key=key.reveal_bytes(), person=purpose, digest_size=KEY_BYTES).digest()
    )


def checksum(data: bytes) -> bytes:
    """A hash against accidents; it authenticates nothing."""
    return blake2b(data, digest_size=CHECKSUM_BYTES).digest()


class Argon2Profile:
    """Cost of turning a passphrase into a key: Argon2id, version 0x13 (RFC 9106)."""

    __slots__ = ("lanes", "memory_kib", "passes")

    memory_kib: int
    passes: int
    lanes: int

    def __init__(self, memory_kib: int, passes: int, lanes: int) -> None:
        put = object.__setattr__
        put(self, "memory_kib", memory_kib)
        put(self, "passes", passes)
        put(self, "lanes", lanes)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("an Argon2Profile cannot be changed")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Argon2Profile):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Argon2Profile({self.memory_kib}, {self.passes}, {self.lanes})"

    def is_acceptable(self) -> bool:
        """Whether parameters read from a file may be obeyed: RFC 9106's ranges, and bounded cost.

        The bounds keep a damaged or hostile header from taking the machine's memory: 1 GiB is half
        of what the RFC's first recommendation uses.
        """
        return (
            1 <= self.passes <= 64
            and 1 <= self.lanes <= 16
            and 8 * self.lanes <= self.memory_kib <= 1024 * 1024
        )

    def _key(self) -> tuple[int, int, int]:
        return self.memory_kib, self.passes, self.lanes


#: RFC 9106 section 4, the second recommended option (memory-constrained environments).
RFC_9106_LOW_MEMORY = Argon2Profile(memory_kib=64 * 1024, passes=3, lanes=4)


def argon2id(passphrase: Secret, salt: bytes, profile: Argon2Profile) -> Secret:
    """A key from a passphrase; slow by design.

    Raises:
        UnsupportedOption: this build of `cryptography` has no Argon2id (OpenSSL older than 3.2).
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    try:
        kdf = Argon2id(
            salt=salt,
            length=KEY_BYTES,
            iterations=profile.passes,
            lanes=profile.lanes,
            memory_cost=profile.memory_kib,
        )
    except UnsupportedAlgorithm:
        kdf = None
    if kdf is None:
        raise UnsupportedOption(
            "this build of the cryptography package has no Argon2id, which passphrases need",
            hint="pip install --upgrade --force-reinstall --only-binary :all: cryptography",
        )
    return Secret(kdf.derive(passphrase.reveal_bytes()))


def agree_p256(peer_x: bytes, peer_y: bytes) -> tuple[bytes, bytes, Secret] | None:
    """ECDH on NIST P-256 with a key for this once: our point, and the shared x coordinate.

    None if the peer's point is not on the curve.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    curve = ec.SECP256R1()
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(peer_x, "big"), int.from_bytes(peer_y, "big"), curve
    )
    try:
        peer = numbers.public_key()
    except ValueError:
        return None
    own = ec.generate_private_key(curve)
    point = own.public_key().public_numbers()
    x, y = point.x.to_bytes(32, "big"), point.y.to_bytes(32, "big")
    return x, y, Secret(own.exchange(ec.ECDH(), peer))


def aes_cfb(key_and_iv: Secret, data: Secret, *, sealing: bool) -> Secret:
    """AES-128-CFB (NIST SP 800-38A 6.3), as TPMs encrypt what they exchange; authenticates nothing.

    Args:
        key_and_iv: 16 bytes of key, 16 bytes of initialization vector; for one message.
    """
    from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
    from cryptography.hazmat.primitives.ciphers import algorithms, modes

    both, text = key_and_iv.reveal_bytes(), data.reveal_bytes()
    # Out of single blocks: the package no longer counts CFB among its recommended modes.
    blocks = BlockCipher(algorithms.AES(both[:16]), modes.ECB()).encryptor()  # noqa: S305
    result, previous = bytearray(), both[16:]
    for at in range(0, len(text), 16):
        piece = text[at : at + 16]
        mixed = bytes(a ^ b for a, b in zip(piece, blocks.update(previous), strict=False))
        result += mixed
        previous = mixed if sealing else piece
    return Secret(result)


class CbcCipher:
    """AES-128-CBC with PKCS #7 padding: how the Secret Service moves secrets.

    It authenticates nothing. For a channel to a program of the same user, never for what is kept.
    """

    __slots__ = ("_algorithm", "_cipher", "_modes")

    def __init__(self, key: Secret) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher as _Cipher
        from cryptography.hazmat.primitives.ciphers import algorithms, modes

        self._cipher, self._modes = _Cipher, modes
        self._algorithm = algorithms.AES(key.reveal_bytes())

    def seal(self, value: Secret) -> tuple[bytes, bytes]:
        """A random initialization vector, and the ciphertext."""
        start = random_bytes(CBC_BLOCK_BYTES)
        missing = CBC_BLOCK_BYTES - value.size % CBC_BLOCK_BYTES
        work = self._cipher(self._algorithm, self._modes.CBC(start)).encryptor()
        padding = bytes([missing]) * missing
        return start, work.update(value.reveal_bytes() + padding) + work.finalize()

    def open(self, start: bytes, sealed: bytes) -> Secret | None:
        """What was sealed; None if it cannot be that."""
        if len(start) != CBC_BLOCK_BYTES or not sealed or len(sealed) % CBC_BLOCK_BYTES:
            return None
        work = self._cipher(self._algorithm, self._modes.CBC(start)).decryptor()
        with Secret(work.update(sealed) + work.finalize()) as padded:
            length = padded.reveal_bytes()[-1]
            if not 1 <= length <= CBC_BLOCK_BYTES:
                return None
            if not padded.reveal_bytes().endswith(bytes([length]) * length):
                return None
            return Secret(padded.reveal_bytes()[:-length])


def aes_siv_open(key: Secret, sealed: bytes, associated: bytes) -> Secret | None:
    """What AES-SIV (RFC 5297) sealed with one piece of associated data; None if it does not open.

    Args:
        key: 64 bytes for AES-256: one half authenticates, the other encrypts.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

    if key.size != 2 * KEY_BYTES or len(sealed) <= TAG_BYTES:
        return None
    try:
        return Secret(AESSIV(key.reveal_bytes()).decrypt(sealed, [associated]))
    except InvalidTag:
        pass
    return None


def hkdf_sha256(secret: Secret, size: int) -> Secret:
    """HKDF with SHA-256, no salt and no info (RFC 5869); up to 32 bytes."""
    extracted = _hmac_sha256(Secret(bytes(32)), secret)
    return Secret(_hmac_sha256(extracted, Secret(b"\x01")).reveal_bytes()[:size])


def _hmac_sha256(key: Secret, message: Secret) -> Secret:
    """RFC 2104, for a key of up to a block: the `hmac` module loads a second OpenSSL."""
    try:
        # By version: a module that is not there is looked for on the whole path, each time.
        if sys.version_info >= (3, 12):
            from _sha2 import sha256  # type: ignore[import-not-found, unused-ignore]
        else:
            from _sha256 import sha256  # type: ignore[import-not-found, unused-ignore]
    except ImportError:  # pragma: no cover - an interpreter built without the module
        from hashlib import sha256
    block = Secret(key.reveal_bytes().ljust(_SHA256_BLOCK_BYTES, b"\0"))
    inner = sha256(bytes(byte ^ 0x36 for byte in block.reveal_bytes()) + message.reveal_bytes())
    outer = sha256(bytes(byte ^ 0x5C for byte in block.reveal_bytes()) + inner.digest())
    return Secret(outer.digest())
