"""requests-oauthlib: `OAuth2Session` with `auto_refresh_url` and `token_updater`."""

from __future__ import annotations

import os
import time

from requests_oauthlib import OAuth2Session

from herds.token_file import TokenFile

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the server is on loopback
os.environ["OAUTHLIB_RELAX_TOKEN_SCOPE"] = "1"


class Client:
    """One session object."""

    def __init__(self, config: dict) -> None:
        self._file = TokenFile(config["place"])
        self._url = config["issuer"] + "/userinfo"
        self._session = OAuth2Session(
            "bench",
            token=self._file.load(),
            auto_refresh_url=config["issuer"] + "/token",
            auto_refresh_kwargs={"client_id": "bench"},
            token_updater=self._file.save,
        )

    @staticmethod
    def login(config: dict) -> None:
        """Keep the answer of a login."""
        answer = config["tokens"]
        # Without `expires_in`: the library would count it from when the file is read.
        token = {key: value for key, value in answer.items() if key != "expires_in"}
        expires_at = time.time() + answer["expires_in"]
        TokenFile(config["place"]).save({**token, "expires_at": expires_at})

    def call(self) -> int:
        """One request; the status."""
        return self._session.get(self._url, timeout=30).status_code

    def refresh_token(self) -> str:
        """What the next start would find."""
        return self._file.load()["refresh_token"]
