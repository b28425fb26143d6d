"""Runs inside tokenkeep's environment: one process of the big herd, round after round.

JSON lines in: `prepare` with a config, then `go`: `threads` callers, or with `loops` as many event
loops of `tasks` each. The answer has every caller's token, the errors, and the longest wait.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable

from herds.tokenkeep_client import parts

from tokenkeep import AsyncSession


class Crowd:
    """The callers of one process."""

    def __init__(self) -> None:
        self._tokens: list[str] = []
        self._errors: list[str] = []
        self._worst = 0.0

    def together(self, count: int, run: Callable[[], None]) -> dict[str, object]:
        """Run it on so many threads at once; what everybody got."""
        start = threading.Barrier(count)

        def begin() -> None:
            start.wait()
            run()

        threads = [threading.Thread(target=begin) for _each in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {"tokens": self._tokens, "errors": self._errors, "worst": self._worst}

    def call(self, session: AsyncSession) -> None:
        """One caller on a thread."""
        started = time.perf_counter()
        try:
            self._tokens.append(session.sync.access_token().reveal())
        except Exception as exc:
            self._errors.append(type(exc).__name__)
        self._worst = max(self._worst, time.perf_counter() - started)

    def loop(self, session: AsyncSession, tasks: int) -> None:
        """An event loop full of callers."""

        async def one() -> None:
            started = time.perf_counter()
            try:
                self._tokens.append((await session.access_token()).reveal())
            except Exception as exc:
                self._errors.append(type(exc).__name__)
            self._worst = max(self._worst, time.perf_counter() - started)

        async def everybody() -> None:
            await asyncio.gather(*(one() for _task in range(tasks)))

        asyncio.run(everybody())


def main() -> int:
    """Serve rounds until standard input ends."""
    session: AsyncSession | None = None
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if order["do"] == "prepare":
                session = _prepared(order["config"])
                answer: dict[str, object] = {}
            else:
                assert session is not None
                answer = _go(session, order)
        except Exception as exc:
            answer = {"error": f"{type(exc).__name__}: {' '.join(str(exc).split())[:120]}"}
        print(json.dumps(answer), flush=True)
    return 0


def _prepared(config: dict) -> AsyncSession:
    session = AsyncSession(*parts(config), share_access_tokens=config["shares"])
    session.sync.restore()
    return session


def _go(session: AsyncSession, order: dict) -> dict[str, object]:
    crowd = Crowd()
    if order.get("loops"):
        return crowd.together(order["loops"], lambda: crowd.loop(session, order["tasks"]))
    return crowd.together(order["threads"], lambda: crowd.call(session))


if __name__ == "__main__":
    sys.exit(main())
