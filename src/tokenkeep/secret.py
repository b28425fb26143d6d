"""Secret: bytes that never print; `reveal` is the only way out.

Python cannot promise that no copy of a secret stays in memory: `str` and `bytes` are immutable and
the interpreter copies them freely. A `Secret` keeps its own copy in one mutable buffer, which
`wipe` overwrites; what `reveal` handed out is the caller's.
"""

from __future__ import annotations

from _operator import _compare_digest  # what `hmac.compare_digest` is, without its imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

# Not a union at the call: making one takes longer than asking.
_BYTES = (bytes, bytearray, memoryview)
REDACTED = "Secret('**********')"


class Secret:
    """A protected value: redacted wherever it could print, compared in constant time.

    Text is kept as UTF-8. Empty values are values. Not hashable, not picklable, not JSON; copying
    gives the same object. As a context manager it wipes its buffer on exit.

    Raises:
        TypeError: the value is neither text nor bytes.
        ValueError: the text has lone surrogates; or the secret was wiped (on every access).
    """

    __slots__ = ("__weakref__", "_buffer")

    def __init__(self, value: str | bytes | bytearray | memoryview) -> None:
        self._buffer: bytearray | None
        if isinstance(value, str):
            try:
                self._buffer = bytearray(value, "utf-8")
                return
            except UnicodeEncodeError:
                pass  # raised below: the codec's own error would carry the text
        elif isinstance(value, _BYTES):
            self._buffer = bytearray(value)
            return
        kind: type = type(value)
        del value  # nothing below may leave it in a captured frame
        if issubclass(kind, str):
            raise ValueError("a secret's text must be valid Unicode without lone surrogates")
        raise TypeError(f"a secret is str or bytes, not {kind.__name__}")

    @property
    def size(self) -> int:
        """Length in bytes."""
        buffer = self._buffer  # not by `_open`: every write asks several times
        return len(self._open() if buffer is None else buffer)

    def reveal(self) -> str:
        """The value as text.

        Raises:
            ValueError: it is not UTF-8 (use `reveal_bytes`), or it was wiped.
        """
        try:
            return self._open().decode("utf-8")
        except UnicodeDecodeError:
            pass  # the codec's error holds the bytes: ours is raised outside
        raise ValueError("the secret is not text; use reveal_bytes()")

    def reveal_bytes(self) -> bytes:
        """The value as bytes.

        Raises:
            ValueError: it was wiped.
        """
        buffer = self._buffer
        return bytes(self._open() if buffer is None else buffer)

    def wipe(self) -> None:
        """Overwrites the buffer; every later access raises ValueError. May be called twice."""
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            buffer[:] = bytes(len(buffer))

    def __enter__(self) -> Secret:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.wipe()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return _compare_digest(self._open(), other._open())

    __hash__ = None  # type: ignore[assignment]  # a hash of the content would be a fingerprint

    def __repr__(self) -> str:
        return REDACTED

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return REDACTED

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Secret:
        return self

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled")

    def _open(self) -> bytearray:
        if self._buffer is None:
            raise ValueError("the secret was wiped")
        return self._buffer


def as_secret(value: Secret | str | bytes | bytearray | memoryview) -> Secret:
    """The value as a `Secret`; a public call's first line, so that no frame keeps the plain one."""
    if isinstance(value, Secret):
        return value
    wrapped: Secret | None = None
    problem: Exception | None = None
    try:
        wrapped = Secret(value)
    except (TypeError, ValueError) as exc:
        problem = exc.with_traceback(None)
    del value
    if wrapped is None:
        assert problem is not None
        raise problem
    return wrapped
