"""The files of a vault on disk: what they must be, how they are replaced.

The database's own file is never opened here: opening and closing it beside SQLite would drop
SQLite's locks (POSIX record locks belong to the process), and another process could then remove a
log with acknowledged writes in it. `lstat` is harmless.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

from tokenkeep.errors import (
    AccessDenied,
    NotAVault,
    StoreError,
    StoreFull,
    StoreUnavailable,
    UnsupportedOption,
    VaultDamaged,
)
from tokenkeep.secret import Secret
from tokenkeep.vault.format import RESTORE_HINT

HEADER = "header"
DATABASE = "vault.db"
LOCK = "lock"
ROOM = "room"
#: How often, and how many seconds apart, a file that is being read is replaced: a header is read in
#: far less than one such pause.
_TRIES, _PAUSE_SECONDS = 100, 0.01
#: Where a new header is written before it replaces the old one.
_NEW = ".new"
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_FLAGS = getattr(os, "O_CLOEXEC", 0) | _NO_FOLLOW | getattr(os, "O_BINARY", 0)
#: Where Linux keeps who else may reach a file (acl(5)).
_ACCESS_LIST = "system.posix_acl_access"
#: A remedy for a link, a directory or a pipe where a file has to be.
_THE_FILE_ITSELF = "put the file itself in its place"
#: Permissions and owners mean something; elsewhere the user's profile is what protects.
_HAS_MODES = sys.platform != "win32"


def absolute(path: str | os.PathLike[str], what: str) -> str:
    """The path from the root.

    Raises:
        UnsupportedOption: it can be no path, or the working directory is gone.
    """
    path = os.fspath(path)
    if not path or "\0" in path:
        raise UnsupportedOption(
            f"the path of {what} {'has a NUL' if path else 'is empty'}", hint="give another path"
        )
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        raise UnsupportedOption(
            f"the path of {what} is relative, and the working directory is gone",
            hint="give a path that begins at the root",
        ) from None


def exists(path: str) -> bool:
    """Whether anything lies at the path, a dangling link included.

    Raises:
        AccessDenied, StoreUnavailable: we cannot know.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as exc:
        raise translated(exc, "the vault") from None
    return True


