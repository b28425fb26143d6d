"""Threads, forks and processes on one vault."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.children import in_child
from tokenkeep.errors import StoreTimeout, StoreUnavailable, WriteConflict
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.vault.creation import create
from tokenkeep.vault.rekey import rekey
from vault.places import (
    PATIENCE,
    SERVICE,
    all_bytes,
    call,
    create_at_once,
    item,
    key_file,
    open_store,
    open_vault,
    value,
)


@pytest.fixture(autouse=True)
def _forking_with_threads_is_the_point() -> Iterator[None]:
    with warnings.catch_warnings():
        # Python 3.12 and later warn about forks in a process with threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@pytest.mark.parametrize("attempt", range(5))
def test_of_many_creators_one_wins_and_all_writes_are_kept(tmp_path: Path, attempt: int) -> None:
    """Six processes write first: one vault, one key, six items, nothing left aside."""
    context = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
    gate = context.Barrier(6)
    processes = [
        context.Process(target=create_at_once, args=(str(tmp_path), number, gate))
        for number in range(6)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [0] * 6 == [process.exitcode for process in processes]
    store = open_store(tmp_path, create=False)
    assert [f"n{number}" for number in range(6)] == [
        name.name for name in store.names(SERVICE, call())
    ]
    assert ["key", "vault"] == sorted(os.listdir(tmp_path))
    assert key_file(tmp_path).read()[1]


def test_creator_that_is_overtaken_while_it_builds_opens_the_others_vault(tmp_path: Path) -> None:
    """The key file names the quicker one's vault before the slower one has made its slot."""
    path, keys = str(tmp_path / "vault"), (key_file(tmp_path),)

    def overtaken(step: str) -> None:
        if step == "aside":
            open_store(tmp_path).write(item("quick"), Secret("1"), call())

    assert create(path, keys, call(), overtaken) is False
    assert ["key", "vault"] == sorted(os.listdir(tmp_path))
    assert open_store(tmp_path, create=False).read(item("quick"), call()) is not None


def test_creator_that_reads_the_key_after_another_published_opens_that_vault(
    tmp_path: Path,
) -> None:
    """A key file that has got its vault meanwhile is neither another vault's nor a lost one's."""
    from tokenkeep.vault import creation

    def publish(name: str) -> None:
        if name == "keys":
            open_store(tmp_path).write(item("a"), Secret("theirs"), call())

    made = creation.create(str(tmp_path / "vault"), (key_file(tmp_path),), call(), publish)
    assert not made
    assert value(open_store(tmp_path), "a") == "theirs"


def test_threads_share_a_store(tmp_path: Path) -> None:
    """Eight threads count one item up by exchange: no update is lost, reads see whole values."""
    store = open_store(tmp_path)
    store.write(item("count"), Secret("0"), call())

    def count_up(_number: int) -> None:
        done = 0
        while done < 20:
            before = store.read(item("count"), call())
            assert before is not None
            try:
                after = Secret(str(int(before.reveal()) + 1))
                store.replace(item("count"), before, after, call())
                done += 1
            except WriteConflict:
                continue

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(count_up, range(8)))
    assert value(store, "count") == "160"


@pytest.mark.requires("fork")
def test_forked_child_uses_the_parents_store(tmp_path: Path) -> None:
    """Both go on reading and writing, in both directions, generation after generation."""
    store = open_store(tmp_path)
    store.write(item("a"), Secret("0"), call())

    def generation(depth: int) -> None:
        assert value(store, "a") == str(depth)
        store.write(item("a"), Secret(str(depth + 1)), call())
        if depth < 3:
            in_child(lambda: generation(depth + 1))
        assert value(store, "a") == "4"

    in_child(lambda: generation(0))
    assert value(store, "a") == "4"
    store.write(item("a"), Secret("back"), call())
    in_child(lambda: store.delete(item("a"), call()))
    assert value(store, "a") is None


