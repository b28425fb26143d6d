"""The Objective-C runtime through ctypes: sending messages, and blocks for their replies.

A message is sent through `objc_msgSend` cast to the very types of its method: the calling
convention of Apple's own processors differs between fixed and variable arguments.
"""

from __future__ import annotations

import ctypes
import threading
from ctypes import c_bool, c_char_p, c_int, c_ulong, c_void_p

from tokenkeep.native.apple.core_foundation import bind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

RUNTIME = "/usr/lib/libobjc.A.dylib"
BLOCKS = "/usr/lib/libSystem.B.dylib"

SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "objc_getClass": (c_void_p, (c_char_p,)),
    "sel_registerName": (c_void_p, (c_char_p,)),
    "objc_autoreleasePoolPush": (c_void_p, ()),
    "objc_autoreleasePoolPop": (None, (c_void_p,)),
}
#: What a reply of (BOOL, NSError *) is called with: the block itself comes first.
REPLY = ctypes.CFUNCTYPE(None, c_void_p, c_bool, c_void_p)
#: The same as the runtime writes it; offsets count from the block.
_REPLY_ENCODING = b"v20@?0B8@12"

#: Of the blocks' specification: it is never copied nor freed; it says what it is called with.
IS_GLOBAL = 1 << 28
HAS_SIGNATURE = 1 << 30


class Descriptor(ctypes.Structure):
    """What a block says of itself."""

    _fields_ = (("reserved", c_ulong), ("size", c_ulong), ("signature", c_char_p))


class Literal(ctypes.Structure):
    """A block as the compiler lays it out."""

    _fields_ = (
        ("isa", c_void_p),
        ("flags", c_int),
        ("reserved", c_int),
        ("invoke", REPLY),
        ("descriptor", ctypes.POINTER(Descriptor)),
    )


class ReplyBlock:
    """A block that takes one reply of (BOOL, NSError *), in any thread.

    The runtime keeps no copy of a global block, so it is kept here until it was called, and after
    that until the next one is made: what is running must not be freed.
    """

    _kept: list[ReplyBlock] = []  # noqa: RUF012  # of the process, as the runtime is

    def __init__(self, isa: int, code_of: Callable[[int], int]) -> None:
        """Args: the address of `_NSConcreteGlobalBlock`, and what reads an NSError's code."""
        self.arrived = threading.Event()
        self.is_success = False
        self.code: int | None = None
        self._code_of = code_of
        self._descriptor = Descriptor(0, ctypes.sizeof(Literal), _REPLY_ENCODING)
        self._literal = Literal(
            isa, IS_GLOBAL | HAS_SIGNATURE, 0, REPLY(self._reply), ctypes.pointer(self._descriptor)
        )
        self.address = ctypes.addressof(self._literal)
        ReplyBlock._kept = [each for each in ReplyBlock._kept if not each.arrived.is_set()]
        ReplyBlock._kept.append(self)

    def _reply(self, _block: int | None, is_success: bool, error: int | None) -> None:
        if error:  # lent for the time of this call
            self.code = self._code_of(error)
        self.is_success = is_success
        self.arrived.set()


class ObjectiveC:
    """The runtime, bound."""

    def __init__(self, runtime: ctypes.CDLL, blocks: ctypes.CDLL) -> None:
        bind(runtime, SIGNATURES)
        self._calls = runtime
        send = ctypes.cast(runtime.objc_msgSend, c_void_p).value
        assert send is not None
        self._send = send
        self.global_block = ctypes.addressof(c_char_p.in_dll(blocks, "_NSConcreteGlobalBlock"))

    def class_named(self, name: str) -> int | None:
        """A class; None if no loaded framework has it."""
        found: int | None = self._calls.objc_getClass(name.encode("ascii"))
        return found

    def send(self, receiver: int, selector: str, gives: Any, *arguments: tuple[Any, Any]) -> Any:
        """Sends a message; each argument comes with its type."""
        types = [kind for kind, _value in arguments]
        method = ctypes.CFUNCTYPE(gives, c_void_p, c_void_p, *types)(self._send)
        name = self._calls.sel_registerName(selector.encode("ascii"))
        return method(receiver, name, *(value for _kind, value in arguments))

    def push_pool(self) -> int | None:
        """Begins what `pop_pool` ends, in the same thread: what is given away meanwhile goes."""
        pool: int | None = self._calls.objc_autoreleasePoolPush()
        return pool

    def pop_pool(self, pool: int | None) -> None:
        """Releases what was given away since `push_pool`."""
        self._calls.objc_autoreleasePoolPop(pool)
