"""The token file of an application whose client keeps nothing: read at start, replaced whole."""

from __future__ import annotations

import json
import os
import threading


class TokenFile:
    """A JSON file below `place`."""

    def __init__(self, place: str) -> None:
        self._path = os.path.join(place, "token.json")

    def save(self, token: dict) -> None:
        """Replace it."""
        aside = f"{self._path}.{os.getpid()}.{threading.get_ident()}"
        with open(aside, "w") as file:
            json.dump(token, file)
        os.replace(aside, self._path)

    def load(self) -> dict:
        """What was saved last."""
        with open(self._path) as file:
            token: dict = json.load(file)
        return token
