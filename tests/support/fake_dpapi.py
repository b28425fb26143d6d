"""DPAPI without Windows: seals for whoever holds the object, and fails with any code it is told."""

from __future__ import annotations

import hashlib

from tokenkeep.secret import Secret


class FakeDpapi:
    """In the place of `tokenkeep.native.dpapi.Crypt32`, the class; the object makes itself.

    `code` fails every call that follows, or the next `times` of them. `user` is
    whose keys there are.
    """

    def __init__(self, user: bytes = b"somebody") -> None:
        self.code = 0
        self.times: int | None = None
        self.user = user
        self.calls = 0

    def __call__(self) -> FakeDpapi:
        return self

    def protect(self, secret: Secret, entropy: bytes | None) -> tuple[int, bytes]:
        if code := self._failure():
            return code, b""
        hidden = bytes(byte ^ 0xA5 for byte in secret.reveal_bytes())
        return 0, self._mark(entropy, hidden) + hidden

    def unprotect(self, sealed: bytes, entropy: bytes | None) -> tuple[int, Secret]:
        mark, hidden = sealed[:32], sealed[32:]
        code = self._failure() or (0 if mark == self._mark(entropy, hidden) else 13)
        if code:
            return code, Secret(b"")
        return 0, Secret(bytes(byte ^ 0xA5 for byte in hidden))

    def _failure(self) -> int:
        self.calls += 1
        if self.times is not None:
            self.times -= 1
            if self.times < 0:
                return 0
        return self.code

    def _mark(self, entropy: bytes | None, hidden: bytes) -> bytes:
        return hashlib.sha256(b"\0".join([self.user, entropy or b"", hidden])).digest()
