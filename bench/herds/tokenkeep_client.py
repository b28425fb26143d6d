"""tokenkeep: a `Session` over the vault, with or without shared access tokens."""

from __future__ import annotations

import http.client
import os

from tokenkeep import KeyFile, Provider, SecureStorage, Session, TokenStorage, VaultOptions

SERVICE = "org.example.bench"


class Client:
    """One session object; the vault and the session log are what processes have in common."""

    def __init__(self, config: dict) -> None:
        self._host = config["issuer"].removeprefix("http://")
        self.session = _session(config)
        self.session.restore()

    @staticmethod
    def login(config: dict) -> None:
        """Keep the answer of a login."""
        _session(config).begin(config["tokens"])

    def call(self) -> int:
        """One request; the status."""
        token = self.session.access_token().reveal()
        connection = http.client.HTTPConnection(self._host, timeout=30)
        try:
            connection.request("GET", "/userinfo", headers={"Authorization": f"Bearer {token}"})
            return connection.getresponse().status
        finally:
            connection.close()

    def refresh_token(self) -> str | None:
        """What the next start would find."""
        kept = self.session.tokens.read_refresh_token()
        return None if kept is None else kept.reveal()


def parts(config: dict) -> tuple[Provider, TokenStorage]:
    """What a session of either face is made of; `account` may be in the config."""
    place = config["place"]
    options = VaultOptions(
        path=os.path.join(place, "bench.vault"), key=KeyFile(os.path.join(place, "bench.key"))
    )
    tokens = TokenStorage(SecureStorage(SERVICE, options), account=config.get("account", "alice"))
    return Provider(config["issuer"], client_id="bench"), tokens


def _session(config: dict) -> Session:
    return Session(*parts(config), share_access_tokens=config["shares"])