def require_vault_directory(path: str) -> bool:
    """Whether a vault's directory is there; False if nothing is.

    Raises:
        NotAVault: something else is there.
        AccessDenied: it is not ours, or others can reach into it.
    """
    problem: AccessDenied | None = None
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as exc:
        raise translated(exc, "the vault") from None
    if not stat.S_ISDIR(found.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "a file"
        raise NotAVault(
            f"{what} lies where the vault should be: {path}", hint="choose another path"
        )
    try:
        require_private(path, found, 0o700)
    except AccessDenied as exc:
        problem = exc.with_traceback(None)
    if problem is not None:
        # Nobody is to change the permissions of a folder that is none of ours.
        if _is_absent(os.path.join(path, HEADER)) and _is_absent(os.path.join(path, DATABASE)):
            raise _foreign(path)
        raise problem
    return True


def _is_absent(path: str) -> bool:
    """Whether we know that nothing is there."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _foreign(directory: str) -> NotAVault:
    return NotAVault(f"the directory is not a vault: {directory}", hint="choose another path")


def require_private(path: str, found: os.stat_result, mode: int) -> None:
    """Ends an attempt to use what other users could read or replace.

    Raises:
        AccessDenied: owner or permissions are wrong; the hint mends them.
    """
    if not _HAS_MODES:
        return
    if found.st_uid != os.geteuid():
        raise AccessDenied(
            f"{path} belongs to user {found.st_uid}", hint=f"chown {os.geteuid()} {_quoted(path)}"
        )
    if stat.S_IMODE(found.st_mode) & ~mode & 0o777:
        raise AccessDenied(f"other users can reach {path}", hint=f"chmod {mode:o} {_quoted(path)}")
    if not found.st_mode & stat.S_IRUSR:
        raise AccessDenied(f"{path} cannot be read", hint=f"chmod {mode:o} {_quoted(path)}")


def require_database(directory: str) -> None:
    """Looks at the database's files without opening them.

    Raises:
        VaultDamaged: the database is missing, empty or no file.
        AccessDenied: as `require_private`.
    """
    path = os.path.join(directory, DATABASE)
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        raise VaultDamaged("the vault's database is missing", hint=RESTORE_HINT) from None
    except OSError as exc:
        raise translated(exc, "the vault's database") from None
    if not stat.S_ISREG(found.st_mode):
        raise VaultDamaged("the vault's database is not a file", hint=RESTORE_HINT)
    if not found.st_size:
        # SQLite takes an empty database for a new one, and removes the log that lies beside it.
        raise VaultDamaged("the vault's database is empty", hint=RESTORE_HINT)
    require_private(path, found, 0o600)


def read_header(directory: str, limit: int) -> bytes:
    """The header file's bytes.

    Raises:
        NotAVault: the directory holds nothing of a vault.
        VaultDamaged: the header is missing or far too large.
        AccessDenied: as `require_private`.
    """
    path = os.path.join(directory, HEADER)
    try:
        data = read_private(path, limit, 0o600)
    except FileNotFoundError:
        data = None
    except OSError as exc:
        raise translated(exc, "the vault's header") from None
    if data is not None:
        if len(data) > limit:
            raise VaultDamaged("the vault's header is damaged", hint=RESTORE_HINT)
        return data
    if os.path.lexists(os.path.join(directory, DATABASE)):
        raise VaultDamaged("the vault's header is missing", hint=RESTORE_HINT)
    raise _foreign(directory)


def identity_of(path: str) -> tuple[int, int] | None:
    """Device and inode of what has the name; None if nobody can tell."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def read_private(path: str, limit: int, mode: int) -> bytes:
    """Up to `limit + 1` bytes of a regular file that only we can reach.

    Raises:
        AccessDenied: as `require_private`; or it is no regular file.
        OSError: it cannot be read.
    """
    fd = _open_to_read(path, _FLAGS)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise AccessDenied(f"{path} is not a regular file", hint=_THE_FILE_ITSELF)
        require_private(path, found, mode)
        return os.read(fd, limit + 1)
    finally:
        os.close(fd)


def read_shared(path: str, limit: int) -> bytes:
    """Up to `limit + 1` bytes of a file that others may read and nobody but its owner write.

    Raises:
        AccessDenied: everybody may read it, or others than its owner may write it.
        OSError: it cannot be read.
    """
    fd = _open_to_read(path, _FLAGS & ~_NO_FOLLOW)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise AccessDenied(f"{path} is not a regular file", hint=_THE_FILE_ITSELF)
        if _HAS_MODES and stat.S_IMODE(found.st_mode) & 0o027:
            raise AccessDenied(f"other users can reach {path}", hint=f"chmod 640 {_quoted(path)}")
        return os.read(fd, limit + 1)
    finally:
        os.close(fd)


def _open_to_read(path: str, flags: int) -> int:
    """Opens a file; on Windows after a while, for nobody opens there what somebody replaces."""
    tries = _TRIES if sys.platform == "win32" else 1
    while True:
        tries -= 1
        try:
            return os.open(path, os.O_RDONLY | flags | getattr(os, "O_NONBLOCK", 0))
        except PermissionError:
            if not tries:
                raise
        import time

        time.sleep(_PAUSE_SECONDS)


def link_new(path: str, to: str) -> None:
    """Gives a finished file its name, unless something has that name.

    Raises:
        FileExistsError: something has it.
        OSError: it cannot be named.
    """
    if sys.platform == "win32":
        os.rename(path, to)  # fails there if something is in the way
        return
    try:
        os.link(path, to, follow_symlinks=False)
    except OSError as exc:
        # A file system without hard links: the two creators race, as unlikely as both are.
        if exc.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS) or os.path.lexists(to):
            raise
        os.rename(path, to)


def write_new(path: str, data: Secret | bytes) -> None:
    """A file that was not there, durable in itself; its directory is the caller's to sync.

    Raises:
        OSError: it cannot be written; FileExistsError if something is there.
    """
    _write(path, os.O_EXCL, data)


def replace_file(
    path: str,
    data: Secret | bytes,
    aside: str = "",
    keeps_access: bool = False,
    folder: int | None = None,
) -> None:
    """Puts a file in the place of another, durably and atomically.

    Args:
        aside: what it is called meanwhile, a name of the caller's own; without one, for one caller
            at a time, what somebody left there who was killed is overwritten.
        keeps_access: whoever could read or write the old one can the new one, and nobody else.
        folder: the open directory that the path is a name in, wherever it lies by now; not on
            Windows, and not with `keeps_access`.

    Raises:
        OSError: the old file is still there.
    """
    aside = aside or path + _NEW
    try:
        _write(aside, os.O_TRUNC, data, folder)
        if keeps_access:
            _take_after(aside, path)
        _put_in_place(aside, path, folder)
    except OSError:
        remove(aside, folder)
        raise
    if folder is None:
        sync_directory(os.path.dirname(path))
    else:
        os.fsync(folder)


