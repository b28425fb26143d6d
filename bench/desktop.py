"""A desktop session without a desktop: a private D-Bus bus with an unlocked gnome-keyring."""

from __future__ import annotations

import shutil
import subprocess
import time
from types import TracebackType
from typing import Self

from environments import clean
from measure import PeerFailed

PASSWORD = b"a login password"
START_SECONDS = 10.0
NAME = "org.freedesktop.secrets"


class Desktop:
    """The bus and the daemon, for as long as the `with` block; keyrings lie below `place`.

    Attributes:
        variables: what a client's environment needs to find the bus.

    Raises:
        PeerFailed: gnome-keyring or D-Bus is not installed, or does not start.
    """

    def __init__(self, place: str) -> None:
        self._environment = clean(place)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.variables: dict[str, str] = {}

    def __enter__(self) -> Self:
        for program in ("dbus-daemon", "dbus-send", "gnome-keyring-daemon"):
            if shutil.which(program) is None:
                raise PeerFailed(f"not run: {program} is not installed")
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _start(self) -> None:
        bus = self._spawn(["dbus-daemon", "--session", "--nofork", "--print-address=1"])
        assert bus.stdout is not None
        address = bus.stdout.readline().decode().strip()
        if not address:
            raise PeerFailed("not run: dbus-daemon does not start")
        self.variables = {"DBUS_SESSION_BUS_ADDRESS": address}
        self._environment.update(self.variables)
        daemon = self._spawn(
            ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"]
        )
        assert daemon.stdin is not None
        daemon.stdin.write(PASSWORD)
        daemon.stdin.close()
        # A client that asks earlier would have the bus start a second daemon, a locked one.
        deadline = time.monotonic() + START_SECONDS
        while not self._owns_the_name():
            if time.monotonic() > deadline or daemon.poll() is not None:
                raise PeerFailed("not run: gnome-keyring-daemon does not start")
            time.sleep(0.02)

    def _spawn(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            arguments,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process

    def _owns_the_name(self) -> bool:
        question = ["--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.NameHasOwner"]
        asked = subprocess.run(
            ["dbus-send", "--session", "--print-reply", *question, f"string:{NAME}"],
            env=self._environment,
            capture_output=True,
            text=True,
        )
        return "boolean true" in asked.stdout

    def _stop(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
