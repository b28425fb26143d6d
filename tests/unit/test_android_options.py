"""Android's options are values that import everywhere; what cannot be is refused."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import pytest

from tokenkeep.backends.android import (
    AndroidKeystoreKey,
    AndroidOptions,
    Authenticator,
    Place,
    StrongBox,
    UserAuthentication,
)
from tokenkeep.errors import UnsupportedOption
from tokenkeep.vault.slots import is_key

FULL = AndroidOptions(
    strongbox=StrongBox.REQUIRED,
    unlocked_device_required=True,
    user_authentication=UserAuthentication(
        by=Authenticator.BIOMETRIC, invalidated_by_enrolment=True
    ),
    place=Place.FILES,
)


def test_options_are_values() -> None:
    """Equal by what they say, hashable, printable, and they survive the way to another process."""
    assert AndroidOptions() == AndroidOptions()
    assert AndroidOptions() != FULL
    assert 2 == len({AndroidOptions(), FULL, AndroidOptions()})
    assert FULL == pickle.loads(pickle.dumps(FULL))
    assert "StrongBox.REQUIRED" in repr(FULL)
    assert AndroidOptions() != "options"


def test_options_cannot_be_changed() -> None:
    """What was chosen stays chosen."""
    with pytest.raises(AttributeError):
        FULL.strongbox = StrongBox.NEVER


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"strongbox": True}, "StrongBox"),
        ({"strongbox": "required"}, "StrongBox"),
        ({"unlocked_device_required": 1}, "True or"),
        ({"user_authentication": True}, "UserAuthentication"),
        ({"place": "files"}, "Place"),
        ({"encrypted_shared_preferences": True}, "the vault"),
        ({"user_authentication_required": True}, "UserAuthentication()"),
        ({"user_authentication_validity_duration_seconds": 30}, "seconds="),
        ({"user_authentication_valid_while_on_body": True}, "seconds="),
        ({"randomized_encryption_required": False}, "always"),
        ({"strong_box_backed": True}, "StrongBox.REQUIRED"),
        ({"reset_on_error": True}, "storage.reset()"),
    ],
)
def test_impossible_option_is_refused_with_the_replacement(
    arguments: dict[str, Any], hint: str
) -> None:
    """Enums rather than words, and what other libraries call it."""
    with pytest.raises(UnsupportedOption) as caught:
        AndroidOptions(**arguments)
    assert hint in (caught.value.hint or "")


def test_unknown_option_is_a_programming_error() -> None:
    """As for any Python call."""
    arguments: dict[str, Any] = {"strong_bocks": True}
    with pytest.raises(TypeError, match="strong_bocks"):
        AndroidOptions(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"seconds": 0},
        {"seconds": -1},
        {"seconds": 1.5},
        {"seconds": True},
        {"by": "biometric"},
        {"title": ""},
        {"seconds": 30, "invalidated_by_enrolment": True},
        {"by": Authenticator.EITHER, "invalidated_by_enrolment": True},
        {"by": Authenticator.DEVICE_CREDENTIAL, "invalidated_by_enrolment": True},
    ],
)
def test_impossible_authentication_is_refused(arguments: dict[str, Any]) -> None:
    """Combinations that Android would ignore in silence."""
    with pytest.raises(UnsupportedOption):
        UserAuthentication(**arguments)


def test_key_keeps_to_the_vaults_protocol() -> None:
    """It can be a slot of any vault inside an Android application."""
    key = AndroidKeystoreKey(FULL)
    assert is_key(key)
    assert ("android-keystore", "LOGIN", True) == (key.kind, key.protection, key.may_prompt)
    assert AndroidKeystoreKey().may_prompt is False
    assert "AndroidKeystoreKey(AndroidOptions(" in repr(key)


def test_nothing_is_looked_for_before_a_call() -> None:
    """Making a store does no input or output and needs no Java."""
    program = (
        "import sys; from tokenkeep import AndroidOptions;"
        "from tokenkeep.backends.android import AndroidStore; AndroidStore(AndroidOptions());"
        "sys.exit('jnius' in sys.modules or 'java' in sys.modules)"
    )
    assert 0 == subprocess.run([sys.executable, "-c", program], timeout=60).returncode


def test_without_a_bridge_the_extra_is_named() -> None:
    """Neither Chaquopy nor pyjnius: every call says so, and how to get one."""
    program = (
        "import sys; sys.modules['jnius'] = sys.modules['java'] = None\n"
        "from tokenkeep.backends.android import AndroidOptions, AndroidStore, probe\n"
        "from tokenkeep.errors import MissingExtra\n"
        "from tokenkeep.item import Call\n"
        "for attempt in (lambda: probe(AndroidOptions(), Call()),\n"
        "                lambda: AndroidStore(AndroidOptions()).facts,\n"
        "                lambda: AndroidStore(AndroidOptions()).names('a', Call())):\n"
        "    try: attempt()\n"
        "    except MissingExtra as exc: assert exc.extra == 'android' and 'pyjnius' in exc.hint\n"
        "    else: sys.exit(1)\n"
    )
    assert 0 == subprocess.run([sys.executable, "-c", program], timeout=60).returncode


def test_android_without_a_bridge_says_why_no_store_is_chosen() -> None:
    """The platform's own store is the default, and its reason stands in the list."""
    program = (
        "import os, sys; sys.modules['jnius'] = sys.modules['java'] = None\n"
        "os.environ['ANDROID_ARGUMENT'] = 'x'\n"
        "from tokenkeep.select import candidates\n"
        "found = [each for each in candidates([]) if each.name == 'android']\n"
        "assert 1 == len(found) and not found[0].usable\n"
        "assert 'pyjnius' in found[0].reason and 'requirements' in found[0].remedy\n"
    )
    assert 0 == subprocess.run([sys.executable, "-c", program], timeout=60).returncode
