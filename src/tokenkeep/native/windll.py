"""How a library of Windows is loaded: every function with its types, its error code kept apart."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

from tokenkeep.errors import StoreUnavailable


def load(name: str, functions: Mapping[str, tuple[Any, ...]]) -> Any:
    """The library.

    Args:
        functions: for each function that is called, the type it returns, then those it takes.

    Raises:
        StoreUnavailable: this is not Windows.
    """
    loader: Any = getattr(ctypes, "WinDLL", None)
    if loader is None:
        raise StoreUnavailable(f"{name} is only on Windows", hint="choose another store")
    library = loader(name, use_last_error=True)
    for function, (returned, *taken) in functions.items():
        called = getattr(library, function)
        called.restype = returned
        called.argtypes = taken
    return library


def last_error() -> int:
    """Why the call that this thread made last failed; never 0, which would be success."""
    ask: Any = getattr(ctypes, "get_last_error", None)
    return (int(ask()) & 0xFFFFFFFF) or 0xFFFFFFFF
