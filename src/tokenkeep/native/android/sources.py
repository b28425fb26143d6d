"""What an application's build takes from this package: a Java file and the backup rules.

For the machine that builds; nothing here needs Android.
"""

from __future__ import annotations

import os

_HERE = os.path.dirname(os.path.abspath(__file__))


def java_folder() -> str:
    """The root of the Java sources: `PromptOutcome`, for applications that show the prompt."""
    return os.path.join(_HERE, "java")


def resource_folder() -> str:
    """A `res` folder whose `xml` keeps tokenkeep's files out of backups and transfers.

    `tokenkeep_data_extraction_rules` is for Android 12 and later, `tokenkeep_backup_rules` for the
    versions before.
    """
    return os.path.join(_HERE, "res")
