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


def open_browser(url: str) -> bool:
    """Opens the address; False if no browser took it.

    `BROWSER` names commands, of which the first that takes it counts. Returns when a browser in the
    terminal was left.
    """
    return any(_opens(browser, url) for browser in _browsers())


def _browsers() -> Iterator[webbrowser.BaseBrowser]:
    names = [name for name in os.environ.get("BROWSER", "").split(os.pathsep) if name]
    for name in names or [""]:
        try:
            yield webbrowser.get(name or None)
        except webbrowser.Error:
            if name:
                yield webbrowser.GenericBrowser(name)


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
    return process.wait() == 0 or in_background


def _stderr() -> int:
    try:
        os.fstat(_STDERR)
    except OSError:
        return subprocess.DEVNULL
    return _STDERR
