"""A file of somebody else's that holds secrets: read as a whole, replaced atomically."""

from __future__ import annotations

import os
import stat

from tokenkeep.errors import SecretDamaged, StoreError, StoreUnavailable, UnsupportedOption
from tokenkeep.secret import Secret
from tokenkeep.vault.files import sync_directory, translated

#: Far more than any list of secrets; a bound on what a mistaken path can make us read.
MAX_BYTES = 16 << 20
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class PlainFile:
    """A file at a path, which may be a link to it.

    Raises:
        UnsupportedOption: this can be no path.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        text = os.path.expanduser(os.fspath(path))
        if not text or "\0" in text:
            raise UnsupportedOption("this cannot be a path")
        self.path = os.path.realpath(text)

    def read(self) -> Secret:
        """The whole file.

        Raises:
            StoreUnavailable: there is none.
            AccessDenied: it cannot be read.
            UnsupportedOption: it is no regular file, or too large.
        """
        data = b""
        mode = 0
        problem: StoreError | None = None
        try:
            # Not blocking: nobody may ever write into a pipe.
            fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _FLAGS)
            try:
                mode = os.fstat(fd).st_mode
                if stat.S_ISREG(mode):
                    with os.fdopen(os.dup(fd), "rb") as file:
                        data = file.read(MAX_BYTES + 1)
            finally:
                os.close(fd)
        except (FileNotFoundError, NotADirectoryError):
            problem = StoreUnavailable(f"there is no such file: {self.path}")
        except OSError as exc:
            problem = translated(exc, self.path)
        content, size = Secret(data), len(data)
        del data
        if problem is not None:
            raise problem
        if not stat.S_ISREG(mode) or size > MAX_BYTES:
            raise UnsupportedOption(f"this is no file of secrets: {self.path}")
        return content

    def text(self) -> Secret:
        """The whole file, which is UTF-8, perhaps behind a byte order mark.

        Raises:
            SecretDamaged: it is not; and as `read`.
        """
        content = self.read()
        is_text = True
        try:
            content.reveal()
        except ValueError:
            is_text = False
        if not is_text:
            raise SecretDamaged(f"the file is not UTF-8: {self.path}")
        return content

    def replace(self, seen: Secret, content: Secret) -> None:
        """Puts other content in the place of what was seen there; durable on return.

        Owner and permissions stay.

        Raises:
            UnsupportedOption: it was changed since it was seen.
            AccessDenied, StoreFull, StoreUnavailable: it cannot be written; nothing changed.
        """
        if self.read() != seen:
            raise UnsupportedOption(
                f"the file was changed meanwhile: {self.path}", hint="try again"
            )
        aside, problem = f"{self.path}.{os.urandom(6).hex()}.new", None
        try:
            self._write(aside, content)
            os.replace(aside, self.path)
            sync_directory(os.path.dirname(self.path))
        except OSError as exc:
            problem = translated(exc, self.path)
        if problem is not None:
            _remove(aside)
            raise problem

    def delete(self) -> None:
        """Erases the file, if it is there.

        Raises:
            StoreError: it cannot be erased.
        """
        problem: StoreError | None = None
        try:
            os.unlink(self.path)
            sync_directory(os.path.dirname(self.path))
        except FileNotFoundError:
            return
        except OSError as exc:
            problem = translated(exc, self.path)
        if problem is not None:
            raise problem

    def _write(self, aside: str, content: Secret) -> None:
        before = os.stat(self.path)
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
        try:
            view = memoryview(content.reveal_bytes())
            while view:
                view = view[os.write(fd, view) :]
            if hasattr(os, "fchown") and os.geteuid() == 0:
                os.fchown(fd, before.st_uid, before.st_gid)
            if hasattr(os, "fchmod"):
                os.fchmod(fd, stat.S_IMODE(before.st_mode))
            os.fsync(fd)
        finally:
            os.close(fd)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return
