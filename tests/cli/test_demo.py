"""`demo`: the story as it is told, every check shown able to fail, and nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest

from tokenkeep.cli.commands.demo import ending
from tokenkeep.cli.demo.check import Check, contains, equal, exits
from tokenkeep.cli.demo.children import Child, StoryError
from tokenkeep.cli.demo.scenes import full, herd, killed, login, logout, restore, vault
from tokenkeep.cli.demo.stage import Stage
from tokenkeep.cli.demo.story import SCENES, play_scene, require_extras
from tokenkeep.cli.demo.telling import Telling, document
from tokenkeep.errors import MissingExtra

DEMO = [sys.executable, "-m", "tokenkeep.cli", "demo"]
#: The longest that the whole story may take, however slow the machine.
MOST_SECONDS = 60


@dataclass
class Lines:
    """A show that remembers."""

    shown: list[tuple[str, str]]

    def __call__(self, style: str, text: str) -> None:
        self.shown.append((style, text))


def telling_to(lines: Lines) -> Telling:
    return Telling(lines, now=iter(range(1000)).__next__)


# The whole story, once.


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, Path]:
    """The story as it was told, what it said on stderr, and the home that it was started in."""
    home = tmp_path_factory.mktemp("home of the audience")
    temporary = tmp_path_factory.mktemp("a stage")
    env = {**os.environ, "HOME": str(home), "TMPDIR": str(temporary)}
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        env[name] = str(home / name)
    # Neither of these may reach a process of the story.
    env |= {"TOKENKEEP_STORE": "vault:/nonexistent", "HTTP_PROXY": "http://127.0.0.1:1"}
    ran = subprocess.run([*DEMO, "--json"], env=env, capture_output=True, text=True, timeout=170)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [] == list(temporary.iterdir())
    return json.loads(ran.stdout), ran.stderr, home


def test_the_story_holds(story: tuple[dict[str, Any], str, Path]) -> None:
    """Every scene is played with real parts, and every check of it holds."""
    told, said, _home = story
    assert [] == told["failed"]
    assert [title for title, _play in SCENES] == [scene["title"] for scene in told["scenes"]]
    assert [] == [scene["title"] for scene in told["scenes"] if "not_played" in scene]
    assert all(scene["checks"] for scene in told["scenes"])
    assert told["held"] == sum(len(scene["checks"]) for scene in told["scenes"])
    assert "" == said


def test_the_story_is_short(story: tuple[dict[str, Any], str, Path]) -> None:
    """Somebody who wants to see it does not have to wait a minute."""
    assert story[0]["seconds"] < MOST_SECONDS


def test_the_story_tells_no_secret(story: tuple[dict[str, Any], str, Path]) -> None:
    """Tokens pass through the demo and never out of it; the server's are easy to recognise."""
    assert not re.search(r"\b(at|rt|code|device)-[\w-]{16}", json.dumps(story[0]))


def test_the_audience_is_left_alone(story: tuple[dict[str, Any], str, Path]) -> None:
    """Nothing is written in the home of who plays it."""
    assert [] == list(story[2].rglob("*"))


# Ended before its end.


def wait_for(file: Path, text: str) -> None:
    deadline = time.monotonic() + 60
    while text not in file.read_text():
        assert time.monotonic() < deadline, file.read_text()
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_story_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    """Whatever ends the demo, its processes are ended and its directory is removed."""
    stage = tmp_path / "stage"
    stage.mkdir()
    out = tmp_path / "out"
    with out.open("w") as file:
        demo = subprocess.Popen(DEMO, stdout=file, env={**os.environ, "TMPDIR": str(stage)})
    try:
        wait_for(out, "3  start again")
        demo.send_signal(number)
        assert 128 + number == demo.wait(30)
    finally:
        demo.kill()
        demo.wait()
    server = re.search(r"an authorization server, pid (\d+)", out.read_text())
    assert server is not None
    assert not is_alive(int(server[1]))
    assert [] == list(stage.iterdir())


