"""MSAL with msal-extensions: a public client over a token cache file that processes share.

MSAL speaks to https alone, so `oidc_authority` says https, and the HTTP client that it is given
turns every address into http; the metadata's issuer is turned the other way.
"""

from __future__ import annotations

import os

import msal
import requests
from msal_extensions import FilePersistence, PersistedTokenCache

SCOPES = ["read"]
#: MSAL wants a path in an issuer's address.
TENANT = "/tenant"


class _OverHttp:
    """Loopback without TLS, unseen by MSAL."""

    def __init__(self) -> None:
        self._session = requests.Session()

    def get(self, url: str, **options: object) -> requests.Response:
        answer = self._session.get(_real(url), **options)
        if url.endswith("/.well-known/openid-configuration"):
            answer._content = answer.content.replace(b"http://", b"https://")
        return answer

    def post(self, url: str, **options: object) -> requests.Response:
        return self._session.post(_real(url), **options)

    def close(self) -> None:
        self._session.close()


def _real(url: str) -> str:
    return url.replace("https://", "http://", 1).replace(TENANT, "", 1)


class Client:
    """One application object for all threads."""

    def __init__(self, config: dict) -> None:
        self._url = config["issuer"] + "/userinfo"
        self._cache, self._application = _application(config)

    @staticmethod
    def login(config: dict) -> None:
        """MSAL's own way in with a refresh token from elsewhere; it redeems it once."""
        _cache, application = _application(config)
        token = config["tokens"]["refresh_token"]
        answer = application.acquire_token_by_refresh_token(token, scopes=SCOPES)
        if "error" in answer:
            raise RuntimeError(f"{answer['error']}: {answer.get('error_description', '')}")

    def call(self) -> int:
        """One request; the status."""
        accounts = self._application.get_accounts()
        if not accounts:
            raise RuntimeError("the cache has no account any more")
        answer = self._application.acquire_token_silent_with_error(SCOPES, account=accounts[0])
        if not answer or "access_token" not in answer:
            raise RuntimeError((answer or {}).get("error", "no token: interaction required"))
        header = {"Authorization": f"Bearer {answer['access_token']}"}
        return requests.get(self._url, headers=header, timeout=30).status_code

    def refresh_token(self) -> str | None:
        """What the next start would find."""
        kinds = self._cache.CredentialType
        for entry in self._cache.search(kinds.REFRESH_TOKEN):
            return str(entry["secret"])
        return None


def _application(config: dict) -> tuple[PersistedTokenCache, msal.PublicClientApplication]:
    cache = PersistedTokenCache(FilePersistence(os.path.join(config["place"], "msal.cache")))
    authority = config["issuer"].replace("http://", "https://", 1) + TENANT
    application = msal.PublicClientApplication(
        "bench",
        oidc_authority=authority,
        token_cache=cache,
        http_client=_OverHttp(),
    )
    return cache, application
