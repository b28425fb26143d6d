"""AppleOptions: what can be asked for together, and what is refused with its replacement."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tokenkeep.backends.apple import (
    AccessControl,
    Accessibility,
    AppleOptions,
    AppleStore,
    Combine,
    Constraint,
    Keychain,
)
from tokenkeep.errors import StoreUnavailable, UnsupportedOption
from tokenkeep.item import Call
from tokenkeep.select import candidates
from tokenkeep.store import Isolation, Protection

PROTECTED = Keychain.DATA_PROTECTION
PRESENCE = AccessControl(Constraint.USER_PRESENCE)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"accessibility": Accessibility.ALWAYS}, "Accessibility.AFTER_FIRST_UNLOCK"),
        (
            {"accessibility": Accessibility.ALWAYS_THIS_DEVICE_ONLY},
            "Accessibility.AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY",
        ),
        (
            {
                "synchronizable": True,
                "accessibility": Accessibility.WHEN_UNLOCKED_THIS_DEVICE_ONLY,
            },
            "accessibility=Accessibility.WHEN_UNLOCKED",
        ),
        (
            {
                "synchronizable": True,
                "accessibility": Accessibility.AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY,
            },
            "accessibility=Accessibility.AFTER_FIRST_UNLOCK",
        ),
        (
            {
                "synchronizable": True,
                "accessibility": Accessibility.WHEN_PASSCODE_SET_THIS_DEVICE_ONLY,
            },
            "accessibility=Accessibility.WHEN_UNLOCKED",
        ),
        ({"synchronizable": True, "access_control": PRESENCE}, None),
        ({"keychain": PROTECTED, "path": "some.keychain-db"}, None),
        ({"accessibility": "kSecAttrAccessibleWhenUnlocked"}, None),
        ({"keychain": "file"}, None),
        ({"access_control": Constraint.USER_PRESENCE}, None),
        ({"access_group": ""}, None),
        ({"label": "a\0b"}, None),
    ],
)
def test_refused(arguments: dict[str, Any], hint: str | None) -> None:
    """When the options are made; a deprecated option names what to take instead."""
    with pytest.raises(UnsupportedOption) as caught:
        AppleOptions(**arguments)
    if hint is not None:
        assert (caught.value.hint or "").endswith(hint)


@pytest.mark.parametrize(
    "ignored",
    [
        {"accessibility": Accessibility.WHEN_UNLOCKED},
        {"access_group": "TEAM.group"},
        {"synchronizable": True},
        {"access_control": PRESENCE},
    ],
    ids=lambda ignored: next(iter(ignored)),
)
def test_file_keychain_ignores_nothing_silently(ignored: dict[str, Any]) -> None:
    """Asked for by name, by a path, or because it is what macOS has: an error that names both."""
    for where in ({"keychain": Keychain.FILE}, {"path": "some.keychain-db"}):
        with pytest.raises(UnsupportedOption, match=f"file keychain .*{next(iter(ignored))}"):
            AppleOptions(**where, **ignored)
    options = AppleOptions(**ignored)  # fine on iOS
    assert PROTECTED is options.keychain_on("ios")
    with pytest.raises(UnsupportedOption, match="file keychain") as caught:
        AppleStore(options, platform="darwin")
    assert "Keychain.DATA_PROTECTION" in (caught.value.hint or "")


def test_which_keychain_is_meant() -> None:
    """The file keychain on macOS unless asked otherwise; on iOS the other one, its only one."""
    assert Keychain.FILE is AppleOptions().keychain_on("darwin")
    assert PROTECTED is AppleOptions(keychain=PROTECTED).keychain_on("darwin")
    assert PROTECTED is AppleOptions().keychain_on("ios")
    for options in (AppleOptions(keychain=Keychain.FILE), AppleOptions(path="a.keychain-db")):
        with pytest.raises(UnsupportedOption, match="iOS has no file keychain"):
            options.keychain_on("ios")


@pytest.mark.parametrize(
    ("constraints", "arguments"),
    [
        ((), {}),
        ((Constraint.USER_PRESENCE, Constraint.BIOMETRY_ANY), {"combine": Combine.ANY}),
        ((Constraint.BIOMETRY_ANY, Constraint.BIOMETRY_CURRENT_SET), {"combine": Combine.ANY}),
        ((Constraint.BIOMETRY_ANY, Constraint.DEVICE_PASSCODE), {}),
        ((Constraint.BIOMETRY_ANY,), {"combine": Combine.ALL}),
        ((Constraint.COMPANION, Constraint.COMPANION), {"combine": Combine.ALL}),
        (("biometryAny",), {}),
        ((Constraint.BIOMETRY_ANY, Constraint.DEVICE_PASSCODE), {"combine": "or"}),
    ],
)
def test_access_control_that_cannot_be(constraints: Any, arguments: Any) -> None:
    """The system's own rules, before it is asked."""
    with pytest.raises(UnsupportedOption):
        AccessControl(*constraints, **arguments)


