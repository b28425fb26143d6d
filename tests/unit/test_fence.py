"""The fence: one holder, whatever threads, forks and kills do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from support.children import Child, in_child
from support.small_disk import fill, set_read_only, small_disk
from tokenkeep.clock import SystemClock
from tokenkeep.errors import AccessDenied, StoreTimeout, StoreUnavailable
from tokenkeep.fence import Fence, Hold
from tokenkeep.item import Call
from tokenkeep.testing.clock import FakeClock


@pytest.fixture
def fence(tmp_path: Path) -> Fence:
    return Fence(str(tmp_path / "place" / "lock"), SystemClock())


def acquired(fence: Fence, purpose: str = "test") -> Hold:
    hold = fence.acquire(purpose, 5.0)
    assert hold is not None
    return hold


def wait_for_holder(fence: Fence, pid: int) -> None:
    end = time.monotonic() + 5
    while f"pid {pid} " not in (fence.holder() or ""):
        assert time.monotonic() < end
        time.sleep(0.002)


def test_one_holder_at_a_time_within_a_process(fence: Fence) -> None:
    with acquired(fence):
        assert fence.acquire("other", 0.0) is None
    with acquired(fence):
        pass


def test_a_hold_that_nobody_has_any_more_is_released(fence: Fence) -> None:
    """Ctrl-C may come between having it and the block that would let it go."""
    acquired(fence)
    assert fence.holder() is None
    acquired(fence).release()


def test_a_releasing_holder_lets_a_waiting_thread_in(fence: Fence) -> None:
    inside, entered = [], threading.Event()
    hold = acquired(fence)

    def enter() -> None:
        with acquired(fence):
            inside.append(1)
        entered.set()

    threading.Thread(target=enter).start()
    time.sleep(0.05)
    assert [] == inside
    hold.release()
    assert entered.wait(5)


def test_waiting_is_bounded_by_the_given_clock(tmp_path: Path) -> None:
    clock = FakeClock()
    fence = Fence(str(tmp_path / "lock"), clock)
    with acquired(fence):
        before = clock.monotonic()
        assert fence.acquire("other", 3.0) is None
        assert 3.0 <= clock.monotonic() - before <= 3.1


def test_a_peer_s_success_ends_the_wait(fence: Fence) -> None:
    asked = []
    with acquired(fence):
        assert fence.acquire("other", 60.0, lambda: asked.append(1) or len(asked) == 3) is None
    assert 3 == len(asked)


@pytest.mark.requires("/proc")
def test_an_error_while_waiting_leaves_nothing_open(fence: Fence) -> None:
    def fails() -> bool:
        raise KeyError

    with acquired(fence):
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        with pytest.raises(KeyError):
            fence.acquire("other", 5.0, fails)
        if before:
            assert before == len(os.listdir("/proc/self/fd"))


def test_the_holder_is_named_while_it_holds_and_only_then(fence: Fence) -> None:
    assert fence.holder() is None
    with acquired(fence, "refresh") as hold:
        holder = fence.holder()
        assert holder is not None
        assert holder.startswith(f"pid {os.getpid()} on ")
        assert holder.endswith("(refresh)")
        hold.describe("unsaved session")
        assert "(unsaved session)" in (fence.holder() or "")
    assert fence.holder() is None


def test_two_who_look_at_once_do_not_take_each_other_for_a_holder(fence: Fence) -> None:
    acquired(fence, "long gone").release()
    found, stop = set(), threading.Event()

    def look() -> None:
        while not stop.is_set():
            found.add(fence.holder())

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join()
    assert {None} == found


@pytest.mark.requires("fork")
def test_a_killed_holder_lets_go_at_once(fence: Fence) -> None:
    def hold_for_ever() -> None:
        with acquired(fence):
            time.sleep(60)

    with Child(hold_for_ever) as child:
        wait_for_holder(fence, child.pid)
        assert fence.acquire("other", 0.0) is None
        child.kill()
        with acquired(fence):
            pass


@pytest.mark.requires("fork")
def test_a_frozen_holder_bounds_the_wait_and_is_named(fence: Fence) -> None:
    def hold_for_ever() -> None:
        with acquired(fence):
            time.sleep(60)

    with Child(hold_for_ever) as child:
        wait_for_holder(fence, child.pid)
        child.signal(signal.SIGSTOP)
        started = time.monotonic()
        assert fence.acquire("other", 0.2) is None
        assert time.monotonic() - started < 2
        assert f"pid {child.pid} " in (fence.holder() or "")


@pytest.mark.requires("fork")
def test_a_child_forked_inside_does_not_hold_and_cannot_release(fence: Fence) -> None:
    hold = acquired(fence)

    def in_the_child() -> bool:
        hold.release()
        return fence.acquire("child", 0.0) is not None

    assert not in_child(in_the_child)
    assert fence.acquire("other", 0.0) is None
    hold.release()


@pytest.mark.requires("fork", "/proc")
def test_a_child_of_a_fork_behind_our_back_lets_go_without_unlocking(fence: Fence) -> None:
    """Its copy of the descriptor would keep everybody out after its parent's death."""
    import ctypes

    hold = acquired(fence)
    before = len(os.listdir("/proc/self/fd"))
    pid = ctypes.PyDLL(None).fork()
    if pid == 0:
        code = 1
        try:
            hold.release()
            code = before - len(os.listdir("/proc/self/fd"))
        finally:
            os._exit(0 if code == 1 else 2)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert fence.acquire("other", 0.0) is None, "still the parent's"
    hold.release()


