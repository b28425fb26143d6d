"""Any sequence of calls gives the same answers on the Android store as on the memory store."""

from __future__ import annotations

import shutil
import tempfile

from on_android.device import device
from support.machines import at_length
from tokenkeep.backends.android import AndroidOptions, AndroidStore
from tokenkeep.testing.machine import store_machine


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
TestAndroid.settings = at_length()
