"""The same for event loops: asyncio and trio, over the synchronous code, written once.

Stores and sessions block, so their calls run on worker threads with a limiter of our own; a caller
that is cancelled stops waiting, and the call itself goes on to its end, but for a login, which
nobody else could be waiting for. A fresh token in memory is answered without a thread, and waiting
for a refresh occupies none: the flight's future wakes the loop, and no waiter can cancel it.

A thread that computes keeps a loop waiting for the interpreter's lock, and nothing computes as long
as an import. So these modules load whatever their calls will need when they are imported
themselves, which is when an application starts; afterwards a storage's call keeps its loop from
other work for less than five milliseconds, but for one that goes over several thousand items.
"""

from __future__ import annotations

from tokenkeep.errors import MissingExtra

try:
    import anyio.lowlevel
    import anyio.to_thread
except ImportError:
    _has_anyio = False
else:
    _has_anyio = True

if not _has_anyio:
    raise MissingExtra(extra="async")

try:
    # anyio loads its half for asyncio in the first call that a loop makes.
    import anyio._backends._asyncio  # noqa: F401
except ImportError:  # a release that moved it: the first call is slower
    pass
