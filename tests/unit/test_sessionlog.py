"""The session log: what its lines say, torn or whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.children import Child
from support.small_disk import fill, set_read_only, small_disk
from tokenkeep.clock import SystemClock
from tokenkeep.errors import AccessDenied, InvalidName, SecretDamaged, StoreFull, StoreUnavailable
from tokenkeep.session.logwatch import Watch
from tokenkeep.sessionlog import SessionLog, _filling, end_all

ONE, TWO = "1" * 32, "2" * 32


@pytest.fixture
def log(tmp_path: Path) -> SessionLog:
    return SessionLog(str(tmp_path), "org.example.notes", "alice")


def said(log: SessionLog) -> tuple[bool, str | None, str | None]:
    state = log.read()
    return state.exists, state.session_id, state.end_reason


def test_reading_a_missing_log_creates_nothing(log: SessionLog, tmp_path: Path) -> None:
    assert (False, None, None) == said(log)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.requires("fork")
@pytest.mark.parametrize("thing", ["a pipe", "a link", "a directory"])
def test_what_is_no_file_is_refused_at_once(log: SessionLog, tmp_path: Path, thing: str) -> None:
    """Neither waits for somebody at the other end of a pipe, nor writes through a link."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"")
    os.makedirs(log.directory)
    if thing == "a pipe":
        os.mkfifo(log.path)
    elif thing == "a link":
        os.symlink(elsewhere, log.path)
    else:
        os.mkdir(log.path)
    for use in (log.read, lambda: log.end("logout", 1.0), lambda: log.begin(ONE, 1.0)):
        with pytest.raises((AccessDenied, StoreUnavailable)):
            use()
    assert b"" == elsewhere.read_bytes()


def test_the_last_line_decides(log: SessionLog) -> None:
    log.begin(ONE, 1.0)
    assert (True, ONE, None) == said(log)
    log.end("logout", 2.0)
    assert (True, None, "logout") == said(log)
    log.begin(TWO, 3.0)
    assert (True, TWO, None) == said(log)


def test_a_login_ends_what_lived_and_begins_in_one_append(log: SessionLog) -> None:
    log.begin(ONE, 1.0)
    end, begin = Path(log.path).read_text().splitlines()
    assert f"begin {ONE} 1" == begin[:-5]
    assert "end login 1" == end[:-5]


def test_a_record_without_a_log_can_be_gone_on_with(log: SessionLog) -> None:
    """An adopted session ends and is followed like one that was begun here."""
    log.adopt(ONE, 1.0)
    assert (True, ONE, None) == said(log)
    log.end("logout", 2.0)
    assert (True, None, "logout") == said(log)
    log.begin(TWO, 3.0)
    assert (True, TWO, None) == said(log)


@pytest.mark.parametrize("torn", [b"", b"end logout 17 torn\n", b"end lo torn\n" * 1000])
def test_nothing_is_adopted_after_somebody_s_word(log: SessionLog, torn: bytes) -> None:
    """Who signed out between the look at a missing log and the line keeps the last word."""
    log.end("logout", 1.0)
    with Path(log.path).open("ab") as file:
        file.write(torn)
    log.adopt(ONE, 2.0)
    log.adopt(TWO, 2.0)
    assert (True, None, "logout") == said(log)


@pytest.mark.parametrize(
    "torn", [b"end logout 17", b"end logout 17 torn\n", b"adopt 11 torn\n" * 999]
)
def test_what_a_crash_tore_is_nobody_s_word(log: SessionLog, torn: bytes) -> None:
    Path(log.directory).mkdir(parents=True)
    Path(log.path).write_bytes(torn)
    log.adopt(ONE, 2.0)
    assert (True, ONE, None) == said(log)


@pytest.mark.requires("fork")
def test_a_sign_out_that_races_an_adoption_always_wins(tmp_path: Path) -> None:
    """Whichever line comes first, and whoever is killed after his: no session lives."""
    for number in range(40):
        log = SessionLog(str(tmp_path / str(number)), "org.example.notes", "alice")
        with (
            Child(lambda log=log: log.adopt(ONE, 1.0)) as one,
            Child(lambda log=log: log.end("logout", 1.0)) as two,
        ):
            one.result()
            two.result()
        assert (True, None, "logout") == said(log)


