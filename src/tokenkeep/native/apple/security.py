"""Security.framework through ctypes: generic passwords of the keychains, and nothing else.

Every call makes its dictionaries in a `Scope`, asks the framework, and releases all of it. It
returns the framework's status; what a status means is in `status`.
"""

from __future__ import annotations

import ctypes
from functools import cache

from tokenkeep.errors import StoreUnavailable
from tokenkeep.native.apple.core_foundation import (
    CoreFoundation,
    Ref,
    Refs,
    Scope,
    bind,
    constant,
)
from tokenkeep.native.apple.prompts import PromptSwitch
from tokenkeep.native.apple.status import error_for
from tokenkeep.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    #: What an entry of a dictionary may be.
    Value: TypeAlias = "Symbol | Control | KeychainFile | Secret | str | bool"

_FOLDER = "/System/Library/Frameworks"
CORE_FOUNDATION = f"{_FOLDER}/CoreFoundation.framework/CoreFoundation"
SECURITY = f"{_FOLDER}/Security.framework/Security"
PLATFORMS = ("darwin", "ios")

OSStatus = ctypes.c_int32
#: On every Apple platform.
SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "SecItemAdd": (OSStatus, (Ref, Refs)),
    "SecItemCopyMatching": (OSStatus, (Ref, Refs)),
    "SecItemUpdate": (OSStatus, (Ref, Ref)),
    "SecItemDelete": (OSStatus, (Ref,)),
    "SecAccessControlCreateWithFlags": (Ref, (Ref, Ref, ctypes.c_ulong, Refs)),
    "SecCopyErrorMessageString": (Ref, (OSStatus, Ref)),
}
#: On macOS alone, for the file keychain.
MAC_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "SecKeychainOpen": (OSStatus, (ctypes.c_char_p, Refs)),
    "SecKeychainGetStatus": (OSStatus, (Ref, ctypes.POINTER(ctypes.c_uint32))),
    "SecKeychainGetUserInteractionAllowed": (OSStatus, (ctypes.POINTER(ctypes.c_ubyte),)),
    "SecKeychainSetUserInteractionAllowed": (OSStatus, (ctypes.c_ubyte,)),
}
#: A keychain's status: bit 0 says that it is unlocked.
UNLOCKED = 1


class Symbol:
    """A constant of the framework, by its name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Control:
    """What has to be proved before an item opens: an accessibility's name and flags."""

    __slots__ = ("accessibility", "flags")

    def __init__(self, accessibility: str, flags: int) -> None:
        self.accessibility = accessibility
        self.flags = flags


class KeychainFile:
    """A keychain by its path; `in_list` for a search list that has it alone."""

    __slots__ = ("in_list", "path")

    def __init__(self, path: str, in_list: bool = False) -> None:
        self.path = path
        self.in_list = in_list


