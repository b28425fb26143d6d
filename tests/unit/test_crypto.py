"""Sealing, hashing and deriving, against other people's implementations where there are any."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tokenkeep.crypto import (
    RFC_9106_LOW_MEMORY,
    Argon2Profile,
    Cipher,
    KeyedHash,
    aes_cfb,
    agree_p256,
    argon2id,
    checksum,
    derive,
)
from tokenkeep.secret import Secret

KEY = Secret(bytes(range(32)))


def test_cipher_is_aes_256_gcm_with_the_nonce_in_front() -> None:
    """The public implementation opens what ours sealed, and the other way round."""
    sealed = Cipher(KEY).seal(Secret("value"), b"about")
    assert b"value" == AESGCM(bytes(range(32))).decrypt(sealed[:12], sealed[12:], b"about")
    theirs = bytes(12) + AESGCM(bytes(range(32))).encrypt(bytes(12), b"value", b"about")
    assert Secret("value") == Cipher(KEY).open(theirs, b"about")


def test_what_does_not_open_is_none() -> None:
    """Another key, other bytes, other associated data, too short."""
    sealed = Cipher(KEY).seal(Secret("value"), b"about")
    assert Cipher(Secret(bytes(32))).open(sealed, b"about") is None
    assert Cipher(KEY).open(sealed, b"else") is None
    for at in range(len(sealed)):
        assert Cipher(KEY).open(sealed[:at], b"about") is None
        spoilt = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        assert Cipher(KEY).open(spoilt, b"about") is None


def test_pair_is_two_messages_with_nonces_of_their_own() -> None:
    """Sealed in one piece, each opens by itself and neither in the other's place."""
    cipher = Cipher(KEY)
    value = Secret("s3cret")
    pair = cipher.seal_pair(b"front", b"a name", b"about it", value, b"about that")
    assert all(each.startswith(b"front") for each in pair)
    plain, sealed = (bytes(each[len(b"front") :]) for each in pair)
    opened = cipher.open(plain, b"about it"), cipher.open(sealed, b"about that")
    assert ["a name", "s3cret"] == [each.reveal() for each in opened if each is not None]
    assert cipher.open(sealed, b"about it") is None
    assert plain[:12] != sealed[:12]


def test_decryption_for_others_has_loaded_what_its_failure_needs() -> None:
    """A process that has opened nothing but what opens has not, as that takes time."""
    program = (
        "import sys; from tokenkeep.crypto import Cipher; from tokenkeep.secret import Secret;"
        "cipher = Cipher(Secret(bytes(32))); cipher.open(cipher.seal(Secret('a'), b''), b'');"
        "print('cryptography.exceptions' in sys.modules); cipher.decrypt;"
        "print('cryptography.exceptions' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert "False\nTrue\n" == done.stdout


def test_nonces_differ() -> None:
    """The same value sealed twice is not the same bytes."""
    cipher = Cipher(KEY)
    assert 100 == len({cipher.seal(Secret("x"), b"")[:12] for _ in range(100)})


def test_keyed_hash_and_derivation_are_blake2b() -> None:
    """RFC 7693, with the purpose as personalization; purposes are independent."""
    expected = hashlib.blake2b(b"data", key=bytes(range(32)), person=b"one", digest_size=20)
    keyed = KeyedHash(KEY, b"one", 20)
    assert expected.digest() == keyed.digest(b"data") == keyed.digest(b"data")
    assert keyed.digest(b"data") != KeyedHash(KEY, b"two", 20).digest(b"data")
    derived = hashlib.blake2b(b"salt", key=bytes(range(32)), person=b"p", digest_size=32)
    assert Secret(derived.digest()) == derive(KEY, b"p", b"salt")
    assert hashlib.blake2b(b"x", digest_size=32).digest() == checksum(b"x")


def test_argon2id_is_the_rfcs() -> None:
    """A known answer of the reference implementation's command line (argon2 1.3)."""
    # printf password | argon2 somesalt -id -t 2 -k 256 -p 1 -l 32 -r
    profile = Argon2Profile(memory_kib=256, passes=2, lanes=1)
    expected = "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"
    assert expected == argon2id(Secret("password"), b"somesalt", profile).reveal_bytes().hex()


def test_default_profile_is_the_rfcs_second_choice() -> None:
    """RFC 9106 section 4: t=3, p=4, 64 MiB."""
    assert Argon2Profile(65536, 3, 4) == RFC_9106_LOW_MEMORY
    assert RFC_9106_LOW_MEMORY.is_acceptable()


@pytest.mark.parametrize(
    "profile",
    [(1 << 21, 1, 1), (64, 65, 1), (64, 0, 1), (64, 1, 0), (4096, 1, 17), (7, 1, 1), (31, 1, 4)],
)
def test_costs_out_of_bounds_are_not_obeyed(profile: tuple[int, int, int]) -> None:
    """A header must not be able to take the machine's memory or its time."""
    assert not Argon2Profile(*profile).is_acceptable()


def test_no_key_prints() -> None:
    """What holds a key says nothing of it."""
    for holder in (Cipher(KEY), KeyedHash(KEY, b"one", 20)):
        assert bytes(range(32)).hex() not in repr(vars(type(holder)))
        assert "object at" in repr(holder)


def test_cfb_is_nist_s() -> None:
    """SP 800-38A F.3.13 and F.3.14, and a last block that is not whole."""
    key_and_iv = Secret(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c") + bytes(range(16)))
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
    sealed = bytes.fromhex("3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b")
    for size in (0, 1, 16, 20, 32):
        assert Secret(sealed[:size]) == aes_cfb(key_and_iv, Secret(plain[:size]), sealing=True)
        assert Secret(plain[:size]) == aes_cfb(key_and_iv, Secret(sealed[:size]), sealing=False)


def test_agreement_is_what_the_other_side_computes() -> None:
    """ECDH on P-256: our point and their key give the same coordinate; each time another one."""
    theirs = ec.generate_private_key(ec.SECP256R1())
    point = theirs.public_key().public_numbers()
    x, y = point.x.to_bytes(32, "big"), point.y.to_bytes(32, "big")
    agreed = agree_p256(x, y)
    assert agreed is not None
    ours = ec.EllipticCurvePublicNumbers(
        int.from_bytes(agreed[0], "big"), int.from_bytes(agreed[1], "big"), ec.SECP256R1()
    )
    assert Secret(theirs.exchange(ec.ECDH(), ours.public_key())) == agreed[2]
    assert agree_p256(x, y) != agreed


@pytest.mark.parametrize("point", [(bytes(32), bytes(32)), (b"\1" * 32, b"\2" * 32), (b"", b"")])
def test_point_that_is_not_on_the_curve_agrees_on_nothing(point: tuple[bytes, bytes]) -> None:
    """An invalid point would betray the key."""
    assert agree_p256(*point) is None
