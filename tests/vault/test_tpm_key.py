"""A TPM key before there is a vault: the device that it names, and mistakes in its options."""

from __future__ import annotations

import os
import pty
import threading
import tty
from pathlib import Path

import pytest

from support.tpm import Emulator, call, packets
from tokenkeep.backends.tpm import TpmKey
from tokenkeep.errors import AccessDenied, StoreUnavailable, UnsupportedOption
from tokenkeep.native.tpm.tpm import Tpm
from tokenkeep.secret import Secret
from vault.places import filled_by, read_by


@pytest.mark.requires("terminal")
def test_character_device_speaks_the_same(tpm: Emulator, tmp_path: Path) -> None:
    """The kernel's device is read and written as a file; a pseudo-terminal stands in for it."""
    import socket

    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    device = os.ttyname(theirs)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(os.fspath(tpm.socket))
        answers = packets(connection)

        def serve() -> None:
            waiting = b""
            try:
                while piece := os.read(ours, 4096):
                    waiting += piece
                    while len(waiting) >= 10:
                        size = int.from_bytes(waiting[2:6], "big")
                        if len(waiting) < size:
                            break
                        connection.sendall(waiting[:size])
                        waiting = waiting[size:]
                        os.write(ours, next(answers))
            except (OSError, StopIteration):
                return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        place = tmp_path / "vault"
        filled_by(place, TpmKey(device=device))
        assert Secret("kept") == read_by(place, TpmKey(device=device))
    os.close(theirs)
    thread.join(timeout=10)
    os.close(ours)


@pytest.mark.requires("fork")
def test_device_of_others_is_denied(tpm: Emulator) -> None:
    """A user outside of the device's group is told so, for real."""
    tpm.socket.chmod(0)
    child = os.fork()
    if not child:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setuid(65534)  # modes are nothing to root
            Tpm(tpm.device, call())
        except AccessDenied as exc:
            code = 0 if "tss" in str(exc.hint) else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def test_device_that_is_none_is_unavailable(tmp_path: Path) -> None:
    """A regular file, or nothing that speaks: an error, and the file stays as it is."""
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        filled_by(tmp_path / "vault", TpmKey(device=os.fspath(file)))


@pytest.mark.parametrize("pcrs", [(24,), (-1,), (7, 99)])
def test_pcr_that_no_tpm_has_is_refused(pcrs: tuple[int, ...]) -> None:
    """A mistake is said when the key is made, not when the vault is."""
    with pytest.raises(UnsupportedOption):
        TpmKey(pcrs)


def test_bank_that_is_too_weak_is_refused() -> None:
    """SHA-1 banks are not offered; the replacement is named."""
    with pytest.raises(UnsupportedOption) as caught:
        TpmKey(bank="sha1")  # type: ignore[arg-type]
    assert "SHA256" in str(caught.value.hint)


def test_key_cannot_be_changed_and_shows_no_pin() -> None:
    """A key is a value."""
    key = TpmKey(auth="1234")
    with pytest.raises(AttributeError):
        key.device = "/dev/tpm0"
    assert "1234" not in repr(key)
