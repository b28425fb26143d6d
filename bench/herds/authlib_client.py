"""Authlib: `requests_client.OAuth2Session`, one for all threads, with `update_token`."""

from __future__ import annotations

import os
import time

from authlib.integrations.requests_client import OAuth2Session

from herds.token_file import TokenFile

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # the server is on loopback


class Client:
    """One session object."""

    def __init__(self, config: dict) -> None:
        self._file = TokenFile(config["place"])
        self._url = config["issuer"] + "/userinfo"
        self._session = OAuth2Session(
            client_id="bench",
            token=self._file.load(),
            token_endpoint=config["issuer"] + "/token",
            token_endpoint_auth_method="none",
            update_token=self._save,
        )

    @staticmethod
    def login(config: dict) -> None:
        """Keep the answer of a login."""
        answer = config["tokens"]
        expires_at = int(time.time()) + int(answer["expires_in"])
        TokenFile(config["place"]).save({**answer, "expires_at": expires_at})

    def call(self) -> int:
        """One request; the status."""
        return self._session.get(self._url, timeout=30).status_code

    def refresh_token(self) -> str:
        """What the next start would find."""
        return self._file.load()["refresh_token"]

    def _save(
        self, token: dict, refresh_token: str | None = None, access_token: str | None = None
    ) -> None:
        self._file.save(dict(token))
