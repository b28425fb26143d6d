"""Writes a Windows library that has no code: each of its functions is another library's.

    python forwarder.py FILE LIBRARY FUNCTION=TARGET...

Wine 8 lacks `bcryptprimitives.dll`, whose one function `ProcessPrng` fills a buffer from the
system's random numbers. `advapi32.SystemFunction036` (RtlGenRandom) does the same with the same
arguments, and an export of a PE file may name another library's function in place of code.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

_ALIGNMENT = 0x1000  # of sections, in memory and, to keep the arithmetic simple, in the file
_AMD64, _PE32_PLUS = 0x8664, 0x20B
_EXECUTABLE, _LARGE_ADDRESSES, _DLL = 0x0002, 0x0020, 0x2000
_CONSOLE, _NX_COMPATIBLE = 3, 0x0100
_READABLE_DATA = 0x40000040
_DIRECTORIES = 16


def forwarder(library: str, functions: dict[str, str]) -> bytes:
    """The file's bytes: headers, then one section with the export directory."""
    section = _exports(library, functions)
    optional = struct.pack(
        "<HBBIIIII QIIHHHHHHIIIIHHQQQQII",
        _PE32_PLUS,
        1,  # linker version
        0,
        0,  # code, initialized data, uninitialized data
        _ALIGNMENT,
        0,
        0,  # no entry point
        _ALIGNMENT,
        0x180000000,  # preferred address
        _ALIGNMENT,
        _ALIGNMENT,
        *(6, 0, 0, 0, 6, 0),  # versions: operating system, image, subsystem
        0,
        2 * _ALIGNMENT,  # size in memory
        _ALIGNMENT,  # of the headers
        0,
        _CONSOLE,
        _NX_COMPATIBLE,
        *(0x100000, 0x1000, 0x100000, 0x1000),  # stack and heap
        0,
        _DIRECTORIES,
    )
    directories = struct.pack("<II", _ALIGNMENT, len(section)) + bytes(8 * (_DIRECTORIES - 1))
    coff = struct.pack(
        "<HHIIIHH",
        _AMD64,
        1,
        0,
        0,
        0,
        len(optional) + len(directories),
        _EXECUTABLE | _LARGE_ADDRESSES | _DLL,
    )
    header = struct.pack(
        "<8sIIIIIIHHI", b".rdata", len(section), _ALIGNMENT, _ALIGNMENT, _ALIGNMENT, 0, 0, 0, 0,
        _READABLE_DATA,
    )  # fmt: skip
    dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
    headers = dos + b"PE\0\0" + coff + optional + directories + header
    return headers.ljust(_ALIGNMENT, b"\0") + section.ljust(_ALIGNMENT, b"\0")


def _exports(library: str, functions: dict[str, str]) -> bytes:
    names = sorted(functions)
    count = len(names)
    tables = 40  # after the directory itself: addresses, names, ordinals, then the texts
    texts = tables + 10 * count
    body, places = b"", {}
    for text in [library, *names, *(functions[name] for name in names)]:
        places.setdefault(text, _ALIGNMENT + texts + len(body))
        body += text.encode("ascii") + b"\0"
    directory = struct.pack(
        "<IIHHIIIIIII",
        0,
        0,
        0,
        0,
        places[library],
        1,
        count,
        count,
        _ALIGNMENT + tables,
        _ALIGNMENT + tables + 4 * count,
        _ALIGNMENT + tables + 8 * count,
    )
    # An address within the export directory is a forwarder's text (PE format, section 6.3.2).
    addresses = b"".join(struct.pack("<I", places[functions[name]]) for name in names)
    texts_of_names = b"".join(struct.pack("<I", places[name]) for name in names)
    ordinals = b"".join(struct.pack("<H", number) for number in range(count))
    return directory + addresses + texts_of_names + ordinals + body


if __name__ == "__main__":
    where, name, *pairs = sys.argv[1:]
    Path(where).write_bytes(forwarder(name, dict(pair.split("=", 1) for pair in pairs)))
