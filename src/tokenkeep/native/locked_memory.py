"""Memory that is not swapped out, not dumped, and wiped: for a key that has to stay at hand.

A mapping of its own, locked by `mlock` (`VirtualLock` on Windows). A forked child finds it empty
where the kernel can do that (Linux 4.14 and newer), else a copy, wiped by the next `wipe`.
"""

from __future__ import annotations

import ctypes
import mmap
import sys

from tokenkeep.errors import StoreUnavailable

#: <asm-generic/mman-common.h>; absent from `mmap` before Python 3.13 or on other systems.
_MADV_DONTDUMP, _MADV_WIPEONFORK = 16, 18


class LockedMemory:
    """A copy of some bytes in locked memory, until `wipe`.

    Args:
        content: what to keep; the caller wipes its own copy.
        requires_lock: False accepts memory that could not be locked; `is_locked` says so.

    Raises:
        StoreUnavailable: the memory cannot be locked.
    """

    __slots__ = ("_map", "_size", "is_locked")

    def __init__(self, content: bytes | bytearray | memoryview, requires_lock: bool = True) -> None:
        self._size = len(content)
        self._map: mmap.mmap | None = _private(max(1, self._size))
        try:
            self.is_locked = _lock(self._map)
            if requires_lock and not self.is_locked:
                raise StoreUnavailable(
                    "no memory can be locked for a key", hint="raise the limit: ulimit -l"
                )
            if sys.platform == "linux":
                for advice in (_MADV_DONTDUMP, _MADV_WIPEONFORK):
                    try:
                        self._map.madvise(advice)
                    except OSError:
                        continue  # an old kernel
            self._map[: self._size] = bytes(content)
        except BaseException:
            self.wipe()
            raise

    def view(self) -> memoryview:
        """The bytes, without a copy. Release it before `wipe`.

        Raises:
            ValueError: they were wiped.
        """
        if self._map is None:
            raise ValueError("the memory was wiped")
        return memoryview(self._map)[: self._size]

    def wipe(self) -> None:
        """Overwrites and unlocks the memory; may be called twice."""
        found, self._map = self._map, None
        if found is not None:
            found[:] = bytes(len(found))
            found.close()  # unmapping unlocks

    def __del__(self) -> None:
        try:
            self.wipe()
        except (AttributeError, BufferError):
            return  # never begun, or somebody still looks at it

    def __repr__(self) -> str:
        return "LockedMemory('**********')"


def _private(size: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    # The default is to share it: a forked child would read our key, and wipe it with its own.
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _lock(found: mmap.mmap) -> bool:
    """Whether the memory is locked now."""
    address = ctypes.c_char.from_buffer(found)
    place, size = ctypes.c_void_p(ctypes.addressof(address)), ctypes.c_size_t(len(found))
    del address  # or the mapping could not be closed
    if sys.platform == "win32":
        return bool(ctypes.windll.kernel32.VirtualLock(place, size))
    return int(ctypes.CDLL(None, use_errno=True).mlock(place, size)) == 0
