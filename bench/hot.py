"""Runs inside tokenkeep's environment: what a fresh token in memory costs.

`hot.py`, then one JSON line `{config, calls, threads}`; it answers with nanoseconds. After a
second line it says whether the session had ended when that line came: another process had signed
out, and the next call had to notice.
"""

from __future__ import annotations

import json
import sys
import threading
import time

from herds.tokenkeep_client import Client

from tokenkeep import Session, State
from tokenkeep.errors import LoginRequired


def main() -> int:
    """Measure, wait, look."""
    order = json.loads(sys.stdin.readline())
    session = Client(order["config"]).session
    if session.state is not State.ACTIVE:
        print(json.dumps({"error": f"the session is {session.state}"}), flush=True)
        return 1
    session.access_token()
    answer = {
        "one": _timed(session, order["calls"], 1),
        "many": _timed(session, order["calls"] // order["threads"], order["threads"]),
    }
    print(json.dumps(answer), flush=True)
    sys.stdin.readline()
    try:
        session.access_token()
    except LoginRequired:
        print(json.dumps({"noticed": True}), flush=True)
    else:
        print(json.dumps({"noticed": False}), flush=True)
    return 0


def _timed(session: Session, calls: int, threads: int) -> dict[str, float]:
    """Nanoseconds from first to last for all calls, divided by them; and as one thread sees it."""
    start = threading.Barrier(threads + 1)

    def caller() -> None:
        access_token = session.access_token
        start.wait()
        for _call in range(calls):
            access_token()

    workers = [threading.Thread(target=caller) for _each in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    started = time.perf_counter_ns()
    for worker in workers:
        worker.join()
    taken = time.perf_counter_ns() - started
    return {"per_call": taken / (calls * threads), "as_a_thread_sees_it": taken / calls}


if __name__ == "__main__":
    sys.exit(main())
