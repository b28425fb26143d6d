"""The narrated timeline: what happens, when, and what was checked with which evidence."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tokenkeep.cli.demo.check import Check
from tokenkeep.cli.terminal import shown, write_lines

#: Shows one line in a style: "scene", "command", "event", "good", "bad", "summary".
Show = Callable[[str, str], None]

_COLOURS = {
    "scene": "bold",
    "command": "cyan",
    "event": "default",
    "good": "green",
    "bad": "bold red",
    "summary": "bold",
}
#: The width of the elapsed time and of the mark, in front of the text.
_INDENT = " " * 10
#: What a command said is cut here: addresses are long, and their ends say little.
_WIDTH = 100


@dataclass(slots=True)
class Told:
    """One scene as it was told: its checks, and the seconds it began and ended at."""

    number: int
    title: str
    began: float
    ended: float = 0.0
    checks: list[Check] = field(default_factory=list)
    not_played: str = ""


class Telling:
    """Tells the story while it happens, and remembers it for the summary.

    Args:
        show: where lines go.
        now: seconds on a clock that never goes back.
    """

    def __init__(self, show: Show, now: Callable[[], float] = time.monotonic) -> None:
        self.scenes: list[Told] = []
        self._show = show
        self._now = now
        self._began = now()

    @property
    def elapsed(self) -> float:
        """Seconds since the story began."""
        return self._now() - self._began

    @property
    def checks(self) -> list[Check]:
        """Every check so far."""
        return [check for scene in self.scenes for check in scene.checks]

    def scene(self, title: str) -> None:
        """Begins a scene."""
        self._end_scene()
        told = Told(len(self.scenes) + 1, title, self.elapsed)
        self.scenes.append(told)
        self._show("scene", "")
        self._line("scene", f"{told.number}  {title}")

    def command(self, words: str, *after: str) -> None:
        """A command that was run; what it said, a line each."""
        self._line("command", f"   $ {words}")
        for line in after:
            self._show("event", f"{_INDENT}     {_shortened(shown(line))}")

    def event(self, text: str) -> None:
        """Something that happens."""
        self._line("event", f"   {text}")

    def check(self, *checks: Check) -> None:
        """What was checked; it counts whether it holds or not."""
        for check in checks:
            self.scenes[-1].checks.append(check)
            style, mark = ("good", "ok    ") if check.holds else ("bad", "FAILED")
            self._show(style, f"{_INDENT}   {mark} {check.claim} [{shown(check.evidence)}]")

    def skip(self, reason: str) -> None:
        """The scene cannot be played on this machine."""
        self.scenes[-1].not_played = reason
        self.event(f"not played: {reason}")

    def summary(self, *lines: str) -> None:
        """Ends the story."""
        self._end_scene()
        self._show("summary", "")
        for line in lines:
            self._show("summary", line)

    def _line(self, style: str, text: str) -> None:
        self._show(style, f"{self.elapsed:6.1f} s  {text}")

    def _end_scene(self) -> None:
        if self.scenes and not self.scenes[-1].ended:
            self.scenes[-1].ended = self.elapsed


def _shortened(line: str) -> str:
    return line if len(line) <= _WIDTH else line[: _WIDTH - 3] + "..."


def document(telling: Telling) -> dict[str, object]:
    """The story as structure, for `--json`."""
    failed = [check.claim for check in telling.checks if not check.holds]
    return {
        "seconds": round(telling.elapsed, 2),
        "held": sum(check.holds for check in telling.checks),
        "failed": failed,
        "scenes": [
            {
                "number": scene.number,
                "title": scene.title,
                "began": round(scene.began, 2),
                "ended": round(scene.ended, 2),
                **({"not_played": scene.not_played} if scene.not_played else {}),
                "checks": [
                    {"claim": each.claim, "holds": each.holds, "evidence": each.evidence}
                    for each in scene.checks
                ],
            }
            for scene in telling.scenes
        ],
    }


def to_stdout() -> Show:
    """Lines on stdout, in colour where a person looks at them."""
    if sys.stdout is None or not sys.stdout.isatty():  # closed: the first line says so
        return lambda _style, text: write_lines(text)
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:  # colour carries no meaning alone
        return lambda _style, text: write_lines(text)
    console = Console(highlight=False)
    return lambda style, text: console.print(Text(text, style=_COLOURS[style]), soft_wrap=True)


def to_nobody() -> Show:
    """No lines: the story is told as a document at its end."""
    return lambda _style, _text: None
