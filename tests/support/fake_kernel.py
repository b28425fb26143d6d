"""A kernel in a dictionary: enough of add_key and keyctl for the store, and failures on request."""

from __future__ import annotations

import errno
import os
from itertools import count

_RINGS = {-1: 1001, -2: 1002, -3: 1003, -4: 1004}


class FakeKernel:
    """Stands in for the system calls: `Keyctl(kernel)`.

    Attributes:
        failure: what every call but those that find keyrings answers, if it is not 0.
        calls: how many calls were made.
    """

    def __init__(self) -> None:
        self.failure = 0
        self.calls = 0
        self._numbers = count(1)
        self._rings: dict[int, dict[bytes, int]] = {ring: {} for ring in _RINGS.values()}
        self._values: dict[int, tuple[bytes, bytes]] = {}

    def __call__(self, name: str, *arguments: object) -> int:
        self.calls += 1
        if name == "keyctl" and arguments[0] == 0:
            return _RINGS[arguments[1]]  # type: ignore[index]
        if name == "keyctl" and arguments[0] == 6 and arguments[1] in self._rings:
            return self._fill(arguments[2], b"keyring;%d;0;3f030000;_ses" % os.geteuid())
        if self.failure:
            return -self.failure
        if name == "add_key":
            return self._add(*arguments)  # type: ignore[arg-type]
        return self._keyctl(*arguments)

    def _add(self, _type: bytes, description: bytes, payload: bytes, _size: int, ring: int) -> int:
        keys = self._rings[_RINGS.get(ring, ring)]
        key = keys.setdefault(description, next(self._numbers))
        self._values[key] = (description, payload)
        return key

    def _keyctl(self, operation: object, *arguments: object) -> int:
        first, second = arguments[0], arguments[1]
        assert isinstance(first, int)
        if operation == 10:  # search
            found = self._rings[_RINGS.get(first, first)].get(arguments[2])  # type: ignore[call-overload]
            return found or -errno.ENOKEY
        if operation == 11:  # read
            if first in self._rings:
                numbers = self._rings[first].values()
                return self._fill(second, b"".join(n.to_bytes(4, "little") for n in numbers))
            return self._fill(second, self._values[first][1])
        if operation == 6:  # describe
            return self._fill(second, b"user;0;0;3f010000;" + self._values[first][0])
        if operation == 9:  # unlink
            assert isinstance(second, int)
            found = self._rings[_RINGS.get(second, second)].pop(self._values[first][0], None)
            return 0 if found else -errno.ENOENT
        return 0

    @staticmethod
    def _fill(buffer: object, data: bytes) -> int:
        memoryview(buffer).cast("B")[: len(data)] = data  # type: ignore[arg-type]
        return len(data)
