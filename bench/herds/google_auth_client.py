"""google-auth: user `Credentials` with `token_uri` at our server, `AuthorizedSession` for requests.

It has no call-back for a new token: the application saves `to_json()` after its request.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

from google.auth.transport.requests import AuthorizedSession
from google.oauth2.credentials import Credentials

from herds.token_file import TokenFile


class Client:
    """One credentials object; a session for each thread, as `requests` wants it."""

    def __init__(self, config: dict) -> None:
        self._file = TokenFile(config["place"])
        self._url = config["issuer"] + "/userinfo"
        kept = self._file.load()
        # Not `from_authorized_user_info`: it puts Google's own address in place of ours.
        self._credentials = Credentials(
            token=kept["token"],
            expiry=datetime.fromisoformat(kept["expiry"]).replace(tzinfo=None),
            **{key: kept[key] for key in ("refresh_token", "token_uri", "client_id")},
            client_secret=kept["client_secret"],
        )

    @staticmethod
    def login(config: dict) -> None:
        """Keep the answer of a login."""
        answer = config["tokens"]
        # Naive, in UTC: what the library itself writes and reads.
        expiry = datetime.fromtimestamp(time.time() + answer["expires_in"], UTC)
        credentials = Credentials(
            token=answer["access_token"],
            refresh_token=answer["refresh_token"],
            token_uri=config["issuer"] + "/token",
            client_id="bench",
            client_secret="",
            expiry=expiry.replace(tzinfo=None),
        )
        TokenFile(config["place"]).save(json.loads(credentials.to_json()))

    def call(self) -> int:
        """One request; the status."""
        with AuthorizedSession(self._credentials) as session:
            status: int = session.get(self._url, timeout=30).status_code
        self._file.save(json.loads(self._credentials.to_json()))
        return status

    def refresh_token(self) -> str:
        """What the next start would find."""
        return self._file.load()["refresh_token"]
