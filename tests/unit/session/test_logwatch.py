"""How the changes of a session log are noticed: by its counter at once, else within a second."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenkeep.session.logwatch import Watch
from tokenkeep.sessionlog import SessionLog
from tokenkeep.testing.clock import FakeClock

ONE, TWO = "1" * 32, "2" * 32


@pytest.fixture
def log(tmp_path: Path) -> SessionLog:
    return SessionLog(str(tmp_path), "org.example.notes", "alice")


def test_the_counter_tells_of_a_line_at_once(log: SessionLog) -> None:
    log.begin(ONE, 1.0)
    watch = Watch(log, clock := FakeClock())
    assert watch.changed(clock.monotonic())
    watch.accept(watch.mark())
    assert not watch.changed(clock.monotonic())
    log.end("logout", 2.0)
    assert watch.changed(clock.monotonic())


def test_a_line_between_the_mark_and_the_reading_is_seen_again(log: SessionLog) -> None:
    log.begin(ONE, 1.0)
    watch = Watch(log, clock := FakeClock())
    mark = watch.mark()
    log.end("logout", 2.0)
    watch.accept(mark)
    assert watch.changed(clock.monotonic())


def test_a_writer_killed_before_the_counter_is_noticed_within_a_second(log: SessionLog) -> None:
    log.begin(ONE, 1.0)
    watch = Watch(log, clock := FakeClock())
    watch.accept(watch.mark())
    with Path(log.path).open("ab") as file:
        file.write(b"end logout 2\n")
    clock.advance(1.01)
    assert watch.changed(clock.monotonic())


def test_a_watch_begun_before_the_log_notices_its_first_line(log: SessionLog) -> None:
    watch = Watch(log, clock := FakeClock())
    watch.accept(watch.mark())
    assert not watch.changed(clock.monotonic())
    log.begin(ONE, 1.0)
    assert watch.changed(clock.monotonic())


@pytest.mark.parametrize("damage", ["deleted", "short", "a directory", "replaced"])
def test_a_missing_or_damaged_counter_only_costs_time(log: SessionLog, damage: str) -> None:
    """The file's own state is looked at every second, or at every look without a counter."""
    log.begin(ONE, 1.0)
    counter = Path(log.directory, "counter")
    if damage == "short":
        counter.write_bytes(b"123")
    else:
        counter.unlink()
    if damage == "a directory":
        counter.mkdir()
    if damage == "replaced":
        counter.write_bytes(b"something else entirely")
    watch = Watch(log, clock := FakeClock())
    watch.accept(watch.mark())
    assert not watch.changed(clock.monotonic())
    log.end("logout", 2.0)
    clock.advance(1.01)
    assert watch.changed(clock.monotonic())


@pytest.mark.requires("POSIX files")
def test_a_counter_deleted_under_a_watch_is_found_again_at_the_next_mark(log: SessionLog) -> None:
    log.begin(ONE, 1.0)
    watch = Watch(log, clock := FakeClock())
    watch.accept(watch.mark())
    Path(log.directory, "counter").unlink()
    log.begin(TWO, 2.0)
    clock.advance(1.01)
    assert watch.changed(clock.monotonic())
    watch.accept(watch.mark())
    log.end("logout", 3.0)
    assert watch.changed(clock.monotonic())
