"""Pages hold together: links lead somewhere, examples compile, words are ours."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from pathlib import Path

import pytest

from support.services import REPOSITORY
from tokenkeep import Provider

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(REPOSITORY)) for page in PAGES]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
#: Words of advertisement, and words that blame the reader.
BANNED = (
    "bank-grade",
    "blazing",
    "bulletproof",
    "effortless",
    "military-grade",
    "obviously",
    "of course",
    "seamless",
    "simply",
    "unbreakable",
    "unhackable",
)
#: The four kinds of page, and what each folder of `docs` must have.
EXPECTED = (
    "docs/tutorial.md",
    "docs/reference/cli.md",
    "docs/reference/environment.md",
    "docs/reference/errors.md",
    "docs/reference/glossary.md",
    "docs/reference/python-api.md",
    "docs/reference/vault-format.md",
    "docs/explanation/secret.md",
    "docs/explanation/sessions.md",
    "docs/explanation/threat-model.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
)


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_page_is_there(name: str) -> None:
    """Every kind of documentation has its pages."""
    assert (REPOSITORY / name).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    """A link inside the repository names a file, and a heading in it."""
    page = REPOSITORY / name
    broken = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert [] == broken


@pytest.mark.parametrize("name", NAMES)
def test_every_page_but_the_readme_is_linked(name: str) -> None:
    """Nobody has to guess that a page exists."""
    page = REPOSITORY / name
    linked = {
        (other.parent / target.partition("#")[0]).resolve()
        for other in PAGES
        if other != page
        for target in LINK.findall(prose(other))
        if not re.match(r"[a-z]+:", target)
    }
    assert name == "README.md" or page.resolve() in linked


@pytest.mark.parametrize("name", NAMES)
def test_files_that_a_page_names_exist(name: str) -> None:
    """A claim that names the test behind it, or code, names something that is there."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    named = re.findall(
        r"`((?:src|tests|scripts|bench|docs|\.ci|\.github)/[\w./-]+)(?:::(\w+))?`", text
    )
    places = {path: REPOSITORY / path for path, _test in named}
    missing = [
        path
        for path, place in places.items()
        if not place.exists() or (place.is_dir() and not any(place.iterdir()))
    ]
    assert [] == sorted(missing)
    functions = [(path, test) for path, test in named if test]
    gone = [
        f"{path}::{test}"
        for path, test in functions
        if f"def {test}(" not in places[path].read_text(encoding="utf-8")
    ]
    assert [] == gone


def test_the_threat_model_names_a_test_for_each_claim() -> None:
    """A claim without a test of that very name behind it is a hope."""
    text = (REPOSITORY / "docs/explanation/threat-model.md").read_text(encoding="utf-8")
    table = text.split("## What we do\n")[1].split("## What we do not do")[0]
    claims = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(claims) > 10
    assert [] == [line for line in claims if "::test_" not in line]


@pytest.mark.parametrize("name", NAMES)
def test_python_examples_compile_and_their_imports_exist(name: str) -> None:
    """An example that cannot be imported teaches the wrong thing."""
    missing = []
    for language, block in FENCED.findall((REPOSITORY / name).read_text(encoding="utf-8")):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tokenkeep"):
                imports = f"from {node.module} import {', '.join(a.name for a in node.names)}"
                try:
                    exec(imports, {})
                except ImportError as exc:
                    missing.append(f"{imports}: {exc}")
    assert [] == missing


@pytest.mark.parametrize("name", NAMES)
def test_no_page_advertises_or_blames(name: str) -> None:
    """The words are plain."""
    text = prose(REPOSITORY / name).lower()
    assert [] == [word for word in BANNED if re.search(rf"\b{re.escape(word)}\b", text)]


def test_the_readme_fits_on_a_few_screens() -> None:
    """150 lines at most."""
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_extra_is_documented() -> None:
    """What can be installed is listed where people look."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert len(extras) > 5
    for name in ("README.md", "docs/reference/python-api.md"):
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        assert [] == [extra for extra in extras if f"`{extra}`" not in text]


def test_every_variable_is_documented() -> None:
    """An environment variable that the code reads is on its page."""
    read = {
        variable
        for file in (REPOSITORY / "src").rglob("*.py")
        for variable in re.findall(r"\bTOKENKEEP_[A-Z_]+[A-Z]\b", file.read_text(encoding="utf-8"))
    }
    page = (REPOSITORY / "docs/reference/environment.md").read_text(encoding="utf-8")
    assert [] == sorted(variable for variable in read if f"`{variable}`" not in page)


def test_what_a_provider_is_made_of_is_on_the_page() -> None:
    """Every parameter, in order, with its default."""
    page = (REPOSITORY / "docs/reference/python-api.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"\*\*`Provider\((.*?)\)`\*\*", page)
    parameters = inspect.signature(Provider).replace(return_annotation=inspect.Signature.empty)
    bare = [
        each.replace(annotation=inspect.Parameter.empty) for each in parameters.parameters.values()
    ]
    assert str(parameters.replace(parameters=bare)).replace("'", '"') == f"({shown})"
