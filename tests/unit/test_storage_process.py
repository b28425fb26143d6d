"""What a process has to load, and to have, for SecureStorage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tokenkeep.backends.vault import VaultOptions
from tokenkeep.errors import (
    StoreUnavailable,
)
from tokenkeep.install import check_fresh_install
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.vault.key_file import KeyFile


def test_reading_loads_nothing_heavy() -> None:
    """What a cold read imports is bounded: it is paid for by every `tokenkeep get`.

    A write looks for an installation that is not settled, by a module that loads no other; where
    the state directory is by default, `platformdirs` knows on some systems.
    """
    code = (
        "import sys; before = set(sys.modules);"
        "from tokenkeep.backends.memory import MemoryStore; import threading;"
        "store = MemoryStore(); loaded = set(sys.modules);"
        "from tokenkeep.storage import SecureStorage;"
        "storage = SecureStorage('s', store, state_directory='.'); storage.read('a');"
        "more = set(sys.modules) - loaded; print(sorted(more));"
        "assert more <= {'tokenkeep.storage', 'tokenkeep.select', 'tokenkeep.paths'};"
        "storage.write('a', 'x'); storage.read('a');"
        "more = set(sys.modules) - loaded - more; print(sorted(more));"
        "assert more <= {'tokenkeep.installation'}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.requires("/proc")  # elsewhere the state directory hangs on more than HOME
def test_user_without_a_home_directory_writes_where_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's user may have none: only what is kept there needs one."""
    monkeypatch.setenv("HOME", "nowhere")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    options = VaultOptions(tmp_path / "vault", KeyFile(tmp_path / "key"))
    with SecureStorage("org.example.notes", options) as storage:
        storage.write("a", "1")
        assert Secret("1") == storage.read("a")
        with pytest.raises(StoreUnavailable, match="no home directory"):
            check_fresh_install(storage)
