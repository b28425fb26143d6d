"""Constants, numbers, signatures and ownership against what pyobjc knows of Apple's frameworks.

pyobjc generates its metadata from Apple's headers, on a Mac.
"""

from __future__ import annotations

import ctypes
import re
import sys
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from support.services import PYOBJC_METADATA, REPOSITORY
from tokenkeep.backends.apple.options import AccessControl, Combine, Constraint
from tokenkeep.native.apple import core_foundation, security
from tokenkeep.native.apple.status import STATUS

pytestmark = pytest.mark.requires("pyobjc metadata")

PRIVATE = {"errSecUpgradePending"}
SOURCES = [
    *(REPOSITORY / "src" / "tokenkeep" / "native" / "apple").glob("*.py"),
    *(REPOSITORY / "src" / "tokenkeep" / "backends" / "apple").glob("*.py"),
]
OURS = {
    **core_foundation.SIGNATURES,
    **security.SIGNATURES,
    **security.MAC_SIGNATURES,
}


class AnyModule(types.ModuleType):
    """Stands for `objc`, which exists on a Mac alone: takes every call, gives nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return "arm64" if name == "arch" else lambda *_arguments: None


@cache
def metadata(framework: str) -> dict[str, Any]:
    """The tables of a framework."""
    file = Path(PYOBJC_METADATA, framework, "_metadata.py")
    before = sys.modules.get("objc")
    sys.modules["objc"] = AnyModule("objc")
    try:
        tables: dict[str, Any] = {}
        exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), tables)
    finally:
        del sys.modules["objc"]
        if before is not None:
            sys.modules["objc"] = before
    return tables


def numbers(framework: str) -> dict[str, int]:
    """The enumerations of a framework."""
    pairs = re.findall(r"\$(\w+)@(-?\d+)(?=\$)", metadata(framework)["enums"])
    return {name: int(number) for name, number in pairs}


def functions() -> dict[str, Any]:
    """The functions of the two frameworks."""
    return {**metadata("CoreFoundation")["functions"], **metadata("Security")["functions"]}


def types_in(encoding: str) -> Iterator[str]:
    """Each type of an Objective-C encoding: pointer, structure, or size and sign of an integer."""
    sizes = {"i": "4 signed", "I": "4", "q": "8 signed", "Q": "8", "Z": "1", "C": "1", "v": "none"}
    rest = encoding
    while rest := rest.lstrip("nNorR"):  # in, inout, out, const, by reference
        if rest[0] == "^":  # a pointer to whatever comes
            rest = rest.lstrip("^")
            _, rest = cut(rest)
            yield "pointer"
        elif rest[0] == "{":
            structure, rest = cut(rest)
            yield structure
        else:
            yield "pointer" if rest[0] == "@" else sizes[rest[0]]
            rest = rest[1:]


def cut(rest: str) -> tuple[str, str]:
    """The first type, a structure whole, and what comes after it."""
    if rest[0] != "{":
        return rest[0], rest[1:]
    depth = 0
    for place, sign in enumerate(rest):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth == 0:
            return rest[: place + 1], rest[place + 1 :]
    raise AssertionError(rest)


def type_of(ours: Any) -> str:
    """The same of a type of ctypes."""
    if ours is None:
        return "none"
    if ours is core_foundation.CFRange:
        return "{CFRange=qq}"
    if ours in (ctypes.c_void_p, ctypes.c_char_p) or hasattr(ours, "contents"):
        return "pointer"
    is_signed = ours(-1).value < 0
    return f"{ctypes.sizeof(ours)}{' signed' if is_signed else ''}"


@pytest.mark.parametrize("status", sorted(STATUS))
def test_status_has_apples_name_and_number(status: int) -> None:
    """Those in the public headers."""
    name = STATUS[status][0]
    if name in PRIVATE:
        assert name not in numbers("Security")
    else:
        assert status == numbers("Security")[name]


def test_every_constant_that_we_name_exists() -> None:
    """A typing mistake would be found by a Mac only."""
    text = "".join(source.read_text(encoding="utf-8") for source in SOURCES)
    named = set(re.findall(r'"(kSec\w+)"', text))
    known = set(re.findall(r"\$(\w+)(?:@[^$]*)?(?=\$)", metadata("Security")["constants"]))
    assert len(named) > 25
    assert set() == named - known
    # pyobjc has no use for the two other sets of callbacks, and does not list them.
    ours = ("kCFBooleanTrue", "kCFBooleanFalse", "kCFTypeDictionaryKeyCallBacks")
    core = metadata("CoreFoundation")["constants"]
    assert [] == [name for name in ours if not re.search(rf"\${name}[@$]", core)]


def test_flags_are_apples() -> None:
    """Access control, the state of a keychain, the encoding."""
    known = numbers("Security")
    names = {
        Constraint.USER_PRESENCE: "UserPresence",
        Constraint.BIOMETRY_ANY: "BiometryAny",
        Constraint.BIOMETRY_CURRENT_SET: "BiometryCurrentSet",
        Constraint.DEVICE_PASSCODE: "DevicePasscode",
        Constraint.COMPANION: "Companion",
        Combine.ANY: "Or",
        Combine.ALL: "And",
    }
    assert set(names) == {*Constraint, *Combine}
    for flag, name in names.items():
        assert flag.value == known[f"kSecAccessControl{name}"]
    password = AccessControl(application_password=True).flags
    assert password == known["kSecAccessControlApplicationPassword"]
    assert security.UNLOCKED == known["kSecUnlockStateStatus"]
    assert core_foundation.UTF8 == numbers("CoreFoundation")["kCFStringEncodingUTF8"]


@pytest.mark.parametrize("name", sorted(OURS))
def test_function_takes_and_gives_what_apple_says(name: str) -> None:
    """Pointers are pointers, and integers have their size and sign."""
    gives, takes = OURS[name]
    encoding = functions()[name][0].decode()
    assert list(types_in(encoding)) == [type_of(gives), *(type_of(each) for each in takes)]


def test_we_own_what_apple_says_we_own() -> None:
    """Of a result we release: the function gives it away; of one we borrow: it does not."""
    known = functions()

    def gives(name: str) -> bool:
        details = known[name][2] if len(known[name]) > 2 else {}
        return bool(details.get("retval", {}).get("already_cfretained"))

    owned = [name for name in OURS if "Create" in name or name == "SecCopyErrorMessageString"]
    assert len(owned) == 6
    assert [] == [name for name in owned if not gives(name)]
    borrowed = ("CFDictionaryGetValue", "CFArrayGetValueAtIndex", "CFDataGetBytePtr")
    assert [] == [name for name in borrowed if gives(name)]
    for name, argument in (
        ("SecItemCopyMatching", 1),
        ("SecKeychainOpen", 1),
        ("SecAccessControlCreateWithFlags", 3),
    ):
        assert known[name][2]["arguments"][argument]["already_cfretained"]
