"""Store calls made in another process: what a test cannot learn inside one.

    answers = elsewhere(reopen, [("write", item, b"1"), ("read", item)])

`reopen` is pickled, so it is a function of an importable module or a `functools.partial` of one.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tokenkeep.errors import StoreError
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.store import Store


def begin(reopen: Callable[[], Store], calls: Sequence[tuple[Any, ...]]) -> subprocess.Popen[bytes]:
    """Starts the other process; `finish` collects its answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)},
    )
    assert process.stdin is not None
    process.stdin.write(pickle.dumps((reopen, list(calls))))
    process.stdin.close()
    return process


def finish(process: subprocess.Popen[bytes], timeout: float = 60.0) -> list[Any]:
    """The answers: values as bytes, an error of the store as its code.

    Raises:
        AssertionError: the process died.
    """
    assert process.stdout is not None
    with process:
        answers = process.stdout.read()
        if process.wait(timeout) != 0:
            raise AssertionError("the other process failed; see its output above")
    return list(pickle.loads(answers))


def elsewhere(reopen: Callable[[], Store], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Makes the calls in another process that opens the store anew; their answers."""
    return finish(begin(reopen, calls))


def count_up(store: Store, item: Any, times: int) -> int:
    """Adds one to a number kept in a `Transactional` store, again until nobody came between."""
    transactional: Any = store
    for _ in range(times):
        while True:
            before = store.read(item, Call(30.0))
            after = Secret(str(int(before.reveal() if before else "0") + 1))
            try:
                transactional.replace(item, before, after, Call(30.0))
            except StoreError as exc:
                if exc.code != "write-conflict":
                    raise
                continue
            break
    return times


def _make(store: Any, call: tuple[Any, ...]) -> Any:
    verb, *arguments = call
    if verb == "count_up":
        return count_up(store, *arguments)
    secrets = [Secret(each) if isinstance(each, bytes) else each for each in arguments]
    try:
        answer = getattr(store, verb)(*secrets, Call(30.0))
    except StoreError as exc:
        return exc.code
    return answer.reveal_bytes() if isinstance(answer, Secret) else answer


def _main() -> None:
    reopen, calls = pickle.load(sys.stdin.buffer)
    store = reopen()
    pickle.dump([_make(store, call) for call in calls], sys.stdout.buffer)


if __name__ == "__main__":
    _main()