@pytest.mark.requires("terminal")
def test_a_terminal_gets_colours_and_the_same_words() -> None:
    """On a terminal the lines are coloured; without their colours they are the plain ones."""
    program = (
        "from tokenkeep.cli.demo.telling import _COLOURS, to_stdout\n"
        "show = to_stdout()\n"
        "for style in _COLOURS: show(style, f'a [bold] {style} line ' + 'x' * 100)"
    )
    parent, terminal = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color"}
    env.pop("NO_COLOR", None)
    child = subprocess.Popen([sys.executable, "-c", program], stdout=terminal, env=env)
    os.close(terminal)
    seen = b""
    try:
        while piece := os.read(parent, 4096):
            seen += piece
    except OSError as exc:  # what Linux says when the other end is closed
        if exc.errno != errno.EIO:
            raise
    os.close(parent)
    assert 0 == child.wait(30)
    assert b"\x1b[" in seen
    plain = re.sub(r"\x1b\[[\d;]*m", "", seen.decode()).split("\r\n")
    assert "a [bold] scene line " + "x" * 100 == plain[0]
    assert "a [bold] bad line " + "x" * 100 in plain


# Checks that can fail.

KILL = killed.Kill(exit_code=-signal.SIGKILL, rotations=1)
SEARCHED = restore.Search(secrets=7, files=13, size=99_000, found_in=())
FOUND = restore.Search(secrets=7, files=13, size=99_000, found_in=("data/vault.db",))
ACTIVE = ["active", "memory only", "active"]
REASONS = ["restored", "signed in until restart, not saved: store-full", "saved at last"]

#: For each scene: what makes the checks, evidence that holds, and what spoils it.
STORIES: dict[str, tuple[Callable[[Any], list[Check]], Any, list[dict[str, Any]]]] = {
    "vault": (
        vault.checks,
        vault.Evidence({"vault create": 0, "status": 3}, "700", {"600"}),
        [
            {"exit_codes": {"vault create": 0, "status": 0}},
            {"directory_mode": "755"},
            {"file_modes": {"600", "644"}},
            {"file_modes": set()},
        ],
    ),
    "login": (
        login.checks,
        login.Evidence(
            {"login": 0, "login --device": 0}, ["S256"], 1, 1, True, {"alice": 1, "bob": 1}
        ),
        [
            {"exit_codes": {"login": 0, "login --device": 1}},
            {"exit_codes": {"login": 0}},
            {"challenge_methods": ["plain"]},
            {"challenge_methods": []},
            {"code_exchanges": 2},
            {"verified_exchanges": 0},
            {"is_code_approved": False},
            {"live_refresh_tokens": {"alice": 1, "bob": 0}},
        ],
    ),
    "restore": (
        restore.checks,
        restore.Evidence({"status": 0, "token": 0}, "active", True, 0, SEARCHED),
        [
            {"exit_codes": {"status": 0, "token": 5}},
            {"state": "None"},
            {"is_accepted": False},
            {"token_requests": 1},
            {"search": FOUND},
            {"search": replace(SEARCHED, secrets=0)},
            {"search": replace(SEARCHED, files=0)},
            {"search": replace(SEARCHED, size=0)},
        ],
    ),
    "herd": (
        herd.checks,
        herd.Evidence(12, [0] * 12, 1, True, True, 1, 0),
        [
            {"waiting": 11},
            {"exit_codes": [0] * 11 + [4]},
            {"exit_codes": [0] * 11},
            {"distinct_tokens": 2},
            {"is_accepted": False},
            {"is_new": False},
            {"token_requests": 2},
            {"token_requests": 0},
            {"reuse_detected": 1},
        ],
    ),
    "killed": (
        killed.checks,
        killed.Evidence(
            KILL,
            {
                "status": 5,
                "token": 0,
                "token --min-ttl": 5,
                "token --retry-uncertain": 5,
                "login": 0,
                "token again": 0,
            },
            "uncertain",
            True,
            "error: it may be spent\nhint: tokenkeep token --retry-uncertain",
            0,
            "error: login required: reused",
            1,
            "login required",
            True,
        ),
        [
            {"kill": replace(KILL, exit_code=0)},
            {"kill": replace(KILL, rotations=0)},
            {"exit_codes": dict.fromkeys(("status", "token", "token --min-ttl", "login"), 3)},
            {"state": "active"},
            {"is_accepted": False},
            {"refusal": "error: it may be spent"},
            {"requests_unasked": 1},
            {"confirmed": "error: login required: revoked"},
            {"reuse_detected": 0},
            {"state_after": "uncertain"},
            {"is_alive": False},
        ],
    ),
    "killed, with grace": (
        killed.checks_of_grace,
        killed.EvidenceOfGrace(KILL, {"login": 0, "status": 0, "token": 0}, True, 1, 0, 0),
        [
            {"kill": replace(KILL, exit_code=0)},
            {"kill": replace(KILL, rotations=2)},
            {"exit_codes": {"login": 0, "status": 5, "token": 0}},
            {"is_accepted": False},
            {"requests": 0},
            {"rotations": 1},
            {"reuse_detected": 1},
        ],
    ),
    "full": (
        full.checks,
        full.Evidence(
            *(ACTIVE, REASONS, True, 47),
            {"second process": 4, "program": 0, "third process": 0},
            "error: another process has the session: pid 47 on host (unsaved session)",
            *(0, True, 0, True),
        ),
        [
            {"states": ["active"]},
            {"reasons": ["restored"]},
            {"reasons": []},
            {"is_accepted": False},
            {"exit_codes": {"second process": 0, "program": 1, "third process": 5}},
            {"holder": 4},
            {"second": "error: not now"},
            {"second_requests": 1},
            {"is_same_token": False},
            {"token_requests": 1},
            {"is_alive": False},
        ],
    ),
    "logout": (
        logout.checks,
        logout.Evidence(
            {"logout": 0, "status": 3, "token": 5, "status afterwards": 3},
            {"end": "done", "erase": "pending"},
            *(1, 0, True, [200], 0),
        ),
        [
            {"exit_codes": dict.fromkeys(("logout", "status", "token", "status afterwards"), 0)},
            {"steps": {"end": "failed"}},
            {"late_tokens": 0},
            {"printed": 43},
            {"is_record_gone": False},
            {"late_revocations": []},
            {"late_revocations": [503]},
            {"live_tokens": 1},
        ],
    ),
    "logout, offline": (
        logout.checks_offline,
        logout.EvidenceOffline(
            {"logout": 0, "status": 3, "token": 5},
            {"end": "done", "erase": "done", "revoke": "failed"},
            "the connection to 127.0.0.1 failed",
            *(False, True, 1, SEARCHED),
        ),
        [
            {"exit_codes": {"logout": 1, "status": 3, "token": 5}},
            {"steps": {"end": "done", "erase": "failed", "revoke": "failed"}},
            {"steps": {"end": "done", "erase": "done", "revoke": "done"}},
            {"details": ""},
            {"is_complete": True},
            {"is_record_gone": False},
            {"live_refresh_tokens": 0},
            {"search": FOUND},
        ],
    ),
}


