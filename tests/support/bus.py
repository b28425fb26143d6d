"""A private session bus in a home of its own, and what is started on it.

Nothing here touches the desktop of whoever runs the tests. Every process is ended by its id, also
when a test fails; what the bus itself activates ends with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jeepney import DBusAddress, MessageType, new_method_call
from jeepney.io.blocking import DBusConnection, open_dbus_connection

from support.waiting import eventually

#: Of the surroundings, what would lead a daemon to a real desktop.
_FOREIGN = ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "GNOME_KEYRING_CONTROL",
            "XAUTHORITY")  # fmt: skip
_BUS = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
#: A session bus that knows no services but those that somebody starts.
_CONFIGURATION = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
  {limits}
</busconfig>
"""


class Refused(Exception):
    """An answer that is an error; its arguments are the error's name and text."""


class Bus:
    """A dbus-daemon, a home and the processes on both. Also a context manager.

    Args:
        env: what the bus and everything on it finds in its environment besides the home.
        activates: whether the bus starts services by itself, as a desktop's does. Another Secret
            Service on the machine would take the place of one that was killed.
        limits: dbus-daemon's own, by their names (dbus-daemon(1)).
    """

    def __init__(
        self,
        env: Mapping[str, str] | None = None,
        *,
        activates: bool = False,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="tokenkeep-bus-"))
        self.processes: list[subprocess.Popen[bytes]] = []
        self._connection: DBusConnection | None = None
        self.env = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        folders = {
            "HOME": self.home,
            "XDG_RUNTIME_DIR": self.home / "run",
            "XDG_DATA_HOME": self.home / "share",
            "XDG_CONFIG_HOME": self.home / "config",
            "XDG_CACHE_HOME": self.home / "cache",
        }
        for name, folder in folders.items():
            folder.mkdir(mode=0o700, exist_ok=True)
            self.env[name] = str(folder)
        self.env.update(env or {})
        self._activates = activates
        self._limits = "".join(
            f'<limit name="{name}">{value}</limit>' for name, value in (limits or {}).items()
        )
        try:
            self.daemon = self._start_daemon(activates)
        except BaseException:
            self.close()
            raise

    def _start_daemon(self, activates: bool) -> subprocess.Popen[bytes]:
        configuration = self.home / "bus.conf"
        configuration.write_text(
            _CONFIGURATION.format(socket=self.home / "bus", limits=self._limits)
        )
        which = "--session" if activates else f"--config-file={configuration}"
        with (self.home / "bus.err").open("wb") as said:
            daemon = subprocess.Popen(
                ["dbus-daemon", which, "--nofork", "--print-address=1"],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
            )
        self.processes.append(daemon)
        assert daemon.stdout is not None
        with daemon.stdout as answer:
            self.address = answer.readline().decode().strip()
        assert self.address, "dbus-daemon did not start"
        self.env["DBUS_SESSION_BUS_ADDRESS"] = self.address
        return daemon

    def spawn(
        self,
        *command: str,
        input: bytes | None = None,  # noqa: A002 - as subprocess says
        env: Mapping[str, str] | None = None,
        pass_fds: Iterable[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Starts a program on this bus; what it says goes to a file in the home."""
        said = (self.home / f"{Path(command[0]).name}-{len(self.processes)}.log").open("wb")
        with said:
            process = subprocess.Popen(
                command,
                env={**self.env, **(env or {})},
                stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
                stdout=said,
                stderr=said,
                pass_fds=tuple(pass_fds),
            )
        self.processes.append(process)
        if process.stdin is not None:
            with process.stdin as stdin:
                stdin.write(input or b"")
        return process

    def call(
        self, name: str, path: str, method: str, signature: str = "", *body: Any, wait: float = 10.0
    ) -> Any:
        """One call, by the interface's and the method's name; the answer's values.

        Raises:
            Refused: the answer was an error.
            TimeoutError: there was none.
        """
        if self._connection is None:
            self._connection = open_dbus_connection(self.address)
        interface, _, member = method.rpartition(".")
        message = new_method_call(
            DBusAddress(path, name, interface), member, signature or None, body
        )
        answer = self._connection.send_and_get_reply(message, timeout=wait)
        if answer.header.message_type is MessageType.error:
            raise Refused(dict(answer.header.fields).get(4), *answer.body)
        return answer.body

    def get(self, name: str, path: str, interface: str, property_: str) -> Any:
        """A property's value."""
        method = "org.freedesktop.DBus.Properties.Get"
        return self.call(name, path, method, "ss", interface, property_)[0][1]

    def has(self, name: str) -> bool:
        """Whether somebody owns a name."""
        method = f"{_BUS.interface}.NameHasOwner"
        return bool(self.call(_BUS.bus_name, _BUS.object_path, method, "s", name)[0])

    def wait_for(self, name: str, seconds: float = 20.0) -> None:
        """Waits until somebody owns a name."""
        eventually(lambda: self.has(name), f"nobody took the name {name}", seconds=seconds)

    def disconnect(self) -> None:
        """Lets go of the connection that `call` keeps."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def kill(self) -> None:
        """Ends the bus at once, and with it most that is on it."""
        self.disconnect()
        self.daemon.kill()
        self.daemon.wait()

    def restart(self) -> None:
        """A bus anew, in the same home; it may have another address."""
        self.disconnect()
        self.end(self.daemon)
        (self.home / "bus").unlink(missing_ok=True)
        self.daemon = self._start_daemon(self._activates)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Ends a process and waits until it is gone; one that is frozen or ended already too."""
        if process.poll() is None:
            process.terminate()
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Ends everything and removes the home."""
        self.disconnect()
        for process in reversed(self.processes):
            self.end(process)
        self.processes.clear()
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _exc: object, _trace: TracebackType | None
    ) -> None:
        self.close()
