"""A real KeePassXC without a screen: a database that is open and can be locked and opened again.

What it offers to the Secret Service is one group of the database, which the database names.

It asks to unlock before it searches, as it does unless a person switches that off. It saves when it
is locked, not after every change: version 2.7.4 saves on a thread of its own, which ends the
program by a segmentation fault when the next change comes meanwhile.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
import uuid
from functools import cache
from pathlib import Path

from lxml import etree
from pykeepass import create_database

from support.bus import Bus
from support.keyring_daemon import ROOT, SERVICE, KeyringDaemon
from support.waiting import eventually

PASSWORD = "keepassxc password"
_WINDOW = ("org.keepassxc.KeePassXC.MainWindow", "/keepassxc")
_CONFIGURATION = """\
[General]
ConfigVersion=2
UpdateCheckMessageShown=true
MinimizeOnClose=false
AutoSaveAfterEveryChange=false
AutoSaveOnExit=true

[FdoSecrets]
Enabled=true
ShowNotification=false
ConfirmDeleteItem=false
ConfirmAccessItem=false
NoConfirmDeleteItem=true
UnlockBeforeSearch=true

[GUI]
CheckForUpdates=false
"""


class KeePassXC(KeyringDaemon):
    """The program on a bus of its own.

    Args:
        with_group: without one the database offers no collection.
    """

    name = "keepassxc"

    def __init__(self, bus: Bus, *, with_group: bool = True) -> None:
        self.bus = bus
        bus.env["QT_QPA_PLATFORM"] = "offscreen"
        # Where it sees whether another one runs: each test, and each person, has their own.
        bus.env["TMPDIR"] = str(bus.home)
        settings = Path(bus.env["XDG_CONFIG_HOME"]) / "keepassxc" / "keepassxc.ini"
        settings.parent.mkdir(exist_ok=True)
        settings.write_text(_CONFIGURATION)
        (Path(bus.env["XDG_CACHE_HOME"]) / "keepassxc").mkdir(exist_ok=True)
        self.database = bus.home / "tokenkeep.kdbx"
        self.database.write_bytes(_database(with_group))
        self._has_group = with_group
        self.process = self.start()

    @property
    def collection(self) -> str:
        """The collection's path; its last part is made from the database's name."""
        found = self.bus.get(SERVICE, ROOT, "org.freedesktop.Secret.Service", "Collections")
        return str(found[0])

    def lock(self) -> None:
        """Locks the database, as the person does."""
        self.bus.call(*_WINDOW, "org.keepassxc.KeePassXC.MainWindow.lockAllDatabases")
        eventually(self._is_locked, "the database did not lock")

    def unlock(self) -> None:
        """Opens the database with its password."""
        self.bus.call(
            *_WINDOW,
            "org.keepassxc.KeePassXC.MainWindow.openDatabase",
            "ss",
            str(self.database),
            PASSWORD,
        )
        eventually(lambda: not self._is_locked(), "the database did not open")

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the program with the database open."""
        process = self.bus.spawn(
            "keepassxc", "--pw-stdin", str(self.database), input=f"{PASSWORD}\n".encode()
        )
        self.bus.wait_for(SERVICE)
        if self._has_group:
            eventually(self._is_open, "KeePassXC did not open the database", seconds=20.0)
        else:
            # Nothing tells when a database that offers nothing is open, and whoever asks before
            # that ends the program by a segmentation fault.
            wait_until_idle(process.pid)
        method = "org.freedesktop.Secret.Service.ReadAlias"
        self.bus.call(SERVICE, ROOT, method, "s", "default")  # answers when it has settled
        return process

    def _is_locked(self) -> bool:
        collection = self.collection
        interface = "org.freedesktop.Secret.Collection"
        return bool(self.bus.get(SERVICE, collection, interface, "Locked"))

    def _is_open(self) -> bool:
        found = self.bus.get(SERVICE, ROOT, "org.freedesktop.Secret.Service", "Collections")
        return bool(found) and not self._is_locked()


def wait_until_idle(pid: int, seconds: float = 0.3) -> None:
    """Waits until a program has used no processor for so long."""

    def used() -> list[str]:
        # The name in parentheses may hold anything; then follow utime and stime (proc(5)).
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]

    def is_idle() -> bool:
        before = used()
        time.sleep(seconds)
        return before == used()

    eventually(is_idle, "the program is busy", seconds=20.0)


@cache
def _database(with_group: bool) -> bytes:
    """A database that opens quickly: its key is for tests, and so is its derivation."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "made.kdbx"
        made = create_database(str(place), password=PASSWORD)
        group = made.add_group(made.root_group, "secrets")
        if with_group:
            meta = made.tree.find("Meta")
            custom = meta.find("CustomData")
            if custom is None:
                custom = etree.SubElement(meta, "CustomData")
            item = etree.SubElement(custom, "Item")
            etree.SubElement(item, "Key").text = "FDO_SECRETS_EXPOSED_GROUP"
            etree.SubElement(item, "Value").text = f"{{{uuid.UUID(str(group.uuid))}}}"
        derivation = made.kdbx.header.value.dynamic_header.kdf_parameters.data.dict
        derivation["I"].value, derivation["M"].value = 1, 1 << 20
        made.save()
        return place.read_bytes()
