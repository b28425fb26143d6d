"""The rule that nothing is skipped silently."""

from __future__ import annotations

import json

import pytest

pytest_plugins = ["pytester"]

A_TEST = """
import pytest

@pytest.mark.requires("{service}")
def test_with_a_service():
    assert True
"""


@pytest.fixture
def house(pytester: pytest.Pytester, pytestconfig: pytest.Config) -> pytest.Pytester:
    conftest = pytestconfig.rootpath / "tests" / "conftest.py"
    services = "from support.services import SERVICES\nSERVICES['nothing'] = lambda: 'not there'\n"
    pytester.makeconftest(conftest.read_text().replace("\nNOT_RUN =", f"\n{services}\nNOT_RUN ="))
    shared = json.dumps(str(pytestconfig.rootpath / "tests"))
    pytester.makepyprojecttoml(f"[tool.pytest.ini_options]\npythonpath = [{shared}]\n")
    return pytester


def test_a_missing_service_is_listed_with_its_reason(
    house: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not run is named at the end."""
    monkeypatch.delenv("CI", raising=False)
    house.makepyfile(A_TEST.format(service="nothing"))
    result = house.runpytest_subprocess()
    assert 0 == result.ret
    result.stdout.fnmatch_lines(["*not run*", "1 not run: not there", "*test_with_a_service"])


def test_a_missing_service_fails_in_ci(
    house: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In CI a test that did not run is a failure."""
    monkeypatch.setenv("CI", "true")
    house.makepyfile(A_TEST.format(service="nothing"))
    assert 1 == house.runpytest_subprocess().ret


def test_an_unknown_service_is_an_error(house: pytest.Pytester) -> None:
    """A typing mistake in a service's name cannot switch a test off."""
    house.makepyfile(A_TEST.format(service="noode"))
    result = house.runpytest_subprocess()
    assert pytest.ExitCode.USAGE_ERROR == result.ret
    assert "requires unknown ['noode']" in result.stdout.str() + result.stderr.str()