class Security:
    """Both frameworks, bound; one for a process.

    Args:
        core_foundation, security: the loaded libraries.
        platform: "darwin" or "ios": the latter has no file keychain.
    """

    def __init__(self, core_foundation: ctypes.CDLL, security: ctypes.CDLL, platform: str) -> None:
        self.platform = platform
        self.core = CoreFoundation(core_foundation)
        bind(security, SIGNATURES)
        self._calls = security
        self.prompts: PromptSwitch | None = None
        if platform != "ios":
            bind(security, MAC_SIGNATURES)
            self.prompts = PromptSwitch(self._may_ask, self._let_ask)

    def has(self, name: str) -> bool:
        """Whether this system knows a constant."""
        try:
            constant(self._calls, name)
        except ValueError:
            return False
        return True

    def add(self, attributes: Mapping[str, Value]) -> int:
        """Adds an item; the status."""
        with Scope(self.core) as scope:
            status: int = self._calls.SecItemAdd(self._dictionary(scope, attributes), None)
        return status

    def update(self, query: Mapping[str, Value], changes: Mapping[str, Value]) -> int:
        """Changes the items that match; the status."""
        with Scope(self.core) as scope:
            refs = self._dictionary(scope, query), self._dictionary(scope, changes)
            status: int = self._calls.SecItemUpdate(*refs)
        return status

    def delete(self, query: Mapping[str, Value]) -> int:
        """Deletes the items that match; the status."""
        with Scope(self.core) as scope:
            status: int = self._calls.SecItemDelete(self._dictionary(scope, query))
        return status

    def exists(self, query: Mapping[str, Value]) -> int:
        """Looks whether an item matches, by its attributes, which need no person; the status."""
        with Scope(self.core) as scope:
            return self._copy(scope, {**query, "kSecReturnAttributes": True})[0]

    def copy_data(self, query: Mapping[str, Value]) -> tuple[int, Secret | None]:
        """The status, and the value of the item that matches."""
        with Scope(self.core) as scope:
            status, found = self._copy(scope, {**query, "kSecReturnData": True})
            if status != 0:
                return status, None
            if found is None:  # an item without data
                return status, Secret(b"")
            if self.core.size_of(found) is None:
                raise error_for(-50, "reading")
            return status, Secret(self.core.bytes_of(found))

    def copy_texts(self, query: Mapping[str, Value], attribute: str) -> tuple[int, list[str]]:
        """The status, and one attribute of every item that matches, where it is text."""
        with Scope(self.core) as scope:
            limit = Symbol("kSecMatchLimitAll")
            wanted = {**query, "kSecMatchLimit": limit, "kSecReturnAttributes": True}
            status, found = self._copy(scope, wanted)
            texts = []
            key = constant(self._calls, attribute)
            for item in self.core.elements_of(found):
                text = self.core.text_of(self.core.calls.CFDictionaryGetValue(item, key))
                if text is not None:
                    texts.append(text)
            return status, texts

    def is_unlocked(self, path: str | None) -> bool | None:
        """Whether a file keychain (the default one if None) is open; None if it cannot be told.

        Never asks the person.
        """
        return self.keychain_status(path)[1]

    def keychain_status(self, path: str | None) -> tuple[int, bool | None]:
        """The answer of a file keychain, the default one if None, and whether it is unlocked."""
        state = ctypes.c_uint32()
        with Scope(self.core) as scope:
            keychain = None if path is None else self._keychain(scope, path)
            status: int = self._calls.SecKeychainGetStatus(keychain, ctypes.byref(state))
        return status, bool(state.value & UNLOCKED) if status == 0 else None

    def message(self, status: int) -> str:
        """What the system says about a status; empty if nothing."""
        with Scope(self.core) as scope:
            text = self._calls.SecCopyErrorMessageString(status, None)
            return (self.core.text_of(scope.own(text)) or "") if text else ""

    def _copy(self, scope: Scope, query: Mapping[str, Value]) -> tuple[int, int | None]:
        found = Ref()
        query_ref = self._dictionary(scope, query)
        status: int = self._calls.SecItemCopyMatching(query_ref, ctypes.byref(found))
        return status, scope.own(found.value) if found.value else None

    def _dictionary(self, scope: Scope, entries: Mapping[str, Value]) -> int:
        return scope.dictionary(
            {
                constant(self._calls, name): self._encoded(scope, value)
                for name, value in entries.items()
            }
        )

    def _encoded(self, scope: Scope, value: Value) -> int:
        if isinstance(value, Symbol):
            return constant(self._calls, value.name)
        if isinstance(value, bool):
            return self.core.true if value else self.core.false
        if isinstance(value, Secret):
            return scope.data(value)
        if isinstance(value, Control):
            return self._control(scope, value)
        if isinstance(value, KeychainFile):
            keychain = self._keychain(scope, value.path)
            return scope.array(keychain) if value.in_list else keychain
        return scope.text(value)

    def _control(self, scope: Scope, control: Control) -> int:
        problem = Ref()
        accessibility = constant(self._calls, control.accessibility)
        made = self._calls.SecAccessControlCreateWithFlags(
            None, accessibility, control.flags, ctypes.byref(problem)
        )
        if problem.value:
            code = self.core.calls.CFErrorGetCode(scope.own(problem.value))
            if not made:
                raise error_for(code, "preparing the access control", self.message(code))
        return scope.own(made)

    def _keychain(self, scope: Scope, path: str) -> int:
        keychain = Ref()
        status = self._calls.SecKeychainOpen(path.encode("utf-8"), ctypes.byref(keychain))
        if keychain.value:
            scope.own(keychain.value)
        if status != 0:
            raise error_for(status, f"opening the keychain {path}", self.message(status))
        return keychain.value or scope.own(None)

    def _may_ask(self) -> bool:
        state = ctypes.c_ubyte(1)
        self._calls.SecKeychainGetUserInteractionAllowed(ctypes.byref(state))
        return bool(state.value)

    def _let_ask(self, may_ask: bool) -> None:
        self._calls.SecKeychainSetUserInteractionAllowed(1 if may_ask else 0)


@cache
def security_of(platform: str) -> Security:
    """This process's frameworks.

    Raises:
        StoreUnavailable: this is no Apple platform, or they cannot be loaded.
    """
    if platform not in PLATFORMS:
        raise StoreUnavailable("the keychain exists on macOS and iOS only")
    try:
        return Security(ctypes.CDLL(CORE_FOUNDATION), ctypes.CDLL(SECURITY), platform)
    except (OSError, AttributeError, ValueError) as exc:
        reason = type(exc).__name__
    raise StoreUnavailable(f"the frameworks of the keychain cannot be loaded ({reason})")
