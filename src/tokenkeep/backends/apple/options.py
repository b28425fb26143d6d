"""Which keychain, and how its items are protected; importable on every platform.

Combinations that a keychain does not take are refused when the options are made, not when the
first secret is written. Nothing here does input or output.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum

from tokenkeep.errors import UnsupportedOption


class Keychain(Enum):
    """The two implementations; iOS has the first alone."""

    #: Protection classes, access groups, access control; a program needs an entitlement for it.
    DATA_PROTECTION = "data-protection"
    #: The macOS keychain in a file, such as the login keychain; for any program.
    FILE = "file"


class Accessibility(Enum):
    """When an item opens; the value is the name of Apple's constant.

    The two deprecated ones are here to be refused by name.
    """

    WHEN_UNLOCKED = "kSecAttrAccessibleWhenUnlocked"
    AFTER_FIRST_UNLOCK = "kSecAttrAccessibleAfterFirstUnlock"
    WHEN_UNLOCKED_THIS_DEVICE_ONLY = "kSecAttrAccessibleWhenUnlockedThisDeviceOnly"
    AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY = "kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly"
    #: Removing the passcode erases the items.
    WHEN_PASSCODE_SET_THIS_DEVICE_ONLY = "kSecAttrAccessibleWhenPasscodeSetThisDeviceOnly"
    ALWAYS = "kSecAttrAccessibleAlways"
    ALWAYS_THIS_DEVICE_ONLY = "kSecAttrAccessibleAlwaysThisDeviceOnly"

    @property
    def is_this_device_only(self) -> bool:
        """Whether the item opens on no other device: no sync, and no use in a backup."""
        return self.name.endswith("THIS_DEVICE_ONLY")

    @property
    def is_open_when_locked(self) -> bool:
        """Whether the item opens while the device is locked, after its first unlocking."""
        return self.name.startswith("AFTER_FIRST_UNLOCK")


_REPLACEMENTS = {
    Accessibility.ALWAYS: Accessibility.AFTER_FIRST_UNLOCK,
    Accessibility.ALWAYS_THIS_DEVICE_ONLY: Accessibility.AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY,
}


class Constraint(Enum):
    """What a person may have to prove; the value is Apple's flag."""

    #: Biometry or the passcode, whichever the person likes.
    USER_PRESENCE = 1 << 0
    BIOMETRY_ANY = 1 << 1
    #: Biometry as it is enrolled now: the item is gone when a finger or face is added or removed.
    BIOMETRY_CURRENT_SET = 1 << 3
    DEVICE_PASSCODE = 1 << 4
    #: A paired watch or other companion (macOS).
    COMPANION = 1 << 5


class Combine(Enum):
    """How several constraints go together; the value is Apple's flag."""

    ANY = 1 << 14
    ALL = 1 << 15


_APPLICATION_PASSWORD = 1 << 31


class AccessControl:
    """What a person has to prove each time an item is read.

    Args:
        *constraints: one, or several that `combine` joins; `USER_PRESENCE` stands alone.
        combine: whether any of them will do, or all are needed; for several only.
        application_password: the system asks for a password of the item's own besides.

    Raises:
        UnsupportedOption: the system does not take this combination.
    """

    __slots__ = ("application_password", "combine", "constraints")

    constraints: tuple[Constraint, ...]
    combine: Combine | None
    application_password: bool

    def __init__(
        self,
        *constraints: Constraint,
        combine: Combine | None = None,
        application_password: bool = False,
    ) -> None:
        put = object.__setattr__
        put(self, "constraints", constraints)
        put(self, "combine", combine)
        put(self, "application_password", application_password)
        given = set(constraints)
        if not all(isinstance(each, Constraint) for each in constraints):
            raise UnsupportedOption("an access control is made of Constraint values")
        if combine is not None and not isinstance(combine, Combine):
            raise UnsupportedOption("constraints are joined by Combine.ANY or Combine.ALL")
        if len(given) < len(constraints):
            raise UnsupportedOption("a constraint was given twice")
        if not given and not application_password:
            raise UnsupportedOption(
                "an access control needs a constraint or an application password",
                hint="AccessControl(Constraint.USER_PRESENCE)",
            )
        if Constraint.USER_PRESENCE in given and len(given) > 1:
            raise UnsupportedOption("USER_PRESENCE stands alone: it is biometry or the passcode")
        if {Constraint.BIOMETRY_ANY, Constraint.BIOMETRY_CURRENT_SET} <= given:
            raise UnsupportedOption("only one of BIOMETRY_ANY and BIOMETRY_CURRENT_SET can hold")
        if len(given) > 1 and combine is None:
            raise UnsupportedOption(
                "several constraints have to say how they go together",
                hint="combine=Combine.ANY or combine=Combine.ALL",
            )
        if len(given) < 2 and combine is not None:
            raise UnsupportedOption("there is nothing to combine", hint="drop combine=")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("an AccessControl cannot be changed")

    @property
    def flags(self) -> int:
        """Apple's SecAccessControlCreateFlags."""
        flags = sum(each.value for each in self.constraints)
        flags |= self.combine.value if self.combine is not None else 0
        return flags | (_APPLICATION_PASSWORD if self.application_password else 0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccessControl) and self.flags == other.flags

    def __hash__(self) -> int:
        return hash(self.flags)

    def __repr__(self) -> str:
        parts = [str(each) for each in self.constraints]
        parts += [f"combine={self.combine}"] if self.combine is not None else []
        parts += ["application_password=True"] if self.application_password else []
        return f"AccessControl({', '.join(parts)})"