def failing(found: list[Check]) -> set[str]:
    return {check.claim for check in found if not check.holds}


@pytest.mark.parametrize("name", STORIES)
def test_true_evidence_holds(name: str) -> None:
    """What a good run shows passes every check of its scene, and every check says what it saw."""
    checks, evidence, _spoilt = STORIES[name]
    found = checks(evidence)
    assert set() == failing(found)
    assert all(check.claim and check.evidence for check in found)


@pytest.mark.parametrize("name", STORIES)
def test_every_falsified_fact_is_noticed(name: str) -> None:
    """No part of the evidence is gathered for show: a lie in any of it fails a check."""
    checks, evidence, spoilt = STORIES[name]
    assert {field.name for field in fields(evidence)} == {key for each in spoilt for key in each}
    assert [] == [each for each in spoilt if not failing(checks(replace(evidence, **each)))]


@pytest.mark.parametrize("name", STORIES)
def test_every_check_is_able_to_fail(name: str) -> None:
    """A check that holds whatever happens is no check."""
    checks, evidence, spoilt = STORIES[name]
    able = set().union(*(failing(checks(replace(evidence, **each))) for each in spoilt))
    assert {check.claim for check in checks(evidence)} == able


def test_every_scene_is_falsified_here() -> None:
    """A scene that joins the story brings its falsified evidence."""
    assert len(SCENES) == len(STORIES)


def test_a_token_in_a_file_is_found(tmp_path: Path) -> None:
    """The search looks into every file below the directory, at every byte."""
    deep = tmp_path / "data" / "vault"
    deep.mkdir(parents=True)
    (deep / "database").write_bytes(b"\0" * 5000)
    secrets = {b"rt-one", b"at-two"}
    clean = restore.search(str(tmp_path), secrets)
    assert restore.nothing_found(clean).holds
    (deep / "log").write_bytes(b"\0" * 70_000 + b"at-two")
    found = restore.search(str(tmp_path), secrets)
    assert (2, 2, 75_006) == (found.secrets, found.files, found.size)
    assert (os.path.join("data", "vault", "log"),) == found.found_in
    assert not restore.nothing_found(found).holds