def test_access_control_has_apples_flags() -> None:
    """The bits of SecAccessControlCreateFlags."""
    assert 1 == PRESENCE.flags
    assert 1 << 31 == AccessControl(application_password=True).flags
    both = AccessControl(Constraint.BIOMETRY_CURRENT_SET, Constraint.COMPANION, combine=Combine.ALL)
    assert 1 << 3 | 1 << 5 | 1 << 15 == both.flags
    reordered = AccessControl(
        Constraint.COMPANION, Constraint.BIOMETRY_CURRENT_SET, combine=Combine.ALL
    )
    assert both == reordered
    assert 1 == len({both, reordered})
    assert both != PRESENCE
    assert "AccessControl(Constraint.USER_PRESENCE)" == repr(PRESENCE)


def test_options_are_values(tmp_path: Path) -> None:
    """Equal by what they say, and not to be changed."""
    assert AppleOptions(label="a") == AppleOptions(label="a")
    assert AppleOptions(label="a") != AppleOptions()
    assert str(tmp_path / "a") == AppleOptions(path=tmp_path / "a").path
    with pytest.raises(AttributeError):
        AppleOptions().label = "b"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        PRESENCE.combine = None


@pytest.mark.parametrize("accessibility", list(Accessibility)[:5])
def test_facts_follow_the_accessibility(accessibility: Accessibility) -> None:
    """Backups and the locked device are what the class says."""
    facts = AppleStore(AppleOptions(accessibility=accessibility), platform="ios").facts
    assert facts.in_backups is not accessibility.name.endswith("THIS_DEVICE_ONLY")
    assert facts.readable_when_locked is accessibility.name.startswith("AFTER_FIRST_UNLOCK")
    assert (Protection.HARDWARE, Isolation.APPLICATION) == (facts.protection, facts.isolation)
    assert (True, False, False) == (facts.survives_uninstall, facts.syncs, facts.may_prompt)
    assert accessibility.value in " ".join(facts.notes)


def test_facts_follow_the_other_options() -> None:
    """A group shares, synchronizable travels, access control asks and keeps the locked out."""
    shared = AppleStore(
        AppleOptions(access_group="TEAM.group", synchronizable=True), platform="ios"
    ).facts
    assert (Isolation.USER, True) == (shared.isolation, shared.syncs)
    gated = AppleStore(
        AppleOptions(access_control=PRESENCE, accessibility=Accessibility.AFTER_FIRST_UNLOCK),
        platform="ios",
    ).facts
    assert (True, False) == (gated.may_prompt, gated.readable_when_locked)
    file = AppleStore(AppleOptions(), platform="darwin").facts
    assert (Protection.LOGIN, Isolation.USER) == (file.protection, file.isolation)
    assert (True, True, None) == (file.may_prompt, file.in_backups, file.readable_when_locked)


def test_anywhere_else_it_is_unavailable() -> None:
    """Importable and comparable everywhere; using it says where it exists."""
    store = AppleStore(AppleOptions(), platform="linux")
    for use in (lambda: store.names("s", Call()), lambda: store.facts and store.names("s", Call())):
        with pytest.raises(StoreUnavailable, match="macOS and iOS only"):
            use()


def test_doctor_names_it_on_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """With where it lives as its reason."""
    monkeypatch.setattr(sys, "platform", "linux")
    apple = next(each for each in candidates([]) if each.name == "apple-keychain")
    assert (False, "only on darwin, ios") == (apple.usable, apple.reason)


def test_options_load_no_framework() -> None:
    """Naming the options imports neither a library nor `select`."""
    code = (
        "import sys; from tokenkeep import AppleOptions; AppleOptions();"
        "assert 'tokenkeep.select' not in sys.modules; assert '_sqlite3' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
