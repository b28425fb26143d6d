"""Every class, method and number of arguments that we or the stand-ins use exists on Android.

The stand-ins prove what our code does with Android's answers; that Android has what we ask for is
read from the typed signatures of its whole API (the package chaquopy-stubs-android).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import files
from pathlib import Path

import pytest

import tokenkeep.native.android
from support.java import tool

BINDING = Path(tokenkeep.native.android.__file__).parent
#: Classes that are not Android's: Chaquopy's runtime, python-for-android's, and our own.
NOT_ANDROIDS = ("com.chaquo.", "org.kivy.", "org.tokenkeep.")
CLASS_NAME = re.compile(r"(android|java|javax)(\.\w+)*\.[A-Z][\w$]*")
#: What a call gives, where it is of a class that no line loads by name.
RESULTS = (
    "android.content.Context",
    "android.content.SharedPreferences",
    "android.content.pm.PackageManager",
    "android.hardware.biometrics.BiometricPrompt",
    "java.io.File",
    "java.lang.Throwable",
    "java.util.Map",
    "java.util.Set",
    "java.security.Key",
)
#: Methods of what is not Android's: pyjnius, Chaquopy, and our own Java file.
OTHERS_METHODS = {"getPlatform", "getApplication", "waitFor"}
#: The stand-ins' own members, which nothing of ours calls.
STAND_INS_OWN = {
    ("android.hardware.biometrics.BiometricPrompt", "met"),
    ("android.security.keystore.KeyInfo", "KeyInfo"),
}


@cache
def signatures(module: str) -> dict[str, dict[str, set[int | None]]]:
    """Class -> member -> how many arguments it takes; None for a field or for any number."""
    path = module.replace(".", "/").split("/")
    name = "/".join([f"{path[0]}-stubs", *path[1:], "__init__.pyi"])
    found = [file for file in files("chaquopy-stubs-android") or () if str(file) == name]
    if not found:
        return {}
    tree = ast.parse(Path(str(found[0].locate())).read_text(encoding="utf-8"))
    return dict(_classes(tree, ""))


def _classes(
    tree: ast.Module | ast.ClassDef, outer: str
) -> Iterator[tuple[str, dict[str, set[int | None]]]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            members: dict[str, set[int | None]] = {}
            for member in node.body:
                if isinstance(member, ast.FunctionDef):
                    static = any(
                        isinstance(each, ast.Name) and each.id == "staticmethod"
                        for each in member.decorator_list
                    )
                    many = len(member.args.posonlyargs) + len(member.args.args) - (not static)
                    takes = None if member.args.vararg else many
                    members.setdefault(member.name, set()).add(takes)
                elif isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
                    members.setdefault(member.target.id, set()).add(None)
            members["<bases>"] = set()
            yield outer + node.name, members
            yield from _classes(node, f"{outer}{node.name}$")


def members_of(name: str) -> dict[str, set[int | None]] | None:
    """The members of a class by its Java name, `Outer$Inner` for a nested one; None if unknown."""
    package, _, last = name.rpartition(".")
    return signatures(package).get(last)


def loaded() -> set[str]:
    """Every class name that the binding loads."""
    names = set()
    for file in BINDING.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and CLASS_NAME.fullmatch(text):
                names.add(text)
    return names


def calls() -> Iterator[tuple[str, ast.Call, ast.Attribute]]:
    """Every call of a method with a Java-like name in the binding."""
    for file in sorted(BINDING.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = node.func.attr
                if (re.search(r"[a-z][A-Z]", name) and "_" not in name) or name in JAVA_WORDS:
                    yield file.name, node, node.func


#: Java's methods of one word, which Python's style does not tell apart.
JAVA_WORDS = {"init", "unwrap", "authenticate", "load", "build"}


def test_every_class_we_load_exists() -> None:
    """By its full name, in API level 36."""
    names = loaded()
    assert len(names) > 30
    unknown = [name for name in names if members_of(name) is None]
    assert members_of("android.content.Contexts") is None
    assert [] == sorted(unknown)


def test_every_method_we_call_exists_with_as_many_arguments() -> None:
    """On one of the classes that we load or are given."""
    known: dict[str, set[int | None]] = {}
    for name in (*loaded(), *RESULTS):
        for member, takes in (members_of(name) or {}).items():
            known.setdefault(member, set()).update(takes)
    seen = 0
    strange = []
    for file, call, method in calls():
        if method.attr in OTHERS_METHODS:
            continue
        if method.attr == "load" and ast.unparse(method.value) in ("way", "self"):
            continue  # the bridge's own
        seen += 1
        takes = known.get(method.attr, set())
        if not takes & {None, len(call.args)}:
            strange.append(f"{file}:{call.lineno}: {method.attr}/{len(call.args)}")
    assert seen > 35
    assert [] == strange
    assert "getNoBackupDirectory" not in known
    assert {0} == known["getSecurityLevel"]


def test_java_is_called_on_plain_names_with_plain_arguments() -> None:
    """Nothing runs between looking a method up and calling it (see `native/android/jvm.py`)."""
    wrong = []
    for file, call, method in calls():
        loads = isinstance(method.value, ast.Call) and ast.unparse(method.value).startswith(
            ("way.load(", "self.load(")
        )
        chained = not (loads or isinstance(method.value, ast.Name | ast.Attribute))
        if chained or not all(isinstance(each, ast.Name | ast.Constant) for each in call.args):
            wrong.append(f"{file}:{call.lineno}: {ast.unparse(call)}")
    assert [] == wrong


@pytest.mark.requires("java")
def test_stand_ins_have_nothing_that_android_has_not(lab_classes: Path) -> None:
    """Every public member of a stand-in exists on Android, with as many arguments."""
    found = sorted(lab_classes.glob("android/**/*.class"))
    assert len(found) > 15
    invented = []
    for file in found:
        name = str(file.relative_to(lab_classes).with_suffix("")).replace("/", ".")
        if name.endswith("BiometricPrompt$Person") or re.search(r"\$\d+$", name):
            continue
        real = members_of(name)
        if real is None:
            invented.append(name)
            continue
        for line in tool("javap", "-public", "-cp", str(lab_classes), name).splitlines():
            member = re.search(r"([\w.$]+)\(([^)]*)\)", line)
            if member is None:
                field = re.search(r"(\w+);$", line)
                if field is not None and field[1] not in real:
                    invented.append(f"{name}.{field[1]}")
                continue
            word = member[1].rpartition(".")[2].rpartition("$")[2]
            is_constructor = member[1] == name
            many = len([each for each in member[2].split(",") if each.strip()])
            takes = real.get("__init__" if is_constructor else word, set())
            if (name, word) in STAND_INS_OWN or word == "toString":
                continue
            if is_constructor and many == 0 and not takes:
                continue  # javac's own
            if not takes & {None, many}:
                invented.append(f"{name}.{word}/{many}")
    assert [] == invented
