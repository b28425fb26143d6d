"""Any sequence of calls gives the same answers on the Android store as on the memory store."""

from __future__ import annotations

import os
import shutil
import tempfile

from hypothesis import HealthCheck, settings

from on_android.device import device
from tokenkeep.backends.android import AndroidOptions, AndroidStore
from tokenkeep.testing.machine import store_machine

EXAMPLES = 300 if os.environ.get("CI") == "true" else 40


class AndroidInADirectory(AndroidStore):
    """A store that takes its device with it when it is closed."""

    def __init__(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="tokenkeep-device-")
        device(self.directory)
        super().__init__(AndroidOptions())

    def reopened(self) -> AndroidInADirectory:
        super().close()
        AndroidStore.__init__(self, AndroidOptions())
        return self

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.directory)


TestAndroid = store_machine(AndroidInADirectory, AndroidInADirectory.reopened).TestCase
TestAndroid.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
