"""The browser that is opened: `BROWSER`'s or the system's, and never on our stdout."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import webbrowser
from pathlib import Path

import pytest

from tokenkeep.oauth.browser import open_browser

URL = "https://issuer.example/authorize?state=s&nonce=n"
pytestmark = pytest.mark.requires("shell")


@pytest.fixture
def says(tmp_path: Path) -> str:
    """A program that writes what it is told on its stdout."""
    program = tmp_path / "says"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    return shlex.quote(str(program))


@pytest.mark.parametrize(
    ("words", "said"),
    [("", URL), (" %s", URL), (" HELLO %s", f"HELLO {URL}"), (" HELLO %s &", f"HELLO {URL}")],
)
def test_what_a_browser_says_is_not_on_our_stdout(
    says: str,
    words: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Its stdout is our stderr, where one that draws on the terminal still finds it."""
    monkeypatch.setenv("BROWSER", says + words)
    assert open_browser(URL)
    assert ("", f"{said}\n") == tuple(capfd.readouterr())


def test_the_first_browser_that_takes_it_counts(
    says: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One that is not there, or says no, is passed over; the others are not asked."""
    monkeypatch.setenv("BROWSER", os.pathsep.join(["missing", "false", says, f"{says} twice %s"]))
    assert open_browser(URL)
    assert URL == capfd.readouterr().err.strip()


@pytest.mark.parametrize("browsers", ["missing", "false", "false:missing %s"])
def test_a_person_s_choice_is_not_replaced(browsers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If none of `BROWSER`'s takes it, none does."""
    monkeypatch.setenv("BROWSER", browsers)
    assert not open_browser(URL)


def test_a_browser_that_is_registered_is_asked_as_it_wants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An application may have its own."""
    asked: list[str] = []

    class Own(webbrowser.BaseBrowser):
        def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
            asked.append(url)
            return True

    webbrowser.register("own-browser", None, Own())
    monkeypatch.setenv("BROWSER", "own-browser")
    assert open_browser(URL)
    assert [URL] == asked


@pytest.mark.requires("/proc")
@pytest.mark.parametrize("name", ["xdg-open", "elinks"])
@pytest.mark.parametrize("stderr", ["open", "closed"])
def test_the_system_s_own_browser_says_nothing_on_our_stdout(
    tmp_path: Path, name: str, stderr: str
) -> None:
    """Found by the standard library: one on the desktop, or one in the terminal."""
    said = tmp_path / "said"
    program = tmp_path / name
    program.write_text(f'#!/bin/sh\necho "$1"\necho "$1" >> {shlex.quote(str(said))}\n')
    program.chmod(0o755)
    close = "os.close(2);" if stderr == "closed" else ""
    code = f"import os, sys; {close}from tokenkeep.oauth.browser import open_browser as opens;"
    code += f"sys.exit(0 if opens({URL!r}) else 7)"
    environment = {
        **os.environ,
        "PATH": str(tmp_path),
        "BROWSER": "",
        **({"DISPLAY": ":9"} if name == "xdg-open" else {"TERM": "xterm"}),
    }
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (0, "") == (answer.returncode, answer.stdout), answer.stderr
    assert URL == said.read_text().strip()


@pytest.mark.parametrize("ends", ["exit 3", "sleep 0.2; exit 3", "kill $$"])
def test_the_next_of_the_system_s_browsers_is_tried_where_one_fails(
    tmp_path: Path, ends: str
) -> None:
    """In the standard library's order: a desktop's opener may be there without a browser."""
    said = tmp_path / "said"
    for name, what in (("xdg-open", ends), ("x-www-browser", f'echo "$1" > {said}')):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{what}\n")
        program.chmod(0o755)
    code = "import sys; from tokenkeep.oauth.browser import open_browser as opens;"
    code += f"sys.exit(0 if opens({URL!r}) else 7)"
    environment = {**os.environ, "PATH": str(tmp_path), "BROWSER": "", "DISPLAY": ":9"}
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (0, "") == (answer.returncode, answer.stdout), answer.stderr
    assert URL == said.read_text().strip()


def test_a_browser_in_the_background_that_fails_opened_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BROWSER", "false %s &")
    assert not open_browser(URL)


def test_a_browser_that_was_open_for_a_while_opened_however_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody wants the address opened once more when it crashes later."""
    program = tmp_path / "crashes"
    program.write_text("#!/bin/sh\nsleep 6\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{shlex.quote(str(program))} %s &")
    assert open_browser(URL)
