"""flutter_secure_storage on Windows as the source: one file, protected by DPAPI.

The file is `flutter_secure_storage.dat` in the application's support directory. It only opens for
the same user on the same machine. The plugin itself deletes the file when it does not open: the
application must not run meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from tokenkeep.migrate.flutter import FlutterMap
from tokenkeep.migrate.plain_file import PlainFile
from tokenkeep.secret import Secret

Unprotect = Callable[[bytes], Secret]
Protect = Callable[[Secret], bytes]


def flutter_windows(
    path: str | os.PathLike[str], unprotect: Unprotect, protect: Protect
) -> FlutterMap:
    """The keys in such a file.

    Args:
        unprotect: CryptUnprotectData for this user without entropy; raises our errors.
        protect: its counterpart, for the rest when some keys leave.
    """
    return FlutterMap(_ProtectedFile(path, unprotect, protect))


class _ProtectedFile:
    def __init__(
        self, path: str | os.PathLike[str], unprotect: Unprotect, protect: Protect
    ) -> None:
        self._file = PlainFile(path)
        self._unprotect = unprotect
        self._protect = protect
        self._seen: Secret | None = None
        self.identity = f"flutter-windows {self._file.path}"

    def load(self) -> Secret | None:
        """The object's text.

        Raises:
            StoreUnavailable: there is no file.
        """
        self._seen = self._file.read()
        return self._unprotect(self._seen.reveal_bytes())

    def save(self, seen: Secret, content: Secret | None) -> None:
        """Replaces the file if it is what `load` saw; an empty object stays, as a file."""
        assert self._seen is not None
        rest = Secret("{}") if content is None else content
        self._file.replace(self._seen, Secret(self._protect(rest)))
