"""Rules for every test: a home of its own, named Hypothesis profiles, nothing skipped silently.

A test that needs something real beyond Python says `@pytest.mark.requires("node")`; the names are
in `support/services.py`. Where it is missing the test is not run, is listed at the end with the
reason, and fails the whole run if `CI=true`.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.services import OIDC_PROVIDER, SERVICES, node_executable
from support.tpm import Emulator

settings.register_profile("default", max_examples=50, deadline=None)
settings.register_profile(
    "ci",
    max_examples=100,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "fuzz", max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
IN_CI = os.environ.get("CI") == "true"
settings.load_profile("ci" if IN_CI else "default")

NOT_RUN = pytest.StashKey[list[tuple[str, str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out the tests marked load")
    parser.addoption("--not-run-file", help="where to write what was not run, a reason a line")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[NOT_RUN] = []
    # A shell lets what it starts in the background ignore Ctrl-C, and every program of the tests
    # would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers", "requires(*services): real parts that the test needs (support/services.py)"
    )
    config.addinivalue_line("markers", "load: many processes or many rounds; left out by --quick")


def pytest_collection_finish() -> None:
    # What is there by now stays until the end: no collection need look at it again.
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for marker in item.iter_markers("requires"):
            unknown = set(marker.args) - SERVICES.keys()
            if unknown or not marker.args:
                raise pytest.UsageError(f"{item.nodeid} requires unknown {sorted(unknown)}")
    if config.getoption("--quick"):
        heavy = [item for item in items if item.get_closest_marker("load")]
        config.hook.pytest_deselected(items=heavy)
        items[:] = [item for item in items if item not in heavy]
        for item in heavy:
            config.stash[NOT_RUN].append((item.nodeid, "left out by --quick"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("requires"):
        for service in marker.args:
            reason = SERVICES[service]()
            if reason is not None:
                pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        longrepr = report.longrepr
        reason = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
        item.config.stash[NOT_RUN].append((item.nodeid, reason.removeprefix("Skipped: ")))
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    left_out = session.config.stash[NOT_RUN]
    if IN_CI and exitstatus == 0 and any(why != "left out by --quick" for _, why in left_out):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    by_reason: dict[str, list[str]] = {}
    for test, reason in terminalreporter.config.stash[NOT_RUN]:
        by_reason.setdefault(reason, []).append(test)
    reasons = {f"{len(tests)} not run: {why}": tests for why, tests in sorted(by_reason.items())}
    if place := terminalreporter.config.getoption("--not-run-file"):
        Path(place).write_text("".join(f"{line}\n" for line in reasons), encoding="utf-8")
    if not reasons:
        return
    terminalreporter.section("not run")
    for line, tests in reasons.items():
        terminalreporter.line(line)
        for test in tests[:5]:
            terminalreporter.line(f"    {test}")
        if len(tests) > 5:
            terminalreporter.line(f"    and {len(tests) - 5} more")
    if IN_CI:
        terminalreporter.line("in CI every test must run: this run has failed", red=True)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's empty home: no test sees, or leaves anything in, the real one."""
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith("TOKENKEEP_")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    folders = {
        "XDG_CONFIG_HOME": ".config",
        "XDG_DATA_HOME": ".local/share",
        "XDG_STATE_HOME": ".local/state",
        "XDG_CACHE_HOME": ".cache",
        "APPDATA": "AppData/Roaming",
        "LOCALAPPDATA": "AppData/Local",
    }
    for name, folder in folders.items():
        (home / folder).mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(name, str(home / folder))
    # Windows knows its folders itself; platformdirs can be told otherwise.
    for name, folder in {"APPDATA": "APPDATA", "LOCAL_APPDATA": "LOCALAPPDATA"}.items():
        monkeypatch.setenv(f"WIN_PD_OVERRIDE_{name}", os.environ[folder])
    # A test that opens the person's browser by mistake must not.
    monkeypatch.setenv("BROWSER", "false")
    return home


@pytest.fixture(scope="session")
def node() -> Path:
    """Node's executable; the test says `requires("node")` too."""
    executable = node_executable()
    assert executable is not None
    return executable


@pytest.fixture(scope="session")
def oidc_provider_modules() -> Path:
    """The folder `node_modules` that holds oidc-provider; the test says `requires("node")` too."""
    return OIDC_PROVIDER


@pytest.fixture
def tpm() -> Iterator[Emulator]:
    """A TPM of the test's own; the test says `requires("swtpm")` too."""
    with Emulator() as emulator:
        yield emulator
