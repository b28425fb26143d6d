"""Exit codes and endings: every error has a code, no ending shows what it should not."""

from __future__ import annotations

import ast
import inspect
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.shell import Shell
from support.services import REPOSITORY
from tokenkeep import errors
from tokenkeep.cli import exits, main, terminal

SECRET = "".join(("s3", "cret"))
ERRORS = [
    kind
    for _name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.TokenkeepError)
]


def made(kind: type[errors.TokenkeepError]) -> errors.TokenkeepError:
    if issubclass(kind, errors.MissingExtra):
        return kind(extra="cli")
    return kind("what happened", hint="what to do")


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_class_has_an_exit_code(
    kind: type[errors.TokenkeepError], capfd: pytest.CaptureFixture[str]
) -> None:
    """The table is complete, the code is the documented one, the message is two lines."""
    assert kind in exits.CODES
    page = (REPOSITORY / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{kind.__name__}` \| `{kind.code}` \| (\d) \|", page, re.MULTILINE)
    assert row is not None
    assert int(row[1]) == exits.CODES[kind] == terminal.said(made(kind))
    out, err = capfd.readouterr()
    assert "" == out
    assert re.fullmatch(r"error: [^\n]+\nhint: [^\n]+\n", err)


def test_a_class_without_an_entry_has_its_parent_s() -> None:
    """An error that a later release adds ends like the one it is a kind of."""

    class NewKind(errors.VaultKeyMissing):
        pass

    assert exits.UNAVAILABLE == exits.exit_code(NewKind("x"))


@pytest.mark.parametrize(
    ("exc", "code", "err"),
    [
        (KeyError("s3cret"), 1, "error: unexpected KeyError\nhint: TOKENKEEP_DEBUG=1 ...\n"),
        (OSError(5, "s3cret"), 1, "error: cannot read or write: s3cret\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 1, ""),
        (SystemExit(3), 3, ""),
        (SystemExit(None), 0, ""),
        (exits.UsageError("wrong", "a", "b"), 2, "error: wrong\nhint: a\nhint: b\n"),
        (exits.NotFound("gone"), 3, "error: gone\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_other_endings(
    exc: BaseException, code: int, err: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A surprise is one line without its text; an interrupt is 130; a closed pipe is silent."""
    assert code == terminal.said(exc)
    happened = capfd.readouterr()
    assert ("", err) == (happened.out, re.sub(r"(TOKENKEEP_DEBUG=1).*", r"\1 ...", happened.err))


def test_a_traceback_is_shown_to_who_asks_and_holds_no_locals(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """TOKENKEEP_DEBUG=1 shows where a surprise came from, and no variable's value."""
    monkeypatch.setenv("TOKENKEEP_DEBUG", "1")

    def fails(value: str) -> None:
        raise KeyError(len(value))

    with pytest.raises(KeyError) as caught:
        fails(SECRET)
    assert 1 == terminal.said(caught.value)
    err = capfd.readouterr().err
    assert "in fails" in err
    assert "s3cret" not in err


def test_a_message_cannot_steer_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """What a path or a provider brings into a message is escaped."""
    terminal.said(errors.StoreError("a\x1b[31mb", hint="c\rd"))
    assert "error: a\\x1b[31mb\nhint: c\\rd\n" == capfd.readouterr().err


def test_every_end_of_a_command_has_a_remedy() -> None:
    """Every place of the command that raises an error of its own gives a hint, too."""
    bare, count = [], 0
    for path in sorted(Path(exits.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and called in ("CommandError", "UsageError", "NotFound"):
                count += 1
                if len(node.args) < 2:
                    bare.append(f"{path.name}:{node.lineno}")
    assert [] == bare
    assert count > 20


@pytest.mark.requires("terminal")
def test_a_full_or_closed_stdout_is_an_error(shell_with_vault: Shell) -> None:
    """Data that could not be written was not written: exit 1, also on the short way."""
    shell_with_vault.plays("""
        $ printf v | tokenkeep set name
        $ tokenkeep get name > /dev/full
        error: cannot read or write: No space left on device
        [1]
        $ tokenkeep get name >&-
        error: cannot read or write: Bad file descriptor
        [1]
        $ tokenkeep list > /dev/full
        error: cannot read or write: No space left on device
        [1]
        $ tokenkeep demo >&-
        error: cannot read or write: Bad file descriptor
        [1]
        $ tokenkeep set name <&-
        error: cannot read or write: Bad file descriptor
        [1]
        $ tokenkeep get name; echo
        v
        $ { tokenkeep get name; echo $? >&2; } | true
        1
    """)


@pytest.mark.requires("terminal")
def test_an_interrupted_command_ends_with_130(shell_with_vault: Shell) -> None:
    """Ctrl-C while a command waits: no traceback, nothing kept."""
    process = subprocess.Popen(
        shell_with_vault.command("set", "name"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=shell_with_vault.environment,
    )
    assert process.stdin is not None
    process.stdin.write(b"half")
    process.stdin.flush()
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (130, b"", b"\n") == (process.returncode, out, err)
    assert 3 == shell_with_vault.tokenkeep("get", "name").code


def test_a_missing_extra_is_named_with_its_command(shell: Shell, tmp_path: Path) -> None:
    """Without click everything but the two hot verbs says what to install; those two just work."""
    (tmp_path / "click.py").write_text("raise ImportError('not installed')\n")
    shell.tokenkeep("vault", "create")
    shell.tokenkeep("--app", "a", "set", "name", stdin=b"value")
    answer = shell.tokenkeep("--app", "a", "list", PYTHONPATH=str(tmp_path))
    assert (2, b"") == (answer.code, answer.out)
    assert "error: the command line needs click\nhint: pip install 'tokenkeep[cli]'\n" == answer.err
    answer = shell.tokenkeep("--app", "a", "get", "name", PYTHONPATH=str(tmp_path))
    assert (0, b"value") == (answer.code, answer.out)


@pytest.mark.requires("terminal")
def test_core_dumps_are_switched_off() -> None:
    """A crash of the command leaves no image of its memory on the disk."""
    program = (
        "import resource; from resource import RLIMIT_CORE; from tokenkeep.cli import main;"
        "most = resource.getrlimit(RLIMIT_CORE)[1]; resource.setrlimit(RLIMIT_CORE, (most, most));"
        "main.forbid_core_dumps(); print(resource.getrlimit(RLIMIT_CORE)[0])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "0\n" == answer.stdout


def test_usage_errors_are_in_our_words(capfd: pytest.CaptureFixture[str]) -> None:
    """An unknown verb or option: one line, and where the help is; never a value."""
    assert 2 == main.run(["frobnicate"])
    assert "error: no such command 'frobnicate'\nhint: tokenkeep --help\n" == capfd.readouterr().err
    assert 2 == main.run(["get", "--value=s3cret", "name"])
    err = capfd.readouterr().err
    assert "s3cret" not in err
    assert err.endswith("hint: tokenkeep get --help\n")
    assert 2 == main.run([])
    assert "Usage: tokenkeep" in capfd.readouterr().err
