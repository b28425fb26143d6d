"""The part of the suite that means something on Windows, run by Windows' own Python in Wine.

All of `tests/on_windows`, and the portable tests named below; one test here for each file. Each
file for Windows alone has a process of its own, so that one that Wine ends takes no other along.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from support.wine import REPOSITORY, TESTS, Wine, started, windows_path

PORTABLE = (
    "contract/test_memory.py",
    "contract/test_vault.py",
    "native/test_bounded.py",
    "native/test_crew.py",
    "session/test_freshness.py",
    "session/test_locked.py",
    "session/test_logout.py",
    "session/test_lost_answers.py",
    "session/test_outcomes.py",
    "session/test_single_flight.py",
    "unit/session/test_flight.py",
    "unit/session/test_grant.py",
    "unit/session/test_logwatch.py",
    "unit/session/test_shared.py",
    "unit/test_aio.py",
    "unit/test_clock.py",
    "unit/test_config.py",
    "unit/test_crypto.py",
    "unit/test_fence.py",
    "unit/test_fields.py",
    "unit/test_install.py",
    "unit/test_item.py",
    "unit/test_paths.py",
    "unit/test_secret.py",
    "unit/test_select.py",
    "unit/test_sessionlog.py",
    "unit/test_storage.py",
    "unit/test_storage_process.py",
    "unit/test_unlock.py",
    "unit/test_windows_default.py",
    "unit/tokens/test_left_over.py",
    "unit/tokens/test_record.py",
    "unit/tokens/test_renaming.py",
    "unit/tokens/test_storage.py",
    "unit/vault/test_vectors.py",
    "vault/test_again.py",
    "vault/test_backups.py",
    "vault/test_bad_input.py",
    "vault/test_keys.py",
    "vault/test_replace.py",
    "vault/test_reset.py",
    "vault/test_together.py",
    "vault/test_transfer.py",
    "vault/test_versions.py",
)
FILES = (
    *sorted(f"on_windows/{each.name}" for each in (TESTS / "on_windows").glob("test_*.py")),
    *PORTABLE,
)
#: For one run; the longest, of the portable tests, took about 160 on two busy cores.
_SECONDS = 400

pytestmark = [pytest.mark.requires("wine"), pytest.mark.timeout(_SECONDS + 160)]

Results = dict[str, list[ElementTree.Element]]


@pytest.fixture(scope="module")
def wine() -> Generator[Wine]:
    with started() as wine:
        yield wine


@pytest.fixture(scope="module")
def results(
    request: pytest.FixtureRequest,
    wine: Wine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Results:
    """What became of each test, by file: of all portable ones, or of one that is for Windows."""
    return _run(wine, tmp_path_factory.mktemp("wine"), request.param)


@pytest.mark.parametrize(
    ("file", "results"),
    [(file, PORTABLE if file in PORTABLE else (file,)) for file in FILES],
    indirect=["results"],
    ids=FILES,
    scope="module",
)
def test_file_passes_on_windows(file: str, results: Results) -> None:
    """Every test that applies to Windows passes in Windows' Python."""
    cases = results.get(file.removesuffix(".py").replace("/", "."), [])
    problems = [
        f"{case.get('name')}\n{problem.text or problem.get('message')}"
        for case in cases
        for problem in [*case.findall("failure"), *case.findall("error")]
    ]
    assert not problems, "\n\n".join(problems)
    passed = [case for case in cases if case.find("skipped") is None]
    assert passed, "nothing of it ran"


def _run(wine: Wine, folder: Path, files: tuple[str, ...]) -> Results:
    report = folder / "report.xml"
    arguments = ["-m", "pytest", "-q", "--tb=short", "--no-header", "-p", "no:cacheprovider"]
    arguments += ["-p", "tokenkeep.testing.pytest_plugin", "-o", "junit_family=xunit1"]
    arguments += [f"--rootdir={windows_path(REPOSITORY)}", f"--junitxml={windows_path(report)}"]
    arguments += [f"--confcutdir={windows_path(TESTS)}", "-c"]
    arguments += [windows_path(REPOSITORY / "pyproject.toml")]
    arguments += [windows_path(TESTS / file) for file in files]
    # Trio asks Wine's sockets for something that they do not have (WSAEOPNOTSUPP).
    arguments += ["-k", "not trio"]
    # As many examples as in CI only of what runs nowhere else.
    env = {"CI": os.environ.get("CI", "")} if files is not PORTABLE else {}
    try:
        done = wine.python(*arguments, timeout=_SECONDS, env=env)
        output = done.stdout + done.stderr
    except subprocess.TimeoutExpired as exc:
        output = exc.stdout or b""
    said = output.decode("utf-8", "replace")[-3000:]
    assert report.exists(), f"the run in Wine did not finish:\n{said}"
    return _by_file(report)


def _by_file(report: Path) -> Results:
    found: Results = {}
    for case in ElementTree.parse(report).iter("testcase"):
        words = (case.get("classname") or case.get("name") or "").removeprefix("tests.")
        file = next((each for each in _MODULES if f"{words}.".startswith(f"{each}.")), words)
        found.setdefault(file, []).append(case)
    return found


_MODULES = [file.removesuffix(".py").replace("/", ".") for file in FILES]
