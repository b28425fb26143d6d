"""The Android application this program runs in: its directories, preferences, features.

Its context is looked for on the caller's own thread: a thread that Java did not start finds
Android's classes, and not the application's. Nothing here writes.
"""

from __future__ import annotations

from typing import Any

from tokenkeep.item import Call
from tokenkeep.native.android.jvm import Bridge, bridge
from tokenkeep.native.android.keystore import settled

FEATURE_STRONGBOX = "android.hardware.strongbox_keystore"
FEATURE_HARDWARE_KEYSTORE = "android.hardware.hardware_keystore"
_MODE_PRIVATE = 0


def context() -> Any:
    """The application's `android.content.Context`.

    Raises:
        MissingExtra, StoreUnavailable: there is no way to Java, or no application.
    """
    return bridge().context()


def no_backup_directory(call: Call) -> str:
    """The application's private directory that no backup holds."""
    here = context()
    return settled(
        call,
        "asking for the application's directory",
        None,
        lambda _way: str(here.getNoBackupFilesDir().getAbsolutePath()),
    )


def files_directory(call: Call) -> str:
    """The application's private directory, which a backup holds unless it is told otherwise."""
    here = context()
    return settled(
        call,
        "asking for the application's directory",
        None,
        lambda _way: str(here.getFilesDir().getAbsolutePath()),
    )


def has_feature(call: Call, feature: str) -> bool:
    """Whether the device has a feature, by its name in `PackageManager`."""
    here = context()
    return settled(
        call,
        "asking for a feature of the device",
        None,
        lambda _way: bool(here.getPackageManager().hasSystemFeature(feature)),
    )


def package_name(call: Call) -> str:
    """The application's package, which other libraries name their keys after."""
    here = context()
    return settled(call, "asking for the package", None, lambda _way: str(here.getPackageName()))


def preferences(call: Call, name: str) -> dict[str, str]:
    """Every entry of a SharedPreferences file that is text; empty if there is no such file."""
    here = context()

    def read(_way: Bridge) -> dict[str, str]:
        entries = here.getSharedPreferences(name, _MODE_PRIVATE).getAll()
        found = {str(key): entries.get(key) for key in entries.keySet().toArray()}
        return {key: value for key, value in found.items() if isinstance(value, str)}

    return settled(call, "reading the application's preferences", None, read)
