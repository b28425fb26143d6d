"""Reading a secret that somebody keeps in a file of its own: a passphrase, a client's secret.

The file may be a pipe, as of `<(command)`: whoever writes into it has a bounded time for that.
"""

from __future__ import annotations

import os
import stat
import sys

from tokenkeep.clock import SystemClock
from tokenkeep.errors import AccessDenied, StoreTimeout, StoreUnavailable, UnsupportedOption
from tokenkeep.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.errors import TokenkeepError

#: Far more than any passphrase; a bound on what a mistaken file can make us read.
MAX_BYTES = 1_048_576
#: A password manager that writes into a pipe may have to ask a person first.
PIPE_SECONDS = 30.0
#: Of one `poll`, which takes no more than a C `int` of milliseconds: 24 days.
LONGEST_LOOK_SECONDS = 1.0

# Opening a named pipe would otherwise wait for its writer, who may never come.
_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_FLAGS |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
#: Linux's poll waits for a pipe's first writer; elsewhere a pipe without one reads as ended.
_POLL_WAITS_FOR_A_WRITER = sys.platform == "linux"


def read_passphrase(
    path: str, option: str = "--passphrase-file", timeout: float | None = None
) -> Secret:
    """What a passphrase file holds, or another secret's, without one trailing newline.

    Args:
        option: which option names such a file; for the messages.
        timeout: seconds for whoever writes into a pipe; None takes `PIPE_SECONDS`.

    Raises:
        StoreUnavailable: it does not exist.
        AccessDenied: it cannot be read, or others can.
        UnsupportedOption: it is empty, no file, or too large to be a passphrase.
        StoreTimeout: it is a pipe, and its end did not come in time.
    """
    what = option.removeprefix("--").replace("-", " ")
    text = bytearray()
    problem = _read(path, text, PIPE_SECONDS if timeout is None else timeout, what, option)
    if problem is None:
        if text.endswith(b"\n"):
            del text[-2 if text.endswith(b"\r\n") else -1 :]
        size = len(text)
        if size in range(1, MAX_BYTES + 1):
            return Secret(text)
        problem = UnsupportedOption(
            f"{path}: the {what} is {'too large' if size else 'empty'}",
            hint="write the secret into it, and nothing else",
        )
    del text  # it must not stay in a captured frame
    raise problem


def _read(
    path: str, text: bytearray, timeout: float, what: str, option: str
) -> TokenkeepError | None:
    """Reads all of it, one byte more than is allowed; or what is wrong."""
    # What is no file is not to be closed to others; and Windows does not open a directory.
    if os.path.isdir(path):
        return UnsupportedOption(f"{path}: is a directory", hint=f"{option} FILE")
    try:
        fd = os.open(path, os.O_RDONLY | _FLAGS)
        try:
            mode = os.fstat(fd).st_mode
            if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                return UnsupportedOption(f"{path}: is a device", hint=f"{option} FILE")
            if os.name == "posix" and mode & 0o77:
                return AccessDenied(f"{path}: other users can read it", hint=f"chmod 600 {path}")
            if _read_to_the_end(fd, text, timeout, is_file=stat.S_ISREG(mode)):
                return None
        finally:
            os.close(fd)
    except FileNotFoundError:
        return StoreUnavailable(f"{path}: no such {what}", hint=f"{option} FILE")
    except PermissionError as exc:
        return AccessDenied(f"{path}: {exc.strerror}", hint=f"chmod u+r {path}")
    except OSError as exc:
        return UnsupportedOption(f"{path}: {exc.strerror}", hint=f"{option} FILE")
    return StoreTimeout(
        f"{path}: the {what} did not come to an end within {timeout:g} s",
        hint="tokenkeep --timeout SECONDS VERB",
    )


def _read_to_the_end(fd: int, text: bytearray, timeout: float, *, is_file: bool) -> bool:
    """Whether the end came in time, or more than is allowed."""
    clock = SystemClock()
    deadline = clock.monotonic() + timeout
    while len(text) <= MAX_BYTES:
        if not is_file and not _is_ready(fd, clock, deadline):
            return False
        piece = os.read(fd, MAX_BYTES + 1 - len(text))
        if piece:
            text += piece
        elif is_file or text or _POLL_WAITS_FOR_A_WRITER:
            return True
        else:
            clock.sleep(0.02)
    return True


def _is_ready(fd: int, clock: SystemClock, deadline: float) -> bool:
    """Whether a read of what is no file tells something before the time is over."""
    try:
        from select import POLLIN, poll
    except ImportError:  # Windows has no pipes among its files
        return bool(clock.monotonic() < deadline)
    waiting = poll()
    waiting.register(fd, POLLIN)
    while (left := deadline - clock.monotonic()) > 0:
        if waiting.poll(min(left, LONGEST_LOOK_SECONDS) * 1000):
            return True
    return False
