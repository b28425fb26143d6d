"""The rows of the table, how they are judged, and how they are printed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

NOTE_WIDTH = 52
_HEADINGS = ("who", "result", "ratio", "x ours", "target", "remarks")


@dataclass
class Row:
    """One line: what was measured of whom.

    Attributes:
        measure: the heading that rows of a kind share, with the unit.
        result: as measured in this run.
        ratio: to the yardstick that the heading names.
        amounts: what `x ours` compares: the result as numbers, one for each size; none if a
            comparison says nothing.
        target: what it has to reach, and whether it did.
        remarks: how it was driven, or why it was not.
        data: the numbers behind it, for `--json`.
    """

    measure: str
    who: str
    result: str
    ratio: str = ""
    amounts: Sequence[float] = ()
    target: str = ""
    remarks: str = ""
    data: dict[str, object] = field(default_factory=dict)

    @property
    def is_missed(self) -> bool:
        """Whether a target was not reached; a row of ours that failed reached none."""
        ours_failed = self.who.startswith("tokenkeep") and self.result == "failed"
        return self.target.endswith("MISSED") or ours_failed


def failed(measure: str, who: str, reason: object) -> Row:
    """The row of a peer that did not do what was asked; its error instead of a number."""
    told = str(reason)
    return Row(measure, who, "not run" if told.startswith("not run") else "failed", remarks=told)


def judged(rule: str, holds: bool) -> str:
    """A target beside its verdict."""
    return f"{rule}: {'met' if holds else 'MISSED'}"


def number(value: float) -> str:
    """Three significant digits without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(rows: Sequence[Row]) -> str:
    """Everything as one table."""
    lines: list[tuple[str, ...]] = []
    for row in rows:
        ours = next((each.amounts for each in rows if _is_ours(each, row)), ())
        pairs = zip(row.amounts, ours, strict=False)  # a peer may have stopped earlier
        times = " / ".join(number(theirs / our) for theirs, our in pairs if our)
        remarks = textwrap.wrap(row.remarks, NOTE_WIDTH) or [""]
        lines.append((row.who, row.result, row.ratio, times, row.target, remarks[0]))
        lines.extend(("", "", "", "", "", more) for more in remarks[1:])
    widths = [max(len(line[at]) for line in [_HEADINGS, *lines]) for at in range(len(_HEADINGS))]
    printed = [_line(_HEADINGS, widths)]
    measure = ""
    at = 0
    for row in rows:
        if row.measure != measure:
            measure = row.measure
            printed += ["-" * (sum(widths) + 2 * len(widths)), f"[{measure}]"]
        for _each in textwrap.wrap(row.remarks, NOTE_WIDTH) or [""]:
            printed.append(_line(lines[at], widths))
            at += 1
    return "\n".join(printed)


def _is_ours(row: Row, other: Row) -> bool:
    return row.measure == other.measure and row.who.startswith("tokenkeep")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
