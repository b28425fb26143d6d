"""A private system bus, and the real daemons that prove presence on it.

Nothing here touches the machine's own bus, its rules or its fingers. Every process is ended by its
id, also when a test fails.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self

from jeepney import DBusAddress, MessageType, new_error, new_method_call, new_method_return
from jeepney.io.blocking import DBusConnection, open_dbus_connection

from support.waiting import eventually

_CONFIGURATION = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_type="method_return"/>
    <allow send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="signal"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
  </policy>
</busconfig>
"""
ACTION = "org.example.notes.show-secret"
_ACTIONS = f"""\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE policyconfig PUBLIC "-//freedesktop//DTD PolicyKit Policy Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/PolicyKit/1/policyconfig.dtd">
<policyconfig>
  <action id="{ACTION}">
    <description>Show a secret</description>
    <message>Authentication is needed to show a secret</message>
    <defaults>
      <allow_any>auth_self</allow_any>
      <allow_inactive>auth_self</allow_inactive>
      <allow_active>auth_self</allow_active>
    </defaults>
  </action>
</policyconfig>
"""


class SystemBus:
    """A dbus-daemon for system services; a context manager."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="tokenkeep-system-"))
        self.home.chmod(0o755)
        self.address = f"unix:path={self.home}/bus"
        self.env = {
            **os.environ,
            "DBUS_SYSTEM_BUS_ADDRESS": self.address,
            "FP_VIRTUAL_DEVICE": f"{self.home}/finger",
            "STATE_DIRECTORY": f"{self.home}/state",
        }
        (self.home / "state").mkdir()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._connection: DBusConnection | None = None
        try:
            configuration = self.home / "bus.conf"
            configuration.write_text(_CONFIGURATION.format(socket=f"{self.home}/bus"))
            self.start("dbus-daemon", f"--config-file={configuration}", "--nofork")
            eventually((self.home / "bus").exists)
        except BaseException:
            self.close()
            raise

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Starts a program on the bus."""
        log = (self.home / f"{len(self._processes)}.log").open("wb")
        with log:
            process = subprocess.Popen(
                command,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._processes.append(process)
        return process

    def ask(self, name: str, path: str, interface: str, member: str, *values: Any) -> Any:
        """A call's answer; an error is an AssertionError."""
        if self._connection is None:
            self._connection = open_dbus_connection(self.address)
        signature = "".join("b" if isinstance(value, bool) else "s" for value in values)
        reply = self._connection.send_and_get_reply(
            new_method_call(DBusAddress(path, name, interface), member, signature or None, values),
            timeout=10,
        )
        assert reply.header.message_type is MessageType.method_return, reply.body
        return reply.body

    def wait_for_name(self, name: str) -> None:
        """Until a service has its name."""
        bus = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
        eventually(lambda: self.ask(*bus, "NameHasOwner", name)[0])

    def start_fingerprints(self) -> None:
        """The real fprintd with libfprint's virtual reader, and a polkit that allows or not."""
        self.start("/usr/bin/python3", "-m", "dbusmock", "--system", "--template", "polkitd")
        self.wait_for_name("org.freedesktop.PolicyKit1")
        self.allow(True)
        self.start("/usr/libexec/fprintd", "-t")
        self.wait_for_name("net.reactivated.Fprint")

    def allow(self, everything: bool) -> None:
        """What the pretended polkit says to anything."""
        mock = ("/org/freedesktop/PolicyKit1/Authority", "org.freedesktop.DBus.Mock")
        self.ask("org.freedesktop.PolicyKit1", *mock, "AllowUnknown", everything)

    def scan(self, finger: str) -> None:
        """Lays a finger on the virtual reader, once it listens."""
        self.tell_reader(f"SCAN {finger}")

    def tell_reader(self, command: str) -> None:
        """A command of libfprint's virtual device."""

        def told() -> bool:
            with socket.socket(socket.AF_UNIX) as reader:
                try:
                    reader.connect(f"{self.home}/finger")
                except OSError:
                    return False
                reader.sendall(command.encode())
                reader.shutdown(socket.SHUT_WR)
                reader.recv(999)
                return True

        eventually(told)

    def enrol(self, finger: str, user: str) -> None:
        """Enrols a finger of the virtual reader for a user."""
        service, device = "net.reactivated.Fprint", "net.reactivated.Fprint.Device"
        manager = ("/net/reactivated/Fprint/Manager", f"{service}.Manager")
        (path,) = self.ask(service, *manager, "GetDefaultDevice")
        self.ask(service, path, device, "Claim", user)
        self.ask(service, path, device, "EnrollStart", "right-index-finger")
        for _ in range(5):  # the virtual device wants five looks
            self.scan(finger)
            time.sleep(0.05)
        self.ask(service, path, device, "EnrollStop")
        self.ask(service, path, device, "Release")

    def start_polkit(self, rule: str = "") -> None:
        """The real polkitd with our action, its rules in a mount namespace of its own."""
        rules, actions = self.home / "rules", self.home / "actions"
        rules.mkdir()
        actions.mkdir()
        (actions / "org.example.notes.policy").write_text(_ACTIONS)
        (rules / "10-test.rules").write_text(rule)
        for folder in (rules, actions):
            folder.chmod(0o755)
        script = (
            f"mount --bind {rules} /etc/polkit-1/rules.d &&"
            f" mount --bind {actions} /usr/share/polkit-1/actions &&"
            " exec /usr/lib/polkit-1/polkitd --no-debug"
        )
        self.start("unshare", "--mount", "sh", "-c", script)
        self.wait_for_name("org.freedesktop.PolicyKit1")

    def close(self) -> None:
        """Ends every process, the bus last."""
        if self._connection is not None:
            self._connection.close()
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class Agent:
    """A desktop's polkit agent, as far as polkitd has to do with one; a context manager.

    It is root, as the helper is by which real agents tell polkitd that a password was right.

    Args:
        process: whose questions it shows.
        does: "confirm", "dismiss", "fail" (three wrong passwords), or "wait" for ever.
    """

    _AUTHORITY = DBusAddress(
        "/org/freedesktop/PolicyKit1/Authority",
        "org.freedesktop.PolicyKit1",
        "org.freedesktop.PolicyKit1.Authority",
    )

    def __init__(self, bus: SystemBus, process: int, does: str) -> None:
        self.asked: list[tuple[str, str]] = []
        self.was_cancelled = threading.Event()
        self._does = does
        self._is_over = threading.Event()
        self._connection = open_dbus_connection(bus.address)
        started = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[19]
        subject = (
            "unix-process",
            {"pid": ("u", process), "start-time": ("t", int(started)), "uid": ("i", 65534)},
        )
        self._tells("RegisterAuthenticationAgent", "(sa{sv})ss", subject, "C", "/agent")
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._is_over.is_set():
            try:
                call = self._connection.receive(timeout=0.05)
            except TimeoutError:
                continue
            if call.header.message_type is not MessageType.method_call:
                continue
            fields = {field.name: value for field, value in call.header.fields.items()}
            if fields["member"] == "CancelAuthentication":
                self._connection.send(new_method_return(call))
                self.was_cancelled.set()
            elif fields["member"] == "BeginAuthentication":
                action, message, _icon, _details, cookie, identities = call.body
                self.asked.append((action, message))
                self._answer(call, cookie, identities[0])

    def _answer(self, call: Any, cookie: str, identity: Any) -> None:
        if self._does == "dismiss":
            name = "org.freedesktop.PolicyKit1.Error.Cancelled"
            self._connection.send(new_error(call, name, "s", ("dismissed",)))
            return
        if self._does == "confirm":
            kind = "us(sa{sv})"
            self._tells("AuthenticationAgentResponse2", kind, os.geteuid(), cookie, identity)
        if self._does != "wait":
            self._connection.send(new_method_return(call))

    def _tells(self, member: str, signature: str, *values: Any) -> None:
        call = new_method_call(self._AUTHORITY, member, signature, values)
        reply = self._connection.send_and_get_reply(call, timeout=10)
        assert reply.header.message_type is MessageType.method_return, reply.body

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._is_over.set()
        self._thread.join(10)
        self._connection.close()
