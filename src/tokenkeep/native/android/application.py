"""The Android application this program runs in: its directories, preferences, features."""

from __future__ import annotations

from typing import Any

from tokenkeep.errors import StoreFull, StoreUnavailable
from tokenkeep.item import Call
from tokenkeep.native.android.jvm import Bridge, JavaThrown, run_here
from tokenkeep.native.android.keystore import settled

FEATURE_STRONGBOX = "android.hardware.strongbox_keystore"
FEATURE_HARDWARE_KEYSTORE = "android.hardware.hardware_keystore"
_MODE_PRIVATE = 0


def context(call: Call) -> Any:
    """The application's `android.content.Context`.

    Raises:
        MissingExtra, StoreUnavailable: there is no way to Java, or no application.
        StoreTimeout: another call takes too long.
    """
    problem: str | None = None
    try:
        return run_here(call, "looking for the application", lambda way: way.context())
    except JavaThrown as exc:
        problem = str(exc)
    raise StoreUnavailable(f"the application does not answer: {problem}")


def no_backup_directory(call: Call) -> str:
    """The application's private directory that no backup holds."""
    here = context(call)

    def ask(_way: Bridge) -> str:
        directory = here.getNoBackupFilesDir()
        return str(directory.getAbsolutePath())

    return settled(call, "asking for the application's directory", None, ask)


def files_directory(call: Call) -> str:
    """The application's private directory, which a backup holds unless it is told otherwise."""
    here = context(call)

    def ask(_way: Bridge) -> str:
        directory = here.getFilesDir()
        return str(directory.getAbsolutePath())

    return settled(call, "asking for the application's directory", None, ask)


def has_feature(call: Call, feature: str) -> bool:
    """Whether the device has a feature, by its name in `PackageManager`."""
    here = context(call)

    def ask(_way: Bridge) -> bool:
        packages = here.getPackageManager()
        return bool(packages.hasSystemFeature(feature))

    return settled(call, "asking for a feature of the device", None, ask)


def package_name(call: Call) -> str:
    """The application's package, which other libraries name their keys after."""
    here = context(call)
    return settled(call, "asking for the package", None, lambda _way: str(here.getPackageName()))


def preferences(call: Call, name: str) -> dict[str, str]:
    """Every entry of a SharedPreferences file that is text; empty if there is no such file."""
    here = context(call)

    def read(_way: Bridge) -> dict[str, str]:
        file = here.getSharedPreferences(name, _MODE_PRIVATE)
        entries = file.getAll()
        keys = entries.keySet()
        found = {}
        for key in keys.toArray():
            value = entries.get(key)
            if isinstance(value, str):
                found[str(key)] = value
        return found

    return settled(call, "reading the application's preferences", None, read)


def remove_preferences(call: Call, name: str, keys: list[str]) -> None:
    """Takes entries out of a SharedPreferences file, in one durable commit.

    Raises:
        StoreFull: Android could not write the file; nothing changed.
    """
    here = context(call)

    def remove(_way: Bridge) -> bool:
        file = here.getSharedPreferences(name, _MODE_PRIVATE)
        editor = file.edit()
        for key in keys:
            editor.remove(key)
        return bool(editor.commit())

    if not settled(call, "writing the application's preferences", None, remove):
        raise StoreFull("Android could not write the application's preferences")
