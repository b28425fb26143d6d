"""A secret in a file of its own, or in a pipe whose writer may never come."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from tokenkeep.errors import (
    AccessDenied,
    StoreTimeout,
    StoreUnavailable,
    TokenkeepError,
    UnsupportedOption,
)
from tokenkeep.passphrase_file import LONGEST_LOOK_SECONDS, MAX_BYTES, read_passphrase


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"pass phrase\n", b"pass phrase"),
        (b"pass\r\n", b"pass"),
        (b"pass\n\n", b"pass\n"),
        (b" pass ", b" pass "),
        (b"\xff\x00\n", b"\xff\x00"),
    ],
)
def test_passphrase_file_loses_one_newline(tmp_path: Path, content: bytes, expected: bytes) -> None:
    """Everything else in it counts."""
    place = tmp_path / "p"
    place.write_bytes(content)
    place.chmod(0o600)
    assert expected == read_passphrase(str(place)).reveal_bytes()


@pytest.mark.parametrize(
    ("content", "mode", "error"),
    [
        (None, 0, StoreUnavailable),
        (b"", 0o600, UnsupportedOption),
        (b"\n", 0o600, UnsupportedOption),
        (b"x" * (MAX_BYTES + 1), 0o600, UnsupportedOption),
        (b"x", 0o640, AccessDenied),
        (b"x", 0o604, AccessDenied),
    ],
)
@pytest.mark.requires("POSIX files")
def test_unusable_passphrase_file_is_an_error(
    tmp_path: Path, content: bytes | None, mode: int, error: type[TokenkeepError]
) -> None:
    """Missing, empty, huge, or open to others."""
    place = tmp_path / "p"
    if content is not None:
        place.write_bytes(content)
        place.chmod(mode)
    with pytest.raises(error) as caught:
        read_passphrase(str(place))
    assert str(place) in str(caught.value)
    assert caught.value.hint


@pytest.mark.requires("POSIX files")
@pytest.mark.parametrize("mode", [0o700, 0o755, 0])
def test_directory_in_its_place_is_an_error(tmp_path: Path, mode: int) -> None:
    """With the option that should have named a file; a directory's mode is nobody's mistake."""
    place = tmp_path / "d"
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(UnsupportedOption, match=f"{place}: is a directory") as caught:
        read_passphrase(str(place), "--tpm-pin-file")
    assert "--tpm-pin-file FILE" == caught.value.hint


@pytest.mark.requires("POSIX files")
def test_device_in_its_place_is_an_error() -> None:
    """It holds no secret, and closing it to others would break it for them."""
    with pytest.raises(UnsupportedOption, match="/dev/null: is a device") as caught:
        read_passphrase("/dev/null", "--tpm-pin-file")
    assert "--tpm-pin-file FILE" == caught.value.hint


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    place = tmp_path / "pipe"
    os.mkfifo(place, 0o600)
    return place


def writes(place: Path, *pieces: bytes, pause: float = 0.2) -> threading.Thread:
    """Somebody who opens the pipe after a while, and writes one piece after the other."""

    def run() -> None:
        time.sleep(pause)
        fd = os.open(place, os.O_WRONLY)
        for piece in pieces:
            os.write(fd, piece)
            time.sleep(pause)
        os.close(fd)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.requires("POSIX files")
def test_pipe_is_read_to_the_end_however_slowly_it_comes(pipe: Path) -> None:
    """Its writer comes late, and writes half of it at first; however long it may take."""
    for timeout in (None, 3_000_000.0, 999_999_999.0):  # the last two are more than `poll` takes
        writer = writes(pipe, b"pass ", b"phrase\n")
        assert b"pass phrase" == read_passphrase(str(pipe), timeout=timeout).reveal_bytes()
        writer.join()


@pytest.mark.requires("POSIX files")
def test_pipe_is_waited_for_longer_than_one_look_takes(pipe: Path) -> None:
    """A look ends early; only the deadline ends the wait."""
    writer = writes(pipe, b"pass phrase", pause=LONGEST_LOOK_SECONDS + 0.5)
    assert b"pass phrase" == read_passphrase(str(pipe)).reveal_bytes()
    writer.join()


@pytest.mark.requires("POSIX files")
@pytest.mark.parametrize("writer", ["nobody", "silent", "endless"])
def test_pipe_without_an_end_is_not_waited_for(pipe: Path, writer: str) -> None:
    """Whoever opens it never, writes nothing, or leaves it open: the deadline ends the wait."""
    # A reader keeps the pipe for the writer, whom nothing holds up.
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fd = -1 if writer == "nobody" else os.open(pipe, os.O_WRONLY)
    if writer == "endless":
        os.write(fd, b"half of it")
    began = time.monotonic()
    with pytest.raises(StoreTimeout) as caught:
        read_passphrase(str(pipe), "--tpm-pin-file", timeout=0.5)
    assert 0.4 < time.monotonic() - began < 5
    assert f"{pipe}: the tpm pin file did not come to an end within 0.5 s" == str(caught.value)
    assert "tokenkeep --timeout SECONDS VERB" == caught.value.hint
    for each in (reader, fd):
        if each >= 0:
            os.close(each)


@pytest.mark.requires("/proc")  # elsewhere nobody can tell it from one that is still to come
def test_pipe_whose_writer_wrote_nothing_is_empty(pipe: Path) -> None:
    """Said at once: nothing is to come any more."""
    writer = writes(pipe)
    with pytest.raises(UnsupportedOption, match="is empty"):
        read_passphrase(str(pipe))
    writer.join()


@pytest.mark.requires("POSIX files")
def test_flood_in_a_pipe_is_cut_off(pipe: Path) -> None:
    """A bound on what a mistaken pipe can make us read."""

    def flood() -> None:
        with open(pipe, "wb", buffering=0) as file:
            try:
                for _ in range(100):
                    file.write(bytes(65536))
            except BrokenPipeError:
                return

    writer = threading.Thread(target=flood)
    writer.start()
    with pytest.raises(UnsupportedOption, match="too large"):
        read_passphrase(str(pipe))
    writer.join()
