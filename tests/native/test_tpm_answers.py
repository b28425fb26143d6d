"""Whatever answers in a TPM's place, nothing but our errors comes out, and in time."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.tpm import packets
from tokenkeep.backends.tpm import TpmKey
from tokenkeep.errors import StoreError
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.vault.format import Slot

#: The generator of P-256: a point that is on the curve.
_X = bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
_Y = bytes.fromhex("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
_TEMPLATE = bytes.fromhex("0023 000b 00030472 0000 0006 0080 0043 0010 0003 0010")
PUBLIC = _TEMPLATE + b"\0\x20" + _X + b"\0\x20" + _Y
#: What makes the client go on: a storage key, a handle, a handle and a nonce, sized parameters.
PLAUSIBLE = st.sampled_from(
    [
        len(PUBLIC).to_bytes(2, "big") + PUBLIC,
        b"\x80\0\0\1" + b"\0\0\0\x5e" + len(PUBLIC).to_bytes(2, "big") + PUBLIC,
        b"\x80\0\0\1" + b"\0\0\0\0",
        b"\2\0\0\0\0\x20" + bytes(32),
        b"\0\0\0\x22\0\x20" + bytes(32) + b"\0\x20" + bytes(32) + b"\x41\0\x20" + bytes(32),
        b"",
    ]
)


class Impostor:
    """Speaks like a TPM, and says what a test wants."""

    def __init__(self, directory: str) -> None:
        self.answers: Iterator[bytes] = iter(())
        self.device = f"unix:{directory}/s"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(os.path.join(directory, "s"))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=10)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            with client:
                for _command in packets(client):
                    try:
                        client.sendall(next(self.answers, b"\0" * 10))
                    except OSError:
                        break


@pytest.fixture(scope="module")
def impostor() -> Iterator[Impostor]:
    with tempfile.TemporaryDirectory(prefix="tokenkeep-tpm-") as directory:
        one = Impostor(directory)
        yield one
        one.close()


def packet(body: bytes, code: int = 0, size: int | None = None) -> bytes:
    """A response, well-formed unless its size says otherwise."""
    length = 10 + len(body) if size is None else size
    return b"\x80\2" + length.to_bytes(4, "big") + code.to_bytes(4, "big") + body


answers = st.lists(
    st.one_of(
        st.builds(packet, PLAUSIBLE),
        st.builds(packet, st.binary(max_size=120)),
        st.builds(packet, st.binary(max_size=12), st.integers(0, 0xFFFF), st.integers(0, 40)),
        st.binary(max_size=40),
    ),
    max_size=12,
)


@given(said=answers)
def test_any_answers_to_an_opening_are_an_error_of_ours(
    impostor: Impostor, said: list[bytes]
) -> None:
    """Random and plausible answers: no key comes out, no foreign exception, no hang."""
    slot = Slot(
        slot_id=bytes(4), kind="tpm2", label="", salt=bytes(16), wrapped=b"",
        extra={
            "tpm-parent": b"\0\x0b" + bytes(32), "tpm-public": bytes.fromhex("0008000b"),
            "tpm-private": b"p", "tpm-bank": b"\0\x0b", "tpm-pcrs": b"\x80\0\0",
        },
    )  # fmt: skip
    if said and said[0].endswith(PUBLIC):
        from tokenkeep.native.tpm.session import name_of

        slot.extra["tpm-parent"] = name_of(PUBLIC)
    impostor.answers = iter(said)
    key = TpmKey(device=impostor.device)
    with pytest.raises(StoreError):
        key.opener(bytes(16), Call(0.2))(slot)


@given(said=answers)
def test_any_answers_to_a_sealing_make_an_error_or_a_slot(
    impostor: Impostor, said: list[bytes]
) -> None:
    """What is given to be sealed never comes back as a field of the slot."""
    impostor.answers = iter(said)
    key = TpmKey(device=impostor.device, auth=Secret("1234"))
    with pytest.raises(StoreError):
        key.remember(bytes(4), bytes(16), Call(0.2))
