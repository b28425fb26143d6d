"""Named byte fields, length-prefixed: the one encoding of headers, records and associated data.

Nothing here does input or output. A packed map is a sequence of fields in ascending order of their
names' bytes, each: name length (u16), name (UTF-8), value length (u32), value; integers are
big-endian. The order makes the encoding canonical, and a reader keeps the fields it does not know.
"""

from __future__ import annotations

#: More than any header or record has; a bound on what a damaged length can make us walk.
MAX_FIELDS = 10_000


def pack(fields: dict[str, bytes]) -> bytes:
    """The fields as bytes.

    Raises:
        ValueError: a name exceeds 65,535 bytes or a value 4 GiB.
    """
    parts: list[bytes] = []
    for name, value in sorted((name.encode("utf-8"), value) for name, value in fields.items()):
        if len(name) > 0xFFFF or len(value) > 0xFFFFFFFF:
            del value, fields, parts
            raise ValueError("a field is too long")
        parts += [len(name).to_bytes(2, "big"), name, len(value).to_bytes(4, "big"), value]
    return b"".join(parts)


def unpack(data: bytes) -> dict[str, bytes]:
    """The fields that `pack` packed.

    Raises:
        ValueError: truncated, overlong, out of order, repeated, or a name that is not UTF-8; the
            message repeats nothing of the data.
    """
    fields, problem = _walk(data)
    del data
    if problem:
        del fields
        raise ValueError(problem)
    return fields


def join(*parts: bytes) -> bytes:
    """The parts, each behind its length (u32): unambiguous input for a hash or associated data."""
    return b"".join([piece for part in parts for piece in (len(part).to_bytes(4, "big"), part)])


def _walk(data: bytes) -> tuple[dict[str, bytes], str]:
    fields: dict[str, bytes] = {}
    at, end, last = 0, len(data), b""
    while at < end:
        if len(fields) >= MAX_FIELDS:
            return fields, "too many fields"
        name_end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        raw = data[at + 2 : name_end]
        value_end = name_end + 4 + int.from_bytes(data[name_end : name_end + 4], "big")
        if name_end + 4 > end or value_end > end:
            return fields, "a field is truncated"
        if fields and raw <= last:
            return fields, "the fields are out of order"
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            return fields, "a field's name is not UTF-8"
        fields[name] = data[name_end + 4 : value_end]
        at, last = value_end, raw
    return fields, ""
