"""The Secret Service's transport ciphers, against other people's implementations and vectors."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tokenkeep.crypto import CbcCipher, hkdf_sha256
from tokenkeep.native.secret_service.session import Exponent, Session, cipher_of
from tokenkeep.secret import Secret

KEY = Secret(bytes(range(16)))


def by_the_public_api(start: bytes, data: bytes) -> bytes:
    """Deciphers without looking at the padding."""
    work = Cipher(algorithms.AES(bytes(range(16))), modes.CBC(start)).decryptor()
    return work.update(data) + work.finalize()


def test_hkdf_is_that_of_rfc_5869() -> None:
    """Test case 3: neither salt nor info."""
    derived = hkdf_sha256(Secret(b"\x0b" * 22), 32)
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    assert expected == derived.reveal_bytes().hex()
    assert Secret(bytes.fromhex(expected)[:16]) == hkdf_sha256(Secret(b"\x0b" * 22), 16)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1_000])
def test_padding_fills_the_last_block(size: int) -> None:
    """PKCS #7: each missing byte says how many there are, and a full block is added to none."""
    cipher, value = CbcCipher(KEY), b"\xa5" * size
    start, sealed = cipher.seal(Secret(value))
    missing = 16 - size % 16
    assert value + bytes([missing]) * missing == by_the_public_api(start, sealed)
    assert Secret(value) == cipher.open(start, sealed)


def test_start_is_never_the_same_twice() -> None:
    """The same value looks different each time."""
    cipher = CbcCipher(KEY)
    assert cipher.seal(Secret("x")) != cipher.seal(Secret("x"))


@pytest.mark.parametrize(
    ("start", "sealed"),
    [(b"", bytes(16)), (bytes(16), b""), (bytes(16), bytes(17)), (bytes(15), bytes(16))],
)
def test_what_is_no_ciphertext_is_none(start: bytes, sealed: bytes) -> None:
    """Lengths are looked at before anything is deciphered."""
    assert CbcCipher(KEY).open(start, sealed) is None


@pytest.mark.parametrize("last", [b"\x00", b"\x11", b"\x01\x02", b"\x05" * 3])
def test_wrong_padding_is_none(last: bytes) -> None:
    """A count of zero, above the block, or that the bytes before do not repeat."""
    work = Cipher(algorithms.AES(bytes(range(16))), modes.CBC(bytes(16))).encryptor()
    sealed = work.update(last.rjust(16, b"a")) + work.finalize()
    assert CbcCipher(KEY).open(bytes(16), sealed) is None


def test_both_sides_agree() -> None:
    """Each has the other's public number and its own secret: they open what the other sealed."""
    ciphers: list[CbcCipher | None] = [None]
    while None in ciphers:
        ours, theirs = Exponent(), Exponent()
        agreed = ours.agreed(theirs.public()), theirs.agreed(ours.public())
        ciphers = [None if each is None else cipher_of(each) for each in agreed]
    one, two = ciphers
    assert one is not None
    assert two is not None
    assert Secret("value") == two.open(*one.seal(Secret("value")))


def test_number_that_may_be_read_in_two_ways_gives_no_cipher() -> None:
    """With a leading zero byte: some leave it out before they derive the key."""
    assert cipher_of(Secret(b"\0" + b"\1" * 127)) is None
    assert cipher_of(Secret(b"\1" + b"\0" * 127)) is not None


@pytest.mark.parametrize("number", [0, 1, 2**1024])
def test_number_that_gives_the_key_away_is_refused(number: int) -> None:
    """RFC 2631 2.1.5: the other half lies between 2 and p - 2."""
    assert Exponent().agreed(number.to_bytes(129, "big")) is None


def test_value_for_another_session_is_not_opened() -> None:
    """The structure names the session that it was made for."""
    for cipher in (CbcCipher(KEY), None):
        session = Session("/session/1", cipher)
        structure = session.sealed(Secret("value"))
        assert Secret("value") == session.opened(structure)
        assert Session("/session/2", cipher).opened(structure) is None
        assert "application/octet-stream" == structure[3]