@pytest.mark.requires("fork")
def test_a_child_forked_inside_does_not_keep_the_lock_of_a_dead_parent(fence: Fence) -> None:
    def parent() -> None:
        with acquired(fence):
            with_child = Child(lambda: time.sleep(3))
            assert with_child.pid
            os.kill(os.getpid(), signal.SIGKILL)

    with Child(parent) as child:
        assert -signal.SIGKILL == child.wait()
        acquired(fence).release()


@pytest.mark.requires("fork")
def test_forking_while_another_thread_enters_and_leaves_is_safe(fence: Fence) -> None:
    """A fork never comes between opening the lock file and knowing of the descriptor."""
    stop = threading.Event()

    def enter_and_leave() -> None:
        while not stop.is_set():
            hold = fence.acquire("thread", 5.0)
            assert hold is not None
            hold.release()

    thread = threading.Thread(target=enter_and_leave)
    thread.start()
    try:
        for _ in range(30):
            assert in_child(lambda: _open_locks(fence)) == 0
    finally:
        stop.set()
        thread.join()


def _open_locks(fence: Fence) -> int:
    if not os.path.isdir("/proc/self/fd"):
        return 0
    places = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            places.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue
    return sum(place == fence._path for place in places)


@pytest.mark.requires("fork")
def test_processes_exclude_each_other(fence: Fence, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count() -> None:
        for _ in range(25):
            with acquired(fence):
                number = int(counter.read_text())
                time.sleep(0.0005)
                counter.write_text(str(number + 1))

    children = [Child(count) for _ in range(4)]
    for child in children:
        child.result()
    assert "100" == counter.read_text()


def test_the_lock_file_is_never_deleted(fence: Fence, tmp_path: Path) -> None:
    acquired(fence).release()
    inode = (tmp_path / "place" / "lock").stat().st_ino
    acquired(fence).release()
    assert inode == (tmp_path / "place" / "lock").stat().st_ino


@pytest.mark.requires("POSIX files")
def test_a_symlinked_lock_file_is_refused(fence: Fence, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AccessDenied):
        fence.acquire("test", 1.0)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.requires("full disk")
def test_a_full_disk_only_costs_the_holder_its_name(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        fence = Fence(str(disk / "lock"), SystemClock())
        (disk / "lock").touch()
        fill(disk)
        with acquired(fence):
            assert fence.acquire("other", 0.0) is None
            assert "somebody who could not leave a name" == fence.holder()
        assert fence.holder() is None


@pytest.mark.requires("full disk")
def test_a_disk_that_became_full_still_has_room_for_the_holder_s_name(tmp_path: Path) -> None:
    """Whoever was inside once took the room: for what a hold is for now, and for the next."""
    with small_disk(tmp_path / "disk") as disk:
        fence = Fence(str(disk / "lock"), SystemClock())
        hold = acquired(fence, "refresh")
        fill(disk)
        for purpose in ("unsaved session", "a", "x" * 500):
            hold.describe(purpose)
            assert f"({purpose[:100]}" in str(fence.holder())
        hold.release()
        assert fence.holder() is None
        for purpose in ("login", "logout"):
            with acquired(fence, purpose):
                assert f"pid {os.getpid()} on " in str(fence.holder())
                assert str(fence.holder()).endswith(f"({purpose})")
        assert 200 == (disk / "lock").stat().st_size


@pytest.mark.requires("full disk")
def test_a_read_only_place_is_access_denied_with_a_hint(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        set_read_only(disk, True)
        with pytest.raises(AccessDenied) as caught:
            Fence(str(disk / "place" / "lock"), SystemClock()).acquire("test", 1.0)
        assert caught.value.hint is not None


def test_a_place_that_cannot_be_is_not_a_lock_that_somebody_holds() -> None:
    with pytest.raises(StoreUnavailable):
        Fence("/dev/null/lock", SystemClock()).acquire("test", 1.0)


def test_a_hold_within_a_calls_deadline_names_who_is_in_the_way(tmp_path: Path) -> None:
    """A timeout that says by whom; a call without a deadline waits until it is let in."""
    fence = Fence(str(tmp_path / "lock"), SystemClock())
    first = fence.hold("first", Call(1.0))
    with pytest.raises(StoreTimeout, match=r"pid \d+ .*first"):
        fence.hold("second", Call(0.05))
    threading.Timer(0.1, first.release).start()
    fence.hold("third", Call(None)).release()


@pytest.mark.requires("fork")
def test_fence_that_is_first_loaded_during_a_fork_prints_nothing() -> None:
    """Another thread may load it then: what runs behind the fork meets nothing that came before."""
    program = (
        "import os; os.register_at_fork(before=lambda: __import__('tokenkeep.fence'))\n"
        "child = os.fork()\n"
        "child and os.waitpid(child, 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)
