"""The command's entry: the two hot verbs go straight on, everything else through click.

Shell prompts, credential helpers and scripts start `get` and `token` again and again, and click
alone would cost them an interpreter's start. So the plain forms of the two are read by hand; what
is unusual in any way is left to click, which ends in the same functions.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMON = {
    "--app": "app",
    "--store": "store",
    "--key-file": "key_file",
    "--passphrase-file": "passphrase_file",
    "--timeout": "timeout",
}
_OF_TOKEN = {"--account": "account", "--min-ttl": "min_ttl"}
#: The plain forms: verb, how many names it takes.
_HOT = {"get": 1, "token": 0}


def main() -> int:
    """Runs the command that the process was started with; its exit code."""
    forbid_core_dumps()
    words = sys.argv[1:]
    straight = straight_form(words)
    code = run(words)
    if straight is not None and code == 0:
        # Nothing is left to flush or to finish: the interpreter's own teardown is not worth it.
        os._exit(0)
    return code


def run(words: Sequence[str]) -> int:
    """Runs one command line; its exit code. Whatever goes wrong was said on stderr."""
    try:
        straight = straight_form(words)
        if straight is not None:
            from tokenkeep.cli.fast import serve

            return serve(*straight)
        from tokenkeep.cli.tree import run_tree

        return run_tree(words)
    except BaseException as exc:
        from tokenkeep.cli.terminal import said

        return said(exc)


def straight_form(words: Sequence[str]) -> tuple[str, dict[str, str], list[str]] | None:
    """Verb, flags and names of a plain `get` or `token`; None if click has to look at it."""
    verb, flags, names = "", {}, []
    rest = iter(words)
    for word in rest:
        if word[:1] == "-":
            option, equals, value = word.partition("=")
            key = _COMMON.get(option) or (_OF_TOKEN.get(option) if verb == "token" else None)
            if key is None or key in flags:
                return None
            if not equals:
                following = next(rest, None)
                if following is None:
                    return None
                value = following
            flags[key] = value
        elif verb:
            names.append(word)
        elif word in _HOT:
            verb = word
        else:
            return None
    if not verb or len(names) != _HOT[verb]:
        return None
    return verb, flags, names


def forbid_core_dumps() -> None:
    """A crash leaves no image of the memory, where secrets are, on the disk."""
    try:
        import resource
    except ImportError:  # Windows
        return
    try:
        # The soft limit: a browser that we start may raise it again.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    except (OSError, ValueError):
        return
