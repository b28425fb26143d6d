"""The story: its scenes in their order, and how it ends."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from types import FrameType

from tokenkeep.cli.demo.check import Check
from tokenkeep.cli.demo.children import StoryError
from tokenkeep.cli.demo.scenes import full, herd, killed, login, logout, restore, vault
from tokenkeep.cli.demo.stage import Stage
from tokenkeep.cli.demo.telling import Telling
from tokenkeep.errors import MissingExtra, TokenkeepError
from tokenkeep.testing.authorization_server import AdminRefused

Play = Callable[[Stage, Telling], None]

SCENES: tuple[tuple[str, Play], ...] = (
    (vault.TITLE, vault.play),
    (login.TITLE, login.play),
    (restore.TITLE, restore.play),
    (herd.TITLE, herd.play),
    (killed.TITLE, killed.play),
    (killed.TITLE_OF_GRACE, killed.play_with_grace),
    (full.TITLE, full.play),
    (logout.TITLE, logout.play),
    (logout.TITLE_OFFLINE, logout.play_offline),
)

#: Module, and the extra that brings it.
_NEEDED = {"httpx2": "oauth", "joserfc": "oauth"}


def tell_story(telling: Telling, *, keeps: bool = False) -> None:
    """Plays every scene.

    Raises:
        MissingExtra: something that the story needs is not installed.
        UnsupportedOption: the user's own directories cannot be kept out of it here.
    """
    require_extras()
    with leaving_on_signals(), Stage(telling, keeps=keeps) as stage:
        for title, play in SCENES:
            play_scene(stage, telling, title, play)
        directory = stage.directory
    checks = telling.checks
    failed = [check for check in checks if not check.holds]
    telling.summary(
        *(f"FAILED: {check.claim} [{check.evidence}]" for check in failed),
        f"{len(checks) - len(failed)} of {len(checks)} checks held, in {telling.elapsed:.1f} s",
        *(
            f"scene {scene.number} was not played: {scene.not_played}"
            for scene in telling.scenes
            if scene.not_played
        ),
        f"kept: {directory}" if keeps else f"every process has ended, {directory} is removed",
    )


def play_scene(stage: Stage, telling: Telling, title: str, play: Play) -> None:
    """Plays a scene; one that cannot be played to its end is a check that failed."""
    telling.scene(title)
    problem = ""
    try:
        play(stage, telling)
    except (StoryError, TokenkeepError, AdminRefused, OSError, ValueError, LookupError) as exc:
        # What others raise could repeat what it choked on.
        speaks = isinstance(exc, StoryError | TokenkeepError)
        problem = f"{type(exc).__name__}: {exc}" if speaks else type(exc).__name__
    if problem:
        telling.check(Check("the scene can be played to its end", False, problem))
        _tidy(stage)


def require_extras(needed: Mapping[str, str] = _NEEDED) -> None:
    """Looks for what the story needs, before anything is started.

    Args:
        needed: modules, and the extra that brings each.

    Raises:
        MissingExtra: it is not installed.
    """
    for module, extra in needed.items():
        if find_spec(module) is None:
            raise MissingExtra(f"the demo needs {module}", extra=extra)


@contextmanager
def leaving_on_signals() -> Iterator[None]:
    """Turns the signals that end a process into an exception, so that the stage is cleared."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = [(name, signal.signal(getattr(signal, name), _leave)) for name in names]
    try:
        yield
    finally:
        for name, handler in before:
            signal.signal(getattr(signal, name), handler)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _tidy(stage: Stage) -> None:
    """Gives the next scene a server that is online and keeps nothing back."""
    try:
        stage.server.go_online()
        stage.server.release()
    except (StoryError, OSError, ValueError):
        return
