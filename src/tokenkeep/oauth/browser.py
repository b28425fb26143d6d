"""The system's browser, or `BROWSER`'s, kept away from our stdout.

The standard library knows which browsers there are, but lets those that it starts by a command
inherit our stdout: whatever one of them says, perhaps the address with state and nonce in it, would
get among the application's data. So their commands are run here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import webbrowser
from collections.abc import Iterator

_STDERR = 2
#: What a command that opens a browser in the background has for failing; the standard library
#: gives those that it asks by remote control as long.
_FAILING_SECONDS = 5.0


def open_browser(url: str) -> bool:
    """Opens the address; False if no browser took it.

    The first that takes it counts: of those that `BROWSER` names, or else of those that the
    standard library knows, in its order. Returns when the browser was left, if it was started here.
    """
    return any(_opens(browser, url) for browser in _browsers())


def _browsers() -> Iterator[webbrowser.BaseBrowser]:
    names = [name for name in os.environ.get("BROWSER", "").split(os.pathsep) if name]
    for name in names or _known_names():
        try:
            yield webbrowser.get(name)
        except webbrowser.Error:
            yield webbrowser.GenericBrowser(name)


def _known_names() -> list[str]:
    """The standard library's order, which it keeps to itself and fills when first asked."""
    try:
        webbrowser.get()
    except webbrowser.Error:
        return []
    return list(getattr(webbrowser, "_tryorder", None) or [])


def _opens(browser: webbrowser.BaseBrowser, url: str) -> bool:
    if isinstance(browser, webbrowser.GenericBrowser):
        arguments = [word.replace("%s", url) for word in browser.args]
    elif isinstance(browser, webbrowser.UnixBrowser) and not browser.background:
        arguments = [url]  # one that draws on the terminal
    else:
        return browser.open(url)  # says nothing, or nowhere
    sys.audit("webbrowser.open", url)
    in_background = isinstance(browser, webbrowser.BackgroundBrowser)
    try:
        process = subprocess.Popen(
            [browser.name, *arguments], stdout=_stderr(), start_new_session=in_background
        )
    except OSError:
        return False
    # On a thread that nobody waits for: a browser that stays open holds up nothing.
    try:
        return process.wait(_FAILING_SECONDS if in_background else None) == 0
    except subprocess.TimeoutExpired:
        process.wait()  # it is open, however it ends one day
        return True


def _stderr() -> int:
    try:
        os.fstat(_STDERR)
    except OSError:
        return subprocess.DEVNULL
    return _STDERR
