"""DPAPI without Windows: seals for whoever holds the object, and fails with any code it is told."""

from __future__ import annotations

import hashlib

from tokenkeep.secret import Secret


class FakeDpapi:
    """In the place of `tokenkeep.native.dpapi.Crypt32`, the class; the object makes itself.

    `code` fails every call that follows. `user` is whose keys there are.
    """

    def __init__(self, user: bytes = b"somebody") -> None:
        self.code = 0
        self.user = user
        self.calls = 0

    def __call__(self) -> FakeDpapi:
        return self

    def protect(self, secret: Secret, entropy: bytes | None) -> tuple[int, bytes]:
        self.calls += 1
        if self.code:
            return self.code, b""
        hidden = bytes(byte ^ 0xA5 for byte in secret.reveal_bytes())
        return 0, self._mark(entropy, hidden) + hidden

    def unprotect(self, sealed: bytes, entropy: bytes | None) -> tuple[int, Secret]:
        self.calls += 1
        mark, hidden = sealed[:32], sealed[32:]
        code = self.code or (0 if mark == self._mark(entropy, hidden) else 13)
        if code:
            return code, Secret(b"")
        return 0, Secret(bytes(byte ^ 0xA5 for byte in hidden))

    def _mark(self, entropy: bytes | None, hidden: bytes) -> bytes:
        return hashlib.sha256(b"\0".join([self.user, entropy or b"", hidden])).digest()
