"""A TPM 2.0 in software (swtpm), and something between us and it that listens or interferes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tokenkeep.item import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.vault.slots import Key

#: What a relay does with a command: an answer in the TPM's place, or None to let it pass.
Interfere = Callable[[bytes], bytes | None]


class Emulator:
    """A TPM that can be frozen, restarted and talked to by tpm2-tools. A context manager."""

    def __init__(self) -> None:
        # A socket's path is short: pytest's directories are not.
        self.directory = Path(tempfile.mkdtemp(prefix="tokenkeep-tpm-"))
        self.socket = self.directory / "s"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def device(self) -> str:
        """What a `TpmKey` takes for it."""
        return f"unix:{self.socket}"

    def __enter__(self) -> Emulator:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()
        shutil.rmtree(self.directory)

    def start(self) -> None:
        """Switches it on; its state is that of before."""
        control = f"{self.socket}.ctrl"
        self._process = subprocess.Popen(
            [
                *("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.directory}"),
                *("--server", f"type=unixio,path={self.socket}"),
                *("--ctrl", f"type=unixio,path={control}"),
                *("--flags", "not-need-init,startup-clear"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while not (self.socket.exists() and os.path.exists(control)):
            assert time.monotonic() < deadline, "swtpm does not start"
            time.sleep(0.01)

    def stop(self) -> None:
        """Switches it off."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(timeout=20)
        for path in (self.socket, Path(f"{self.socket}.ctrl")):
            path.unlink(missing_ok=True)

    def freeze(self) -> None:
        """It takes commands and answers none."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it was."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def tool(self, name: str, *words: str) -> str:
        """Runs one of tpm2-tools on it; what that wrote."""
        done = subprocess.run(
            [name, *words],
            env={**os.environ, "TPM2TOOLS_TCTI": f"swtpm:path={self.socket}"},
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def extend(self, pcr: int) -> None:
        """Something else was measured into a PCR, as after a firmware update."""
        self.tool("tpm2_pcrextend", f"{pcr}:sha256={'01' * 32},sha384={'01' * 48}")

    def provision(self) -> None:
        """Keeps the storage key of TCG's template at its usual place, as an installer would."""
        unique = self.directory / "unique"
        unique.write_bytes(2 * (b"\x20\x00" + bytes(128)))  # two coordinates of 32 bytes, in C
        attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"
        self.tool(
            *("tpm2_createprimary", "-C", "o", "-g", "sha256", "-G", "ecc256:aes128cfb"),
            *("-a", attributes, "-u", "unique", "-c", "storage.ctx"),
        )
        self.tool("tpm2_evictcontrol", "-C", "o", "-c", "storage.ctx", "0x81000001")
        self.tool("tpm2_flushcontext", "-t")


class Relay:
    """Stands between us and a TPM: hears everything, and can answer in its place."""

    def __init__(self, target: Emulator) -> None:
        self._target = target
        self.socket = target.directory / f"relay-{os.urandom(4).hex()}"
        self.heard = b""
        self.commands: list[int] = []
        self.interfere: Interfere = lambda _command: None
        self.alter: Callable[[bytes, bytes], bytes] = lambda _command, response: response
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(os.fspath(self.socket))
        self._listener.listen(8)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def device(self) -> str:
        """What a `TpmKey` takes for it."""
        return f"unix:{self.socket}"

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=20)
        self._listener.close()

    def answers(self, code: int, after: int = 0, times: int | None = None) -> None:
        """From now on it answers with a response code; `after` so many commands, `times` often."""
        left, said = after, 0

        def interfere(_command: bytes) -> bytes | None:
            nonlocal left, said
            if left or said == times:
                left = max(0, left - 1)
                return None
            said += 1
            return refusal(code)

        self.interfere = interfere

    def _serve(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            with client, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as tpm:
                tpm.connect(os.fspath(self._target.socket))
                for command in packets(client):
                    self.commands.append(int.from_bytes(command[6:10], "big"))
                    response = self.interfere(command)
                    if response is None:
                        tpm.sendall(command)
                        response = next(packets(tpm), b"")
                    response = self.alter(command, response)
                    self.heard += command + response
                    try:
                        client.sendall(response)
                    except OSError:
                        break


def refusal(code: int) -> bytes:
    """A TPM's answer that is nothing but a response code."""
    return bytes.fromhex("8001 0000000a") + code.to_bytes(4, "big")


def packets(connection: socket.socket) -> Iterator[bytes]:
    """The packets that arrive, until the other side has closed."""
    waiting = b""
    while True:
        size = int.from_bytes(waiting[2:6], "big") if len(waiting) >= 10 else 10
        if len(waiting) >= max(size, 10):
            yield waiting[:size]
            waiting = waiting[size:]
            continue
        try:
            piece = connection.recv(4096)
        except OSError:
            return
        if not piece:
            return
        waiting += piece


def call(seconds: float = 60.0) -> Call:
    """A call that a busy machine does not end."""
    return Call(seconds)


def keys(*given: Key) -> tuple[Key, ...]:
    """Keys of several kinds, as a vault takes them."""
    return given
