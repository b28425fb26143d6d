"""A device in a directory, for tests that run in a process with a virtual machine of their own.

Such a process is started by `test_on_a_jvm.py`, which compiles the lab and says where its classes
are; stores opened in further processes start a machine of theirs over the same directory.
"""

from __future__ import annotations

import os
from typing import Any

from tokenkeep.backends.android import AndroidOptions, AndroidStore

#: Where the compiled classes are; not TOKENKEEP_..., which every test's environment is cleared of.
CLASSES = "ANDROID_LAB_CLASSES"


def load(name: str) -> Any:
    """A Java class; starts the virtual machine at the first call."""
    import jnius_config

    if not jnius_config.vm_running:
        jnius_config.set_classpath(os.environ[CLASSES])
        # Without signal handlers of its own, and small: several run at once.
        jnius_config.add_options("-Xrs", "-Xmx128m", "-Xshare:auto", "-XX:TieredStopAtLevel=1")
    from jnius import autoclass

    return autoclass(name)


def device(directory: str) -> Any:
    """The lab's device over this directory, with Android's defaults and no faults."""
    found = load("org.tokenkeep.lab.Device")
    found.use(directory)
    return found


def faults() -> Any:
    """What the Keystore throws next."""
    return load("org.tokenkeep.lab.Faults")


def people() -> Any:
    """Who meets the next prompts."""
    return load("org.tokenkeep.lab.People")


def open_store(directory: str, options: AndroidOptions | None = None) -> AndroidStore:
    """The store of an application on that device."""
    if os.environ.get("ANDROID_LAB_DEVICE") != directory or not _is_running():
        device(directory)
        os.environ["ANDROID_LAB_DEVICE"] = directory
    return AndroidStore(AndroidOptions() if options is None else options)


def files_under(directory: str) -> dict[str, bytes]:
    """Every file of the device with its content: what a failure must leave as it is."""
    found = {}
    for folder, _folders, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, directory)] = file.read()
    return found


def _is_running() -> bool:
    import jnius_config

    return bool(jnius_config.vm_running)
