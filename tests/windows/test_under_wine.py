"""The part of the suite that means something on Windows, run by Windows' own Python in Wine.

All of `tests/on_windows`, and the portable tests named below; one test here for
each file. A run that Wine ends takes no other file along.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from support.wine import REPOSITORY, TESTS, started, windows_path

PORTABLE = (
    "contract/test_memory.py",
    "contract/test_vault.py",
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
    "unit/test_unlock.py",
    "unit/test_windows_default.py",
    "unit/tokens/test_record.py",
    "unit/tokens/test_storage.py",
    "unit/vault/test_vectors.py",
    "vault/test_again.py",
    "vault/test_bad_input.py",
    "vault/test_keys.py",
    "vault/test_reset.py",
    "vault/test_versions.py",
)
FILES = (
    *sorted(f"on_windows/{each.name}" for each in (TESTS / "on_windows").glob("test_*.py")),
    *PORTABLE,
)
#: For one run; the longest, of the portable tests, took about 100 on two busy cores.
_SECONDS = 280

pytestmark = [pytest.mark.requires("wine"), pytest.mark.timeout(_SECONDS + 160)]

Results = dict[str, list[ElementTree.Element]]


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What became of each test, by file: of all portable ones, or of one that is for Windows."""
    report = tmp_path_factory.mktemp("wine") / "report.xml"
    return _by_file(report, _run(report, request.param))


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


def _run(report: Path, files: tuple[str, ...]) -> str:
    arguments = ["-m", "pytest", "-q", "--tb=short", "--no-header", "-p", "no:cacheprovider"]
    arguments += ["-p", "tokenkeep.testing.pytest_plugin", "-o", "junit_family=xunit1"]
    arguments += [f"--rootdir={windows_path(REPOSITORY)}", f"--junitxml={windows_path(report)}"]
    arguments += [f"--confcutdir={windows_path(TESTS)}", "-c"]
    arguments += [windows_path(REPOSITORY / "pyproject.toml")]
    arguments += [windows_path(TESTS / file) for file in files]
    # Trio asks Wine's sockets for something that they do not have (WSAEOPNOTSUPP).
    arguments += ["-k", "not trio"]
    with started() as wine:
        try:
            done = wine.python(*arguments, timeout=_SECONDS)
        except subprocess.TimeoutExpired as exc:
            return (exc.stdout or b"").decode("utf-8", "replace")
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def _by_file(report: Path, output: str) -> Results:
    assert report.exists(), f"the run in Wine did not finish:\n{output[-3000:]}"
    found: Results = {}
    for case in ElementTree.parse(report).iter("testcase"):
        words = (case.get("classname") or case.get("name") or "").removeprefix("tests.")
        file = next((each for each in _MODULES if f"{words}.".startswith(f"{each}.")), words)
        found.setdefault(file, []).append(case)
    return found


_MODULES = [file.removesuffix(".py").replace("/", ".") for file in FILES]
