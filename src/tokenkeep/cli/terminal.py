"""Standard input and output, and how a command ends.

The rules: data on stdout, as exact bytes; everything else on stderr; a question only to a
terminal, and no echo for a secret; an error is one line, a hint is one line for each remedy.
"""

from __future__ import annotations

import errno
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.secret import Secret

_STDIN, _STDOUT, _STDERR = 0, 1, 2


def write_value(value: Secret) -> None:
    """A secret's exact bytes on stdout, and a newline only if a person looks at it."""
    write_data(value.reveal_bytes() + (b"\n" if os.isatty(_STDOUT) else b""))


def write_data(data: bytes) -> None:
    """Bytes on stdout, all of them, past Python's buffers.

    Raises:
        OSError: stdout is closed or full.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(_STDOUT, view) :]


def write_lines(*lines: str) -> None:
    """Lines of data on stdout."""
    write_data("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))


def write_json(document: object) -> None:
    """A document as JSON on stdout."""
    import json

    write_lines(json.dumps(document, indent=2, ensure_ascii=False))


def tell(*lines: str) -> None:
    """Lines for a person, on stderr; whether anybody reads them makes no difference."""
    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(_STDERR, view) :]
    except OSError:
        return


def shown(text: str) -> str:
    """Text from elsewhere, safe for a terminal: control characters are escaped."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def is_interactive() -> bool:
    """Whether there is a person to ask."""
    return os.isatty(_STDIN) and os.isatty(_STDERR)


def read_input(limit: int) -> Secret:
    """Everything on stdin, up to one byte more than `limit`."""
    from tokenkeep.secret import Secret

    data = bytearray()
    while len(data) <= limit:
        piece = os.read(_STDIN, min(65536, limit + 1 - len(data)))
        if not piece:
            break
        data += piece
    return Secret(data)


def without_newline(value: Secret) -> Secret:
    """The value without one trailing newline."""
    from tokenkeep.secret import Secret

    data = bytearray(value.reveal_bytes())
    if data.endswith(b"\n"):
        del data[-2 if sys.platform == "win32" and data.endswith(b"\r\n") else -1 :]
    return Secret(data)


def confirm(question: str) -> bool:
    """Asks a person; only "y" and "yes" mean yes."""
    _ask(f"{question} [y/N] ")
    return bytes(_line()).strip().lower() in (b"y", b"yes")


def ask_hidden(question: str) -> Secret:
    """A line that the person types without seeing it.

    Raises:
        InteractionDenied: there is no terminal to ask on, or nothing was typed.
    """
    from tokenkeep.errors import InteractionDenied
    from tokenkeep.item import Call
    from tokenkeep.native.terminal import hidden_line

    if not os.isatty(_STDIN):
        raise InteractionDenied("there is no terminal to ask on")
    # The store's deadline is not the person's.
    typed = hidden_line(question, Call(None), _STDIN, _STDERR)
    if typed is None or typed.size == 0:
        raise InteractionDenied("nothing was typed")
    return typed


def ask_hidden_twice(question: str) -> Secret:
    """A secret that the person types twice.

    Raises:
        InteractionDenied: the two differ, or as `ask_hidden`.
    """
    from tokenkeep.errors import InteractionDenied

    first: Secret = ask_hidden(question)
    if ask_hidden("again: ") != first:
        raise InteractionDenied("the two entries differ")
    return first


def require_yes(yes: bool, question: str) -> None:
    """Ends a command that destroys something unless a person agreed.

    Raises:
        UsageError: there is nobody to ask and `--yes` was not given.
        InteractionDenied: the person said no.
    """
    if yes:
        return
    if not is_interactive():
        from tokenkeep.cli.exits import UsageError

        raise UsageError("there is no terminal to ask on", "--yes does it without asking")
    if not confirm(question):
        from tokenkeep.errors import InteractionDenied

        raise InteractionDenied("nothing was changed")


def said(exc: BaseException) -> int:
    """Says what ended a command, on stderr; the exit code."""
    from tokenkeep.cli import exits
    from tokenkeep.errors import TokenkeepError

    if isinstance(exc, SystemExit):
        return exc.code if isinstance(exc.code, int) else exits.OK if not exc.code else 1
    if os.environ.get("TOKENKEEP_DEBUG", "0") not in ("", "0"):
        import traceback

        # Without locals: a frame of ours may hold what the person typed.
        tell("".join(traceback.format_exception(exc)).rstrip("\n"))
    if isinstance(exc, KeyboardInterrupt):
        return exits.INTERRUPTED
    if isinstance(exc, BrokenPipeError):
        return exits.FAILED
    if isinstance(exc, TokenkeepError):
        explain(str(exc), *exits.hints(exc))
        return exits.exit_code(exc)
    if isinstance(exc, exits.CommandError):
        explain(str(exc), *exc.hints)
        return exc.code
    if isinstance(exc, OSError) and exc.errno in (errno.EBADF, errno.ENOSPC, errno.EIO):
        explain(f"cannot read or write: {exc.strerror}")
        return exits.FAILED
    if isinstance(exc, FileNotFoundError) and _has_no_directory():
        explain("the current directory is gone", "cd DIRECTORY")
        return exits.FAILED
    # The text of a foreign exception may hold a value: its type has to do.
    explain(f"unexpected {type(exc).__name__}", "TOKENKEEP_DEBUG=1 shows where")
    return exits.FAILED


def explain(message: str, *hints: str) -> None:
    """An error for people, and its remedies."""
    first, *more = message.split("\n")
    tell(f"error: {shown(first)}", *(shown(line) for line in more))
    tell(*(f"hint: {shown(hint)}" for hint in hints))


def _has_no_directory() -> bool:
    """Whether somebody removed the directory that relative paths start at."""
    try:
        os.getcwd()
    except OSError:
        return True
    return False


def _ask(question: str) -> None:
    os.write(_STDERR, question.encode("utf-8", "backslashreplace"))


def _line() -> bytearray:
    """One line of stdin without its end, byte by byte so that nothing after it is taken."""
    line = bytearray()
    while True:
        character = os.read(_STDIN, 1)
        if not character or character == b"\n":
            return line
        line += character
