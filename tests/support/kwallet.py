"""A real kwalletd5 without a screen: a wallet that is open, and can be locked and opened again.

The wallet is opened as pam_kwallet5 does at login: a key derived from the password and a salt in
the wallet's folder goes through a pipe, the environment through a socket. Only wallets that are
there when the daemon starts are collections of the Secret Service, so it starts twice.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import subprocess
from pathlib import Path

from support.bus import Bus
from support.keyring_daemon import SERVICE, KeyringDaemon
from support.waiting import eventually

PASSWORD = b"kwallet password"
COLLECTION = "/org/freedesktop/secrets/collection/kdewallet"
WALLET = "kdewallet"
_NATIVE = ("org.kde.kwalletd5", "/modules/kwalletd5")
#: pam_kwallet5's derivation: PBKDF2-HMAC-SHA512 over a salt of 56 bytes, giving as many.
_ROUNDS, _BYTES = 50_000, 56
_CONFIGURATION = """\
[Wallet]
Enabled=true
First Use=false
Prompt on Open=false
Leave Open=true
Launch Manager=false
Use One Wallet=true
Default Wallet=kdewallet

[org.freedesktop.secrets]
apiEnabled=true
"""


class KWallet(KeyringDaemon):
    """The daemon on a bus of its own.

    Args:
        with_wallet: without one there is no collection, as in a new account.
    """

    name = "kwallet"
    collection = COLLECTION

    def __init__(self, bus: Bus, *, with_wallet: bool = True) -> None:
        self.bus = bus
        bus.env["QT_QPA_PLATFORM"] = "offscreen"
        self._folder = Path(bus.env["XDG_DATA_HOME"]) / "kwalletd"
        self._folder.mkdir(exist_ok=True)
        (Path(bus.env["XDG_CONFIG_HOME"]) / "kwalletrc").write_text(_CONFIGURATION)
        self._salt = self._folder / f"{WALLET}.salt"
        if with_wallet:
            self._salt.write_bytes(secrets.token_bytes(_BYTES))
            self._salt.chmod(0o600)
            self.process = self._start_open()
            wallet = self._folder / f"{WALLET}.kwl"
            eventually(wallet.exists, "kwalletd5 made no wallet")
            bus.end(self.process)
            self.process = self.start()
        else:
            self.process = bus.spawn("kwalletd5")
            bus.wait_for(SERVICE)

    def lock(self) -> None:
        """Closes the wallet, as the person does."""
        self.bus.call(*_NATIVE, "org.kde.KWallet.close", "sb", WALLET, True)
        eventually(lambda: not self._is_open(), "the wallet did not close")

    def unlock(self) -> None:
        """Opens the wallet with the password's key, as at login."""
        key = self._key()
        self.bus.call(*_NATIVE, "org.kde.KWallet.pamOpen", "sayi", WALLET, key, 0)
        eventually(self._is_open, "the wallet did not open")

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the daemon with the wallet open, as a login does."""
        process = self._start_open()
        self.bus.wait_for(SERVICE)
        self.unlock()
        return process

    def _is_open(self) -> bool:
        return bool(self.bus.call(*_NATIVE, "org.kde.KWallet.isOpen", "s", WALLET)[0])

    def _key(self) -> bytes:
        return hashlib.pbkdf2_hmac("sha512", PASSWORD, self._salt.read_bytes(), _ROUNDS, _BYTES)

    def _start_open(self) -> subprocess.Popen[bytes]:
        key = self._key()
        place = Path(self.bus.env["XDG_RUNTIME_DIR"]) / "kwallet5.socket"
        place.unlink(missing_ok=True)
        reading, writing = os.pipe()
        with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as pam:
            listening.bind(str(place))
            listening.listen(1)
            process = self.bus.spawn(
                "kwalletd5",
                "--pam-login",
                str(reading),
                str(listening.fileno()),
                env={"PAM_KWALLET5_LOGIN": str(place)},
                pass_fds=(reading, listening.fileno()),
            )
            os.write(writing, key)
            os.close(writing)
            os.close(reading)
            pam.connect(str(place))
            lines = (f"{name}={value}\n" for name, value in self.bus.env.items())
            pam.sendall("".join(line for line in lines if line.count("\n") == 1).encode())
        self.bus.wait_for(_NATIVE[0])
        eventually(self._is_open, "kwalletd5 did not open the wallet")
        return process
