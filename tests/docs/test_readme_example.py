"""The README's Python example, line by line as it stands there, against a real provider."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.driven_browser import BROWSER
from tokenkeep import Secret, State
from tokenkeep.testing.authorization_server import AuthorizationServer, Endpoint

README = Path(__file__).parents[2] / "README.md"


def example() -> str:
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.M | re.S)
    return next(block for block in blocks if "Session(provider" in block)


def test_the_readme_example_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is changed but the issuer; the browser is one that agrees to everything."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BROWSER", BROWSER)
    with AuthorizationServer() as server:
        code = example().replace("https://issuer.example", server.issuer)
        names: dict[str, object] = {"token_response": server.login("notes")}
        exec(compile(code, str(README), "exec"), names)
        assert 1 <= server.requests.count(Endpoint.AUTHORIZE)
        assert 0 == server.reuse_detected
    assert names["report"].is_complete  # type: ignore[attr-defined]
    assert {"notes.vault", "notes.key"} <= {path.name for path in tmp_path.iterdir()}
    assert names["session"].state is State.SIGNED_OUT  # type: ignore[attr-defined]


def test_the_readme_example_says_what_is_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The values in the example's comments are those that come back."""
    monkeypatch.chdir(tmp_path)
    lines = example().splitlines()
    names: dict[str, object] = {}
    start = "\n".join(lines[: next(i for i, line in enumerate(lines) if "storage.read(" in line)])
    exec(compile(start, str(README), "exec"), names)
    found = eval('storage.read("api_key")', names)
    assert isinstance(found, Secret)
    assert "s3cret" == found.reveal()
    assert eval('storage.read("nothing here")', names) is None