def test_failing_evidence_says_what_was_expected() -> None:
    """Who reads a failure sees both sides."""
    assert "counted: 2, expected 1" == equal("one", 1, 2, "counted").evidence
    assert "exit codes: a 1, b None, expected a 0, expected b 3" == (
        exits("ended", {"a": 0, "b": 3}, {"a": 1}).evidence
    )
    assert "stderr: 'one / two', expected 'three'" == (
        contains("said", "three", "one\ntwo\n", "stderr").evidence
    )


# Telling.


def test_a_failed_check_is_named_and_counted() -> None:
    """It is told where it happened, in the document, on stderr and by the exit code."""
    lines = Lines([])
    telling = telling_to(lines)
    telling.scene("a scene")
    telling.check(Check("it holds", True, "1"), Check("it does not", False, "2"))
    assert ("bad", "             FAILED it does not [2]") in lines.shown
    told = document(telling)
    assert (1, ["it does not"]) == (told["held"], told["failed"])
    assert 1 == ending(telling)


def test_a_story_without_a_check_has_shown_nothing() -> None:
    """It fails rather than boasts."""
    assert 1 == ending(telling_to(Lines([])))


def test_lines_say_when_and_are_safe_for_a_terminal() -> None:
    """Elapsed seconds in front; what processes said is escaped and cut."""
    lines = Lines([])
    telling = telling_to(lines)
    telling.scene("a scene")
    telling.command("tokenkeep status", "\x1b]0;title\x07" + "x" * 200, "exit 3")
    telling.skip("no such thing here")
    assert ("scene", "   2.0 s  1  a scene") in lines.shown
    assert any(text.endswith("$ tokenkeep status") for _style, text in lines.shown)
    assert not any("\x1b" in text or len(text) > 120 for _style, text in lines.shown)
    assert "no such thing here" == document(telling)["scenes"][0]["not_played"]  # type: ignore[index]


# The stage.


def test_a_scene_that_breaks_off_is_a_failed_check_and_the_story_goes_on() -> None:
    """The next scene finds a server that is online; foreign exceptions are named, not quoted."""
    telling = telling_to(Lines([]))

    def breaks_off(stage: Stage, _telling: Telling) -> None:
        stage.server.go_offline()
        raise ValueError("rt-secret")

    def goes_on(stage: Stage, _telling: Telling) -> None:
        telling.check(equal("online", 0, stage.server.admin.token_requests, "requests"))

    with Stage(telling) as stage:
        play_scene(stage, telling, "one", breaks_off)
        play_scene(stage, telling, "two", goes_on)
    assert [("ValueError", False), ("requests: 0", True)] == [
        (check.evidence, check.holds) for check in telling.checks
    ]


def test_the_stage_can_be_kept(tmp_path: Path) -> None:
    """For looking at; its processes end all the same."""
    with Stage(telling_to(Lines([])), keeps=True) as stage:
        child = stage.start_python("-c", "import time; time.sleep(60)")
        directory = Path(stage.directory)
    assert directory.is_dir()
    assert not child.is_running
    assert not is_alive(stage.server.pid)
    subprocess.run(["rm", "-r", str(directory)], check=True)


def test_a_process_that_says_nothing_does_not_hang_the_story(tmp_path: Path) -> None:
    """Every wait ends."""
    silent = Child([sys.executable, "-c", "import time; time.sleep(60)"], os.environ, str(tmp_path))
    with pytest.raises(StoryError, match="said nothing"):
        silent.line(timeout=0.05)
    with pytest.raises(StoryError, match="did not end within"):
        silent.finish(timeout=0.05)
    assert not silent.is_running
    gone = Child([sys.executable, "-c", ""], os.environ, str(tmp_path))
    with pytest.raises(StoryError, match="ended before"):
        gone.line()
    gone.finish()


def test_a_missing_extra_is_named_with_its_command() -> None:
    """Before anything is started."""
    with pytest.raises(MissingExtra, match="the demo needs no_such_module") as caught:
        require_extras({"no_such_module": "oauth"})
    assert "pip install 'tokenkeep[oauth]'" == caught.value.hint
