"""CoreFoundation through ctypes: the few calls we need, and who owns what they give.

The rule is CoreFoundation's own: what a function with Create or Copy in its name gives is ours
and is released exactly once. A `Scope` owns all that one keychain call makes and releases it at the
end, whatever happened; what it lends (`value_of`, `elements`) is released by nobody.
"""

from __future__ import annotations

import ctypes

from tokenkeep.native.apple.status import ALLOCATE, error_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tokenkeep.secret import Secret

Ref = ctypes.c_void_p
Refs = ctypes.POINTER(Ref)
UTF8 = 0x08000100


class CFRange(ctypes.Structure):
    """A part of a string or array."""

    _fields_ = (("location", ctypes.c_long), ("length", ctypes.c_long))


#: Function -> what it gives, what it takes. CFIndex is a signed long, Boolean an unsigned char.
SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "CFStringCreateWithBytes": (
        Ref,
        (Ref, ctypes.c_char_p, ctypes.c_long, ctypes.c_uint32, ctypes.c_ubyte),
    ),
    "CFStringGetLength": (ctypes.c_long, (Ref,)),
    "CFStringGetBytes": (
        ctypes.c_long,
        (
            Ref,
            CFRange,
            ctypes.c_uint32,
            ctypes.c_ubyte,
            ctypes.c_ubyte,
            ctypes.c_char_p,
            ctypes.c_long,
            ctypes.POINTER(ctypes.c_long),
        ),
    ),
    "CFDataCreate": (Ref, (Ref, ctypes.c_char_p, ctypes.c_long)),
    "CFDataGetLength": (ctypes.c_long, (Ref,)),
    "CFDataGetBytePtr": (Ref, (Ref,)),
    "CFDictionaryCreate": (Ref, (Ref, Refs, Refs, ctypes.c_long, Ref, Ref)),
    "CFDictionaryGetValue": (Ref, (Ref, Ref)),
    "CFArrayCreate": (Ref, (Ref, Refs, ctypes.c_long, Ref)),
    "CFArrayGetCount": (ctypes.c_long, (Ref,)),
    "CFArrayGetValueAtIndex": (Ref, (Ref, ctypes.c_long)),
    "CFGetTypeID": (ctypes.c_ulong, (Ref,)),
    "CFStringGetTypeID": (ctypes.c_ulong, ()),
    "CFDataGetTypeID": (ctypes.c_ulong, ()),
    "CFArrayGetTypeID": (ctypes.c_ulong, ()),
    "CFErrorGetCode": (ctypes.c_long, (Ref,)),
    "CFRelease": (None, (Ref,)),
}
#: Exported structures, given by their address.
CALLBACKS = (
    "kCFTypeDictionaryKeyCallBacks",
    "kCFTypeDictionaryValueCallBacks",
    "kCFTypeArrayCallBacks",
)


def bind(library: ctypes.CDLL, signatures: Mapping[str, tuple[object, tuple[object, ...]]]) -> None:
    """Gives every function its types: without them ctypes would cut pointers to 32 bits."""
    for name, (gives, takes) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = gives, takes


class CoreFoundation:
    """The library, bound."""

    def __init__(self, library: ctypes.CDLL) -> None:
        bind(library, SIGNATURES)
        self.calls = library
        self.true = constant(library, "kCFBooleanTrue")
        self.false = constant(library, "kCFBooleanFalse")
        self.keys, self.values, self.elements = (
            ctypes.addressof(ctypes.c_char.in_dll(library, name)) for name in CALLBACKS
        )

    def text_of(self, ref: int | None) -> str | None:
        """A string's text; None if it is no string, or not valid Unicode."""
        calls = self.calls
        if not ref or calls.CFGetTypeID(ref) != calls.CFStringGetTypeID():
            return None
        length = calls.CFStringGetLength(ref)
        room = 3 * length + 1  # UTF-8 needs at most three bytes for each unit of UTF-16
        buffer = ctypes.create_string_buffer(room)
        used = ctypes.c_long()
        whole = CFRange(0, length)
        done = calls.CFStringGetBytes(ref, whole, UTF8, 0, 0, buffer, room, ctypes.byref(used))
        if done != length:  # a lone surrogate
            return None
        return buffer.raw[: used.value].decode("utf-8")

    def size_of(self, ref: int | None) -> int | None:
        """How many bytes a data object holds; None if it is no data."""
        if not ref or self.calls.CFGetTypeID(ref) != self.calls.CFDataGetTypeID():
            return None
        size: int = self.calls.CFDataGetLength(ref)
        return size

    def bytes_of(self, ref: int) -> bytes:
        """A copy of what a data object holds."""
        size = self.calls.CFDataGetLength(ref)
        return ctypes.string_at(self.calls.CFDataGetBytePtr(ref), size) if size else b""

    def elements_of(self, ref: int | None) -> Iterator[int]:
        """An array's elements, lent by it; none if it is no array."""
        if ref and self.calls.CFGetTypeID(ref) == self.calls.CFArrayGetTypeID():
            for index in range(self.calls.CFArrayGetCount(ref)):
                yield self.calls.CFArrayGetValueAtIndex(ref, index)


class Scope:
    """Everything that one call makes, released at its end in the reverse order.

    Raises:
        StoreTimeout: where something cannot be made: there is no memory for now.
    """

    __slots__ = ("_core", "_owned")

    def __init__(self, core: CoreFoundation) -> None:
        self._core = core
        self._owned: list[int] = []

    def __enter__(self) -> Scope:
        return self

    def __exit__(self, *_exc: object) -> None:
        while self._owned:
            self._core.calls.CFRelease(self._owned.pop())

    def own(self, ref: int | None) -> int:
        """Takes over what a Create or Copy function gave."""
        if not ref:
            raise error_for(ALLOCATE, "preparing a keychain call")
        self._owned.append(ref)
        return ref

    def text(self, value: str) -> int:
        """A string."""
        encoded = value.encode("utf-8")
        # No external representation: a byte order mark at the front is a character of the name.
        make = self._core.calls.CFStringCreateWithBytes
        return self.own(make(None, encoded, len(encoded), UTF8, 0))

    def data(self, value: Secret) -> int:
        """A secret's bytes; the system keeps copies of its own, which nobody can wipe."""
        return self.own(self._core.calls.CFDataCreate(None, value.reveal_bytes(), value.size))

    def array(self, *elements: int) -> int:
        """An array, which retains its elements."""
        core = self._core
        refs = (Ref * len(elements))(*elements)
        return self.own(core.calls.CFArrayCreate(None, refs, len(elements), core.elements))

    def dictionary(self, entries: Mapping[int, int]) -> int:
        """A dictionary, which retains its keys and values."""
        core, size = self._core, len(entries)
        keys, values = (Ref * size)(*entries), (Ref * size)(*entries.values())
        make = core.calls.CFDictionaryCreate
        return self.own(make(None, keys, values, size, core.keys, core.values))


def constant(library: ctypes.CDLL, name: str) -> int:
    """What an exported constant points to.

    Raises:
        ValueError: this system does not know it.
    """
    value = Ref.in_dll(library, name).value
    assert value is not None
    return value
