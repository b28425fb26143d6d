"""A JDK for the tests, wherever this machine keeps it, and the lab's classes compiled with it."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]
LAB = _TESTS / "native" / "android_java"


@cache
def jdk() -> Path | None:
    """The JDK's folder: what JAVA_HOME names, else the one that `javac` on the path belongs to."""
    places = [os.environ.get("JAVA_HOME", "")]
    found = shutil.which("javac")
    if found is not None:
        places.append(str(Path(found).resolve().parents[1]))
    for place in places:
        if place and (Path(place) / "bin" / "javac").exists() and _machine(Path(place)):
            return Path(place)
    return None


def _machine(home: Path) -> Path | None:
    """The virtual machine's library, which a headless JDK has too."""
    return next(iter(home.glob("lib/server/libjvm.*")), None)


def missing_java() -> str | None:
    """Why the tests over a virtual machine cannot run; None if they can."""
    if jdk() is None:
        return "no JDK is installed (scripts/test installs openjdk-17-jdk-headless)"
    if find_spec("jnius") is None:
        return "pyjnius is not installed (scripts/test installs it)"
    return None


def tool(name: str, *arguments: str) -> str:
    """What a tool of the JDK prints."""
    home = jdk()
    assert home is not None
    answer = subprocess.run(
        [str(home / "bin" / name), *arguments], capture_output=True, text=True, timeout=120
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def compile_lab(into: Path) -> None:
    """Compiles the lab's stand-ins and the one Java file that tokenkeep ships."""
    from tokenkeep.native.android.sources import java_folder

    files = [str(file) for place in (LAB, Path(java_folder())) for file in place.rglob("*.java")]
    assert len(files) > 15
    tool("javac", "-Xlint:all,-serial", "-Werror", "-d", str(into), *sorted(files))