@dataclass(frozen=True, kw_only=True)
class AppleOptions:
    """Asks for the keychain.

    Args:
        keychain: on macOS the file keychain if None; iOS has the data-protection keychain alone.
        path: a file keychain other than the default one; it must exist.
        accessibility: when items open; `WHEN_UNLOCKED` if None. Data-protection only, as are the
            next two and `access_control`. Writing an item again applies it anew.
        access_group: shares the items with the programs of the same group.
        synchronizable: the items travel to the person's other devices through iCloud. Items with
            and without it are different items.
        label: what Keychain Access shows for the items.
        access_control: what a person has to prove when an item is read.

    Raises:
        UnsupportedOption: the combination cannot be, or an option is deprecated.
    """

    keychain: Keychain | None = None
    path: str | os.PathLike[str] | None = None
    accessibility: Accessibility | None = None
    access_group: str | None = None
    synchronizable: bool = False
    label: str | None = None
    access_control: AccessControl | None = None

    def __post_init__(self) -> None:
        _of_type(self.keychain, Keychain, "keychain")
        _of_type(self.accessibility, Accessibility, "accessibility")
        _of_type(self.access_control, AccessControl, "access_control")
        for name in ("access_group", "label"):
            _of_type(getattr(self, name), str, name)
            if getattr(self, name) == "" or "\0" in (getattr(self, name) or ""):
                raise UnsupportedOption(f"{name} cannot be empty or hold NUL")
        if self.path is not None:
            object.__setattr__(self, "path", os.path.abspath(os.fspath(self.path)))
        replacement = _REPLACEMENTS.get(self.accessibility) if self.accessibility else None
        if replacement is not None:
            raise UnsupportedOption(
                f"{self.accessibility} is deprecated", hint=f"accessibility={replacement}"
            )
        if self.synchronizable and self.accessible.is_this_device_only:
            raise UnsupportedOption(
                "an item of this device only cannot be synchronizable",
                hint=f"accessibility={_travelling(self.accessible)}",
            )
        if self.synchronizable and self.access_control is not None:
            raise UnsupportedOption("an item with access control cannot be synchronizable")
        if self.path is not None and self.keychain is Keychain.DATA_PROTECTION:
            raise UnsupportedOption("the data-protection keychain has no path")
        if self.keychain is Keychain.FILE:
            self._check_file_keychain()
        if self.path is not None:
            self._check_file_keychain()

    @property
    def accessible(self) -> Accessibility:
        """When items open, with the platform's default."""
        return self.accessibility or Accessibility.WHEN_UNLOCKED

    def keychain_on(self, platform: str) -> Keychain:
        """Which keychain these options mean on a platform.

        Raises:
            UnsupportedOption: that keychain cannot honour them.
        """
        if platform == "ios":
            if self.keychain is Keychain.FILE or self.path is not None:
                raise UnsupportedOption(
                    "iOS has no file keychain", hint="AppleOptions(keychain=None, path=None)"
                )
            return Keychain.DATA_PROTECTION
        if self.keychain is None:
            self._check_file_keychain()
            return Keychain.FILE
        return self.keychain

    def _check_file_keychain(self) -> None:
        """Raises UnsupportedOption if something is asked for that the file keychain ignores."""
        ignored = [
            name
            for name in ("accessibility", "access_group", "synchronizable", "access_control")
            if getattr(self, name)
        ]
        if ignored:
            raise UnsupportedOption(
                f"the file keychain cannot honour {', '.join(ignored)}",
                hint="keychain=Keychain.DATA_PROTECTION in a signed program, or drop it",
            )


def _of_type(value: object, kind: type, name: str) -> None:
    if value is not None and not isinstance(value, kind):
        raise UnsupportedOption(f"{name} is a {kind.__name__}, not {type(value).__name__}")


def _travelling(accessibility: Accessibility) -> Accessibility:
    if accessibility.is_open_when_locked:
        return Accessibility.AFTER_FIRST_UNLOCK
    return Accessibility.WHEN_UNLOCKED
