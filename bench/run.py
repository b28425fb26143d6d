"""Measures tokenkeep beside its peers and prints one table; `scripts/bench` starts it.

Nothing in the table is remembered from elsewhere: whatever could not be measured here says why.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import environments
from effort import FULL, QUICK, Effort
from groups import growth, herds, keyring, kills, session, start, writers
from report import Row, failed, table

GROUPS: Mapping[str, Sequence[Callable[[Effort], list[Row]]]] = {
    "start": (start.cold_get, start.import_cost, start.memory),
    "keyring": (keyring.keyring,),
    "growth": (growth.growth,),
    "writers": (writers.writers,),
    "kills": (kills.kills,),
    "herds": (herds.herds,),
    "session": (session.token, session.hot, session.big_herd),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the groups that were asked for; 1 if a target was missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=GROUPS, metavar="GROUP", help=", ".join(GROUPS)
    )
    parser.add_argument("--quick", action="store_true", help="small counts, under four minutes")
    parser.add_argument("--json", metavar="FILE", help="the numbers behind the table")
    options = parser.parse_args(arguments)
    effort = QUICK if options.quick else FULL
    begun = time.monotonic()
    machine = _machine()
    missing = _install()
    rows: list[Row] = []
    for group in options.only or GROUPS:
        for measure in GROUPS[group]:
            rows += _guarded(measure, effort)
    machine["seconds"] = round(time.monotonic() - begun)
    machine["load at the end"] = _load()
    for name, reason in missing.items():
        rows.append(failed("environments", name, f"not run: {reason}"))
    print(_heading(machine, options.quick))
    print(table(rows))
    if options.json:
        document = {"machine": machine, "rows": [dataclasses.asdict(row) for row in rows]}
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
    missed = [row for row in rows if row.is_missed]
    print(f"\n{len(rows)} rows, {len(missed)} targets missed, {machine['seconds']} s")
    return 1 if missed else 0


def _guarded(measure: Callable[[Effort], list[Row]], effort: Effort) -> list[Row]:
    """A measurement that breaks leaves a row that says so, not a table less."""
    try:
        return measure(effort)
    except Exception as exc:
        return [failed(measure.__name__, "everybody", f"{type(exc).__name__}: {exc}")]


def _install() -> dict[str, str]:
    missing = {}
    for name in environments.REQUIREMENTS:
        try:
            environments.ensure(name)
        except environments.NotInstalled as exc:
            if name == "tokenkeep":
                sys.exit(f"error: {exc}")
            missing[name] = str(exc)
    return missing


def _machine() -> dict[str, object]:
    return {
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "processors": os.cpu_count(),
        "load at the start": _load(),
    }


def _load() -> float:
    return round(os.getloadavg()[0], 2)


def _heading(machine: Mapping[str, object], is_quick: bool) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in machine.items())
    installed = ", ".join(
        environments.versions(name)
        for name in environments.REQUIREMENTS
        if os.path.exists(environments.python_of(name))
    )
    kind = "quick run: few repetitions" if is_quick else "full run"
    return f"{kind}; {facts}\n{installed}\n"


if __name__ == "__main__":
    sys.exit(main())