@pytest.mark.requires("fork")
def test_fork_while_threads_write(tmp_path: Path) -> None:
    """Children of a busy process neither hang nor lose anything, and the parent goes on."""
    store = open_store(tmp_path)
    store.write(item("t0"), Secret("0"), call())
    over = threading.Event()

    def write(number: int) -> int:
        count = 0
        while not over.is_set():
            count += 1
            store.write(item(f"t{number}"), Secret(str(count)), call())
        return count

    with ThreadPoolExecutor(3) as threads:
        counts = [threads.submit(write, number) for number in range(3)]
        for child in range(8):
            in_child(lambda child=child: store.write(item(f"c{child}"), Secret("x"), Call(20)))  # type: ignore[misc]
        over.set()
        results = [count.result() for count in counts]
    for number, count in enumerate(results):
        assert value(store, f"t{number}") == str(count)
    for child in range(8):
        assert value(store, f"c{child}") == "x"


@pytest.mark.requires("fork")
def test_vault_that_another_thread_opens_during_a_fork_is_the_childs_too(tmp_path: Path) -> None:
    """Opened behind what prepares the fork, it would be a connection that no child may use."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", OPENS_DURING_A_FORK, os.fspath(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))},
    )
    assert (0, "value a\nvalue a\n") == (done.returncode, done.stdout), done.stderr


#: What is registered before the vault's own preparation runs behind it.
OPENS_DURING_A_FORK = """
import os, sys, threading
from pathlib import Path
def open_elsewhere():
    thread.start()
    thread.join(0.5)
os.register_at_fork(before=open_elsewhere)
from tokenkeep.item import Call
from vault.places import fill, item, open_store
fill(Path(sys.argv[1]))
store = open_store(Path(sys.argv[1]))
thread = threading.Thread(target=lambda: store.read(item("a"), Call(30)))
child = os.fork()
if child:
    os.waitpid(child, 0)
    thread.join()
print(store.read(item("a"), Call(5)).reveal(), flush=True)
os._exit(0)
"""


@pytest.mark.requires("fork")
def test_child_of_a_fork_behind_our_back_refuses(tmp_path: Path) -> None:
    """Without Python's hooks SQLite's locks are the parent's: an error, not a lost write."""
    import ctypes

    store = open_store(tmp_path)
    store.write(item("a"), Secret("0"), call())
    fork = ctypes.PyDLL(None).fork
    pid = fork()
    if pid == 0:
        code = 1
        try:
            store.read(item("a"), call())
        except StoreUnavailable as exc:
            code = 0 if exc.hint else 2
        finally:
            os._exit(code)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert value(store, "a") == "0"


@pytest.mark.requires("fork")
def test_child_of_a_fork_behind_our_back_may_close_and_is_still_refused(tmp_path: Path) -> None:
    """Closing leaves the parent's connections alone, and opens no way around the refusal."""
    import ctypes

    store = open_store(tmp_path)
    store.write(item("a"), Secret("0"), call())
    pid = ctypes.PyDLL(None).fork()
    if pid == 0:
        refused = 0
        try:
            for again in (store, open_store(tmp_path)):
                store.close()
                try:
                    again.read(item("a"), call())
                except StoreUnavailable:
                    refused += 1
        finally:
            os._exit(2 - refused)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert value(store, "a") == "0"
    store.write(item("a"), Secret("1"), call())
    store.close()
    assert value(open_store(tmp_path), "a") == "1"


