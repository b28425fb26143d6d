"""What an application's build takes from the package is there, and names the right files."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tokenkeep.native.android.sources import java_folder, resource_folder

EXCLUDED = {("file", "tokenkeep"), ("sharedpref", "tokenkeep")}


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
