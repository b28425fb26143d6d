"""What an application's build takes from the package is there, and names the right files."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tokenkeep.native.android.sources import java_folder, resource_folder

EXCLUDED = {("file", "tokenkeep"), ("sharedpref", "tokenkeep")}
APPLICATION = "/data/user/0/org.example.notes"
#: Where Android's Auto Backup looks for a domain's files.
DOMAINS = {"file": f"{APPLICATION}/files", "sharedpref": f"{APPLICATION}/shared_prefs"}
#: What an application finds, by who starts Python in it: its environment, and whether Python itself
#: knows that this is Android.
STARTED_BY = {
    "chaquopy": ({"HOME": f"{APPLICATION}/files"}, True),
    "python-for-android": ({"ANDROID_ARGUMENT": f"{APPLICATION}/files/app"}, False),
}


def test_java_file_is_shipped_under_its_package() -> None:
    """javac wants a file where its package says."""
    file = Path(java_folder()) / "org/tokenkeep/android/PromptOutcome.java"
    assert "package org.tokenkeep.android;" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "root", "sections"),
    [
        ("tokenkeep_backup_rules", "full-backup-content", ["."]),
        (
            "tokenkeep_data_extraction_rules",
            "data-extraction-rules",
            ["cloud-backup", "device-transfer"],
        ),
    ],
)
def test_backup_rules_leave_our_files_out(name: str, root: str, sections: list[str]) -> None:
    """Every section excludes the vault's directory and the configuration's, and includes nothing.

    One `include` would turn the rules round: everything else would be left out.
    """
    tree = ET.parse(Path(resource_folder()) / "xml" / f"{name}.xml").getroot()
    assert root == tree.tag
    assert [] == tree.findall(".//include")
    for section in sections:
        found = tree.find(section)
        assert found is not None
        assert EXCLUDED == {(each.get("domain"), each.get("path")) for each in found}


@pytest.mark.requires("POSIX paths")
@pytest.mark.parametrize("started_by", sorted(STARTED_BY))
def test_backup_rules_name_the_directories_that_are_used(started_by: str) -> None:
    """What we keep beside the vault lies where the rules say, whichever Python this is."""
    environment, is_known = STARTED_BY[started_by]
    program = (
        "import sys\n"
        "sys.modules['jnius'] = None\n"  # the one that the tests have knows no application
        f"sys.path.append({APPLICATION + '/files/app'!r})\n"
        f"if {is_known}: sys.getandroidapilevel = lambda: 24\n"
        "from tokenkeep import paths\n"
        "assert 'android' == paths.platform()\n"
        "print(paths.config_directory(), paths.data_directory(), paths.state_directory())\n"
    )
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("SHELL", "PREFIX", "HOME") and not name.startswith("XDG_")
    }
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env={**inherited, "ANDROID_DATA": "/data", "ANDROID_ROOT": "/system", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert 0 == answer.returncode, answer.stderr
    used = answer.stdout.split()
    assert 3 == len(used)
    assert {f"{DOMAINS[domain]}/{path}" for domain, path in EXCLUDED} == set(used)
