"""The shape of the package: what it exports, what importing it costs, and what may import what."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tokenkeep
from support.services import REPOSITORY
from tokenkeep.testing.authorization_server import AuthorizationServer

SOURCE = REPOSITORY / "src" / "tokenkeep"
FILES = sorted(SOURCE.rglob("*.py"))

#: What an application imports by name; a name more or less is a decision, so it is written twice.
PUBLIC = {
    "AndroidOptions",
    "AppleOptions",
    "AsyncSecureStorage",
    "AsyncSession",
    "AsyncTokenStorage",
    "DatabaseKey",
    "DpapiKey",
    "Installation",
    "Interaction",
    "KernelKeyringOptions",
    "KeyFile",
    "Keyring",
    "MemoryOptions",
    "MemoryStore",
    "Passphrase",
    "PresenceGate",
    "Protection",
    "Provider",
    "Require",
    "Secret",
    "SecretServiceOptions",
    "SecureStorage",
    "Session",
    "State",
    "StoreFacts",
    "StoreItemKey",
    "SystemdCredential",
    "TokenStorage",
    "TpmKey",
    "UnlockedVault",
    "VaultOptions",
    "WindowsOptions",
    "WindowsPersistence",
    "__version__",
    "check_fresh_install",
}

#: Loaded by nobody who only says `import tokenkeep`.
HEAVY = {
    "_sqlite3",
    "aiohttp",
    "anyio",
    "asyncio",
    "click",
    "cryptography",
    "httpx",
    "httpx2",
    "jeepney",
    "joserfc",
    "platformdirs",
    "requests",
    "rich",
    "sqlite3",
    "typing",
}

#: Not loaded by `tokenkeep get` or by `tokenkeep token` with a fresh shared token: each of these
#: costs a noticeable part of an interpreter's own start-up (docs/explanation/start-up.md).
COSTLY = {
    *HEAVY - {"_sqlite3", "cryptography"},
    "concurrent.futures",
    "contextlib",
    "cryptography.hazmat.primitives.ciphers.aead",
    "dataclasses",
    "enum",
    "hashlib",
    "inspect",
    "json",
    "logging",
    "pathlib",
    "re",
    "tomllib",
}

#: Modules and folders that are values and decisions only.
PURE = (
    "fields.py",
    "vault/format.py",
    "vault/envelope.py",
    "session/grant.py",
    "tokens/record.py",
    "oauth/messages.py",
)
EFFECTS = {
    "aiohttp",
    "asyncio",
    "http",
    "httpx",
    "httpx2",
    "os",
    "pathlib",
    "requests",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
    "threading",
    "urllib.request",
}

#: An optional dependency lives in exactly one file, or in one folder made for it.
OPTIONAL_HOMES = {
    "cryptography": ("crypto.py",),
    "sqlite3": ("vault/",),
    "_sqlite3": ("vault/",),
    "httpx2": ("oauth/transport.py", "integrations/httpx2.py"),
    "httpx": ("integrations/httpx.py",),
    "requests": ("integrations/requests.py",),
    "aiohttp": ("integrations/aiohttp.py",),
    "joserfc": ("oauth/idtoken.py", "testing/"),
    "anyio": ("aio/",),
    "trio": (),
    "click": ("cli/",),
    "rich": ("cli/",),
    "jnius": ("native/android/jvm.py",),
    "java": ("native/android/jvm.py",),
    "keyring": ("migrate/keyring.py",),
    "secretstorage": ("migrate/keyring.py",),
    "dotenv": ("migrate/dotenv.py",),
    "hypothesis": ("testing/",),
    "pytest": ("testing/",),
}


def imported_by(file: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function; typing-only ones too."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def loaded_by(statement: str) -> set[str]:
    """What `sys.modules` holds after a statement in an interpreter of its own."""
    program = f"{statement}\nimport sys; print(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    loaded: set[str] = set(answer.stdout.split())
    return loaded


def test_the_public_names_are_these() -> None:
    """What applications may rely on is a closed list."""
    assert sorted(PUBLIC) == sorted(tokenkeep.__all__)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there(name: str) -> None:
    """A lazy name leads somewhere."""
    assert getattr(tokenkeep, name) is not None


def test_importing_the_package_loads_nothing_heavy() -> None:
    """`import tokenkeep` costs next to nothing; what is needed is loaded when it is used."""
    before = loaded_by("pass")
    loaded = loaded_by("import tokenkeep")
    assert "tokenkeep" in loaded
    assert set() == (loaded - before) & HEAVY


@pytest.mark.parametrize("verb", [("get", "name"), ("token",)], ids=["get", "token"])
def test_a_hot_command_loads_nothing_costly(verb: tuple[str, ...], tmp_path: Path) -> None:
    """The two commands that scripts start again and again stay within a few imports."""
    place, key = str(tmp_path / "vault"), tokenkeep.KeyFile(tmp_path / "key")
    with (
        AuthorizationServer() as server,
        tokenkeep.SecureStorage("org.example", tokenkeep.VaultOptions(place, key)) as storage,
    ):
        storage.write("name", "s3cret")
        provider = tokenkeep.Provider(server.issuer, client_id="notes")
        tokens = tokenkeep.TokenStorage(storage)
        with tokenkeep.Session(provider, tokens, share_access_tokens=True) as session:
            session.begin(server.login("notes"))
            values = {"get": "s3cret", "token": session.access_token().reveal()}
    program = (
        "import sys; from tokenkeep.cli.main import run; code = run(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    options = ["--app=org.example", f"--store=vault:{place}", f"--key-file={key.path}"]
    answer = subprocess.run(
        [sys.executable, "-c", program, *options, *verb],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (0, values[verb[0]]) == (answer.returncode, answer.stdout)
    assert set() == (set(answer.stderr.split()) - loaded_by("pass")) & COSTLY


def test_every_file_has_one_idea() -> None:
    """A file of 500 lines or more says at its top why it is one file."""
    assert len(FILES) > 20
    long = [file for file in FILES if len(file.read_text(encoding="utf-8").splitlines()) >= 500]
    unexplained = [
        str(file.relative_to(SOURCE))
        for file in long
        if "one file because" not in (ast.get_docstring(ast.parse(file.read_bytes())) or "")
    ]
    assert [] == unexplained


def test_every_module_says_what_it_is_for() -> None:
    """A module begins with a docstring, and so does every package."""
    silent = [
        str(file.relative_to(SOURCE))
        for file in FILES
        if not ast.get_docstring(ast.parse(file.read_bytes()))
    ]
    assert [] == silent


def test_every_folder_is_a_package() -> None:
    """A folder without `__init__.py` is invisible to the tools that guard the layers."""
    folders = {file.parent for file in FILES}
    assert [] == [str(folder) for folder in folders if not (folder / "__init__.py").exists()]


def test_imports_point_down() -> None:
    """The layers hold, and the tool that says so looked at every file."""
    program = "from importlinter.cli import lint_imports_command as main; main()"
    answer = subprocess.run(
        [sys.executable, "-c", program, "--no-cache", "--no-logo"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "COLUMNS": "100"},
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    analysed = re.search(r"Analyzed (\d+) files", answer.stdout)
    assert analysed is not None, answer.stdout
    assert len(FILES) == int(analysed[1])
    assert int(analysed[1]) > 20


@pytest.mark.parametrize("package", sorted(OPTIONAL_HOMES))
def test_a_dependency_has_one_home(package: str) -> None:
    """Raw cryptography, the database and every optional package are reached in one place each."""
    homes = OPTIONAL_HOMES[package]
    strangers = [
        name
        for file in FILES
        if not (name := file.relative_to(SOURCE).as_posix()).startswith(homes or ("\0",))
        and any(module.split(".")[0] == package for module in imported_by(file))
    ]
    assert [] == strangers


@pytest.mark.parametrize("name", PURE)
def test_decisions_and_formats_do_no_input_or_output(name: str) -> None:
    """Formats and decisions are functions on values: no system, no threads, no network."""
    file = SOURCE / name
    assert file.exists()
    imported = set(imported_by(file))
    assert set() == (imported | {module.split(".")[0] for module in imported}) & EFFECTS


def test_nothing_in_the_repository_names_the_machine_it_was_written_on() -> None:
    """The project speaks of itself alone."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    names = [name for name in listed.stdout.split("\0") if name]
    assert len(names) > 20
    home = str(REPOSITORY) + "/"
    found = [
        name
        for name in names
        if (REPOSITORY / name).is_file() and home.encode() in (REPOSITORY / name).read_bytes()
    ]
    assert [] == found