def test_closing_does_not_wait_for_ever_for_a_call_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that hangs in another thread is a timeout, and nothing was closed."""
    monkeypatch.setattr("tokenkeep.vault.engine._CLOSE_PATIENCE", 0.05)
    vault = open_vault(tmp_path)
    open_store(tmp_path).write(item("a"), Secret("0"), call())
    engine, _keys = vault.opened(call())
    inside, go = threading.Event(), threading.Event()

    def hang(_connection: object) -> None:
        inside.set()
        go.wait(60)

    thread = threading.Thread(target=lambda: engine.locked(call(), hang))
    thread.start()
    inside.wait(60)
    try:
        with pytest.raises(StoreTimeout):
            engine.close()
    finally:
        go.set()
        thread.join()
    engine.close()


@pytest.mark.parametrize("mistake", [TypeError, ValueError, AttributeError, SystemError])
def test_mistake_in_a_transaction_is_not_called_damage(
    tmp_path: Path, mistake: type[Exception]
) -> None:
    """Nobody shall throw away a sound vault for an error of ours, or of a callback."""
    store = open_store(tmp_path)
    store.write(item("a"), Secret("0"), call())

    def blunder(_connection: object, _keys: object) -> None:
        raise mistake("a mistake")

    vault = open_vault(tmp_path)
    with pytest.raises(mistake, match="a mistake"):
        vault.transaction(call(), blunder)
    vault.transaction(call(), lambda connection, _keys: connection.execute("SELECT 1").fetchone())
    assert value(store, "a") == "0"


@pytest.mark.requires("fork")
def test_no_log_is_removed_while_somebody_needs_it(tmp_path: Path) -> None:
    """Writers that come and go in other processes never take a reader's view or a write away."""
    reader = open_store(tmp_path)
    reader.write(item("a"), Secret("0"), call())
    for number in range(10):

        def come_and_go(number: int = number) -> None:
            store = open_store(tmp_path)
            store.write(item("a"), Secret(str(number)), call())
            store.close()

        in_child(come_and_go)
        assert value(reader, "a") == str(number)


def test_readers_and_writers_go_on_while_keys_are_replaced(tmp_path: Path) -> None:
    """Online: every read during ten rekeys is right, every write is kept."""
    store = open_store(tmp_path)
    for number in range(300):
        store.write(item(f"n{number}"), Secret(f"value {number}"), call())
    over = threading.Event()

    def read_all() -> int:
        rounds = 0
        mine = open_store(tmp_path)
        while not over.is_set():
            for number in range(0, 300, 7):
                assert value(mine, f"n{number}") == f"value {number}", number
                assert value(mine, "nothing") is None
            assert 300 <= len(mine.names(SERVICE, call()))
            rounds += 1
        mine.close()
        return rounds

    def write_some() -> int:
        count = 0
        while not over.is_set():
            count += 1
            store.write(item(f"extra {count % 50}"), Secret(str(count)), call())
        return count

    with ThreadPoolExecutor(3) as threads:
        readers = [threads.submit(read_all) for _ in range(2)]
        writer = threads.submit(write_some)
        try:
            for number in range(6):
                rekey(open_vault(tmp_path), call, root=number % 2 == 0)
        finally:
            over.set()
        assert all(reader.result() > 0 for reader in readers)
        count = writer.result()
    assert value(store, f"extra {count % 50}") == str(count)
    assert 0 == rekey(open_vault(tmp_path), call).damaged


def test_erased_means_gone(tmp_path: Path) -> None:
    """After churn and `erase`, no old envelope, name or value is in any file of the vault."""
    store = open_store(tmp_path)
    vault = open_vault(tmp_path)
    old: set[bytes] = set()

    def remember() -> None:
        engine, _keys = vault.opened(call())
        for name, sealed in engine.rows(call(), "SELECT name, envelope FROM item"):
            old.update((name[9:], sealed[9:]))

    for round_number in range(3):
        for number in range(60):
            text = f"plain {round_number} {number} " * (1 + number % 30 * 10)
            store.write(item(f"name {number}"), Secret(text), call())
        remember()
        for number in range(0, 60, 2):
            store.delete(item(f"name {number}"), call())
    vault.close()
    assert not store.erase(SERVICE, call())
    content = all_bytes(tmp_path)
    assert not any(sealed in content for sealed in old)
    assert not any(sealed[-32:] in content for sealed in old)
    assert b"plain" not in content
    assert b"name 1" not in content
    assert SERVICE.encode() not in content


def test_nothing_is_ever_in_clear(tmp_path: Path) -> None:
    """While items are there: no value, name or service in any file."""
    store = open_store(tmp_path)
    store.write(item("some name"), Secret("some value"), call())
    content = all_bytes(tmp_path)
    for text in (b"some name", b"some value", SERVICE.encode()):
        assert text not in content