def _take_after(aside: str, path: str) -> None:
    """Gives a new file owner, mode and access list of the one whose place it will take."""
    if not _HAS_MODES:
        return
    old, new = os.stat(path), os.stat(aside)
    # The group means something where it may do something; a user may have left that of his file.
    is_shared = bool(old.st_mode & stat.S_IRWXG)
    group = old.st_gid if is_shared else new.st_gid
    if (old.st_uid, group) != (new.st_uid, new.st_gid):
        os.chown(aside, old.st_uid, group)
    if stat.S_IMODE(old.st_mode) != stat.S_IMODE(new.st_mode):
        os.chmod(aside, stat.S_IMODE(old.st_mode))
    if is_shared and sys.platform == "linux" and _ACCESS_LIST in os.listxattr(path):
        os.setxattr(aside, _ACCESS_LIST, os.getxattr(path, _ACCESS_LIST))


def _put_in_place(aside: str, path: str, folder: int | None) -> None:
    """Replaces a file; on Windows after a while, for nobody replaces there what somebody reads."""
    tries = _TRIES if sys.platform == "win32" else 1
    while True:
        tries -= 1
        try:
            os.replace(aside, path, src_dir_fd=folder, dst_dir_fd=folder)
        except PermissionError:
            if not tries:
                raise
        else:
            return
        import time

        time.sleep(_PAUSE_SECONDS)


def publish_directory(aside: str, path: str) -> bool:
    """Gives a finished directory its name; False if anything has that name already.

    Raises:
        OSError: it cannot be named.
    """
    if sys.platform == "linux":
        # rename(2) would replace an empty directory, which must not be adopted as a vault.
        import ctypes

        at_cwd, no_replace = -100, 1
        renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        if renameat2 is not None:
            old, new = os.fsencode(aside), os.fsencode(path)
            if renameat2(at_cwd, old, at_cwd, new, no_replace) == 0:
                return True
            number = ctypes.get_errno()
            if number == errno.EEXIST:
                return False
            if number not in (errno.EINVAL, errno.ENOSYS):  # file systems without the flag
                raise OSError(number, os.strerror(number))
    if os.path.lexists(path):
        return False
    try:
        os.rename(aside, path)
    except OSError as exc:
        if exc.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            return False
        raise
    return True


def missing_parents(path: str) -> list[str]:
    """The directories above the path that are not there, the lowest first."""
    missing = []
    parent = os.path.dirname(path)
    while parent and not os.path.lexists(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    return missing


def remove_empty(directories: list[str]) -> None:
    """Removes those that are empty: what was made on the way to something that came to nothing."""
    for directory in directories:
        try:
            os.rmdir(directory)
        except OSError:
            continue  # it was not made, or is not empty


def remove(path: str, folder: int | None = None) -> None:
    """Removes a file if it is there; of an open directory, if one is given."""
    try:
        os.unlink(path, dir_fd=folder)
    except OSError:
        return


def sync_directory(path: str) -> None:
    """Makes names in a directory durable, where the system has that."""
    if sys.platform == "win32":
        return
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def open_lock(path: str) -> int:
    """The descriptor of a vault's lock file, which is made if it is not there.

    Raises:
        OSError: it cannot be had.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)


_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


#: What to look at where neither rights nor room are the matter.
_LOOK = {
    errno.EIO: "look at the disk that it lies on",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "give the path of a file",
    errno.ENXIO: _THE_FILE_ITSELF,
    errno.EMFILE: "close files, or raise the limit of open files: ulimit -n",
    errno.ENFILE: "close programs: the system has no open files left",
}


def translated(exc: OSError, what: str) -> StoreError:
    """The one translation of the operating system's errors about a vault's files."""
    reason = exc.strerror or type(exc).__name__
    if exc.errno in _FULL:
        return StoreFull(f"no room left for {what}", hint="make room on the disk")
    if exc.errno == errno.ELOOP:
        return NotAVault(f"{what} is a symbolic link", hint=_THE_FILE_ITSELF)
    if exc.errno in _DENIED:
        return AccessDenied(f"cannot use {what}: {reason}", hint=_way_to_reach(exc))
    return StoreUnavailable(f"cannot use {what}: {reason}", hint=_LOOK.get(exc.errno or 0))


def _way_to_reach(exc: OSError) -> str:
    """What lets us use the file that an error is about."""
    path = exc.filename
    if not isinstance(path, str) or exc.errno == errno.EROFS:
        return "make its directory yours and writable"
    try:
        found = os.lstat(path)
    except PermissionError:
        return f"make {_quoted(os.path.dirname(path))} yours and writable: chmod 700"
    except OSError:
        return f"make {_quoted(os.path.dirname(path))} yours and writable"
    if not (_HAS_MODES and found.st_uid == os.geteuid()):
        return f"make {_quoted(path)} yours and writable"
    return f"chmod {700 if stat.S_ISDIR(found.st_mode) else 600} {_quoted(path)}"


def _write(path: str, how: int, data: Secret | bytes, folder: int | None = None) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | how | _FLAGS, 0o600, dir_fd=folder)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data.reveal_bytes() if isinstance(data, Secret) else data)
        os.fsync(fd)
    finally:
        os.close(fd)


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path)