WHOLE = f"begin {TWO} 3 0123"


@pytest.mark.parametrize("kept", range(1, len(WHOLE) + 1))
def test_a_torn_line_never_counts_not_even_once_it_is_closed(log: SessionLog, kept: int) -> None:
    """A crash tears the last line; the next writer closes it in a way that keeps it void."""
    log.begin(ONE, 1.0)
    with Path(log.path).open("ab") as file:
        file.write(WHOLE.encode()[:kept])
    assert (True, ONE, None) == said(log)
    with Path(log.path).open("ab") as file:
        file.write(b" torn\n")
    assert (True, ONE, None) == said(log)
    log.end("logout", 4.0)
    assert (True, None, "logout") == said(log)


def test_the_writer_after_a_crash_closes_the_torn_line(log: SessionLog) -> None:
    log.begin(ONE, 1.0)
    with Path(log.path).open("ab") as file:
        file.write(b"end logout 17")
    log.begin(TWO, 2.0)
    assert b"end logout 17 torn\n" in Path(log.path).read_bytes()
    assert (True, TWO, None) == said(log)


@pytest.mark.parametrize(
    "content",
    [b"", b"b", b"begin", b"adopt 1", b"end login 17", b"end lo torn\n", b"end lo torn\nbegin 11"],
)
def test_a_log_that_holds_only_what_a_crash_tore_says_nothing(
    log: SessionLog, content: bytes
) -> None:
    """It is treated as missing: no session ever began, and none ended."""
    Path(log.directory).mkdir(parents=True)
    Path(log.path).write_bytes(content)
    assert (False, None, None) == said(log)


DAMAGE = [
    b"\0" * 90,
    b"\0" * 100_000,
    b"garbage",
    b"no\nlog\n",
    b"\n",
    b"end logout 2\n",
    b"end logout 2 0000\n",
    b"\xff\xfe torn\n",
    b"begin\0 torn\n",
]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("before", ["nothing", "a session"])
def test_a_damaged_end_of_a_log_is_an_error_until_a_new_line_mends_it(
    log: SessionLog, damage: bytes, before: str
) -> None:
    """It may have been a sign-out: neither the session before it nor a fresh install counts."""
    if before == "a session":
        log.begin(ONE, 1.0)
    else:
        Path(log.directory).mkdir(parents=True)
    with Path(log.path).open("ab") as file:
        file.write(damage)
    content = Path(log.path).read_bytes()
    with pytest.raises(SecretDamaged) as caught:
        log.read()
    assert "tokenkeep logout, then login" == caught.value.hint
    assert content == Path(log.path).read_bytes()
    log.end("logout", 2.0)
    assert (True, None, "logout") == said(log)
    log.begin(TWO, 3.0)
    assert (True, TWO, None) == said(log)


@pytest.mark.parametrize("last", ["begin", "adopt", "end"])
def test_no_flipped_bit_of_the_last_line_is_taken_for_another_word(
    log: SessionLog, last: str
) -> None:
    """Above all, none brings a session back that was ended."""
    if last == "adopt":
        log.adopt(TWO, 1700000000.0)
    else:
        log.begin(ONE, 1.0)
    whole = Path(log.path).read_bytes()
    if last == "end":
        log.end("logout", 1700000000.0)
    elif last == "begin":
        log.begin(TWO, 1700000000.0)
    after = Path(log.path).read_bytes()
    start = len(whole) if last == "end" else after[:-1].rfind(b"\n") + 1
    for at in range(start, len(after)):
        for bit in range(8):
            spoilt = bytearray(after)
            spoilt[at] ^= 1 << bit
            Path(log.path).write_bytes(spoilt)
            with pytest.raises(SecretDamaged):
                log.read()


def test_damage_before_the_last_whole_line_does_not_matter(log: SessionLog) -> None:
    log.begin(ONE, 1.0)
    Path(log.path).write_bytes(b"\0" * 5000 + b"\n" + Path(log.path).read_bytes())
    assert (True, ONE, None) == said(log)


@pytest.mark.parametrize("times", [1, 200, 2000])
def test_torn_lines_are_skipped_however_many_there_are(log: SessionLog, times: int) -> None:
    log.begin(ONE, 1.0)
    with Path(log.path).open("ab") as file:
        file.write(b"end logout 17 torn\n" * times)
    assert (True, ONE, None) == said(log)


def test_only_the_tail_of_a_long_log_is_read(log: SessionLog) -> None:
    for _ in range(400):
        log.begin(ONE, 1.0)
    log.begin(TWO, 2.0)
    assert Path(log.path).stat().st_size > 10_000
    assert (True, TWO, None) == said(log)


@given(lines=st.lists(st.binary(max_size=60), max_size=8))
def test_a_login_mends_whatever_a_log_holds(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    """Reading says nothing, or that the log is damaged; no other error, and never a session."""
    log = SessionLog(str(tmp_path_factory.mktemp("log")), "s", "a")
    os.makedirs(log.directory)
    Path(log.path).write_bytes(b"\n".join(lines))
    try:
        assert (False, None, None) == said(log)
    except SecretDamaged:
        pass
    log.begin(ONE, 1.0)
    assert (True, ONE, None) == said(log)


@pytest.mark.requires("fork")
def test_two_appenders_never_tear_each_other_s_lines(log: SessionLog) -> None:
    def append(session_id: str) -> None:
        for _ in range(100):
            log.begin(session_id, 1.0)

    with Child(lambda: append(ONE)) as one, Child(lambda: append(TWO)) as two:
        one.result()
        two.result()
    whole = (line for line in Path(log.path).read_text().splitlines() if line[-5:] != " torn")
    lines = [line[:-5] for line in whole]
    assert {f"begin {ONE} 1", f"begin {TWO} 1", "end login 1"} == set(lines)
    assert 400 == len(lines)


@pytest.mark.requires("full disk")
def test_a_full_disk_is_an_error_that_leaves_the_last_word(tmp_path: Path) -> None:
    """Neither the line nor the counter's mapping may kill the process: no SIGBUS."""
    with small_disk(tmp_path / "disk") as disk:
        log = SessionLog(str(disk), "org.example.notes", "alice")
        log.begin(ONE, 1.0)
        padding = 4096 - Path(log.path).stat().st_size - 6
        with Path(log.path).open("ab") as file:
            file.write(b"end ".ljust(padding - 6, b"x") + b" torn\n")
        Path(log.directory, "counter").unlink()
        ballast = fill(disk)
        watch = Watch(log, SystemClock())
        watch.accept(watch.mark())
        with pytest.raises(StoreFull):
            log.end("logout", 2.0)
        assert (True, ONE, None) == said(log)
        ballast.unlink()
        log.end("logout", 3.0)
        assert (True, None, "logout") == said(log)


@pytest.mark.requires("full disk")
def test_a_full_disk_keeps_no_begun_session_from_ending(tmp_path: Path) -> None:
    """However many logins came before: also behind what a crash tore, and more than once."""
    with small_disk(tmp_path / "disk") as disk:
        log = SessionLog(str(disk), "org.example.notes", "alice")
        for _ in range(60):
            log.begin(ONE, 1_700_000_000.0)
            content = Path(log.path).read_bytes()
            ballast = fill(disk)
            with Path(log.path).open("ab") as file:
                file.write(b"end logo")
            for _again in range(3):
                log.end("logout", 1_700_000_000.0)
            assert (True, None, "logout") == said(log)
            ballast.unlink()
            Path(log.path).write_bytes(content)


@pytest.mark.requires("full disk")
def test_a_login_that_finds_no_room_does_not_take_the_room_of_the_end(tmp_path: Path) -> None:
    """A disk without room for the next session has room to end the last."""
    with small_disk(tmp_path / "disk") as disk:
        log = SessionLog(str(disk), "org.example.notes", "alice")
        log.begin(ONE, 1_700_000_000.0)
        ballast = fill(disk)
        for _ in range(60):
            try:
                log.begin(TWO, 1_700_000_000.0)
            except StoreFull:
                break
        else:
            pytest.fail("there was room")
        assert None is log.read().session_id
        ballast.unlink()


@given(offset=st.integers(0, 2000), length=st.integers(40, 80))
def test_what_is_filled_in_before_a_login_is_short_and_leaves_room_for_its_end(
    offset: int, length: int
) -> None:
    filling = _filling(offset, length)
    end = offset + len(filling) + length
    assert offset // 512 == (end + 192 - 1) // 512 or filling
    assert (end - 1) // 512 == (end + 192 - 1) // 512
    assert len(filling) < 512 - 192 + length


@pytest.mark.requires("full disk")
def test_a_read_only_state_directory_is_access_denied_and_can_be_read(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        log = SessionLog(str(disk), "org.example.notes", "alice")
        log.begin(ONE, 1.0)
        set_read_only(disk, True)
        with pytest.raises(AccessDenied) as caught:
            log.end("logout", 2.0)
        assert caught.value.hint is not None
        assert (True, ONE, None) == said(log)


@pytest.mark.requires("POSIX files")
def test_files_are_the_owner_s_alone(log: SessionLog) -> None:
    log.begin(ONE, 1.0)
    assert 0o700 == os.stat(log.directory).st_mode & 0o777
    assert {0o600} == {path.stat().st_mode & 0o777 for path in Path(log.directory).iterdir()}


def test_end_all_ends_every_account_of_one_service_only(tmp_path: Path) -> None:
    logs = [SessionLog(str(tmp_path), "one", account) for account in ("a", "b")]
    other = SessionLog(str(tmp_path), "two", "a")
    for each in (*logs, other):
        each.begin(ONE, 1.0)
    assert 2 == end_all(str(tmp_path), "one", reason="logout", now=2.0)
    assert [None, None, ONE] == [each.read().session_id for each in (*logs, other)]
    assert 0 == end_all(str(tmp_path), "three", reason="logout", now=2.0)


def test_a_session_that_had_ended_is_not_counted_once_more(tmp_path: Path) -> None:
    """Its log gets the line all the same; one that cannot be read may have had a session."""
    logs = [SessionLog(str(tmp_path), "one", account) for account in ("a", "b", "c")]
    for each in logs:
        each.begin(ONE, 1.0)
    logs[0].end("logout", 2.0)
    with open(logs[1].path, "ab") as file:
        file.write(b"damaged\n")
    with pytest.raises(SecretDamaged):
        logs[1].read()
    assert 2 == end_all(str(tmp_path), "one", reason="logout", now=3.0)
    assert [3.0, 3.0, 3.0] == [each.read().at for each in logs]
    assert 0 == end_all(str(tmp_path), "one", reason="logout", now=4.0)


AWKWARD = [
    *("a", "A", "a.", "a..", "a-", "-a", ".a", "a b", "a/b", "a/../b", "..", "~a", "ä", "a" * 101),
    *("con", "nul", "con.example", "com1.example.notes", "lpt0", "conference.example"),
]


def test_neither_services_nor_accounts_ever_share_a_directory(tmp_path: Path) -> None:
    """Not even on a file system that ignores case, or with separators in the names."""
    places = [
        SessionLog(str(tmp_path), service, account).directory.lower()
        for service in AWKWARD
        for account in AWKWARD
    ]
    assert len(places) == len(set(places))
    assert all(Path(place).is_relative_to(str(tmp_path).lower()) for place in places)
    assert not any(".." in Path(place).parts for place in places)


@pytest.mark.parametrize("service", AWKWARD)
def test_no_folder_has_a_name_that_windows_takes_for_another(service: str) -> None:
    """It ignores dots at the end of a name, and takes some names for devices."""
    log = SessionLog("", service, "a")
    name = os.path.relpath(log.directory, ".").split(os.sep)[0]
    assert name[-1] not in ". "
    assert name.partition(".")[0] not in ("con", "nul", "com1", "lpt0")


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_different_services_have_different_directories(one: str, other: str) -> None:
    try:
        places = [SessionLog("/state", each, "a").directory.lower() for each in (one, other)]
    except InvalidName:
        return
    assert (one == other) == (places[0] == places[1])


def test_importing_the_log_and_the_fence_is_cheap() -> None:
    """They are on the path of a cold `tokenkeep token`."""
    code = (
        "import sys; before = set(sys.modules); import tokenkeep.sessionlog, tokenkeep.fence;"
        "print(sorted({'typing', 'enum', 're', 'threading', 'mmap', 'dataclasses'}"
        " & (set(sys.modules) - before)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert "[]" == answer.stdout.strip()
