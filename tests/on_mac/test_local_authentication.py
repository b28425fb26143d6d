"""LocalAuthentication on a real Mac where nobody sits: the messages and the block get an answer."""

from __future__ import annotations

import time

import pytest

from tokenkeep.errors import PresenceError
from tokenkeep.item import Call
from tokenkeep.presence.local_authentication import LocalAuthentication


@pytest.mark.parametrize("allow_passcode", [False, True])
def test_nobody_confirms(allow_passcode: bool) -> None:
    """One of our errors, by the deadline; the process lives on."""
    began = time.monotonic()
    with pytest.raises(PresenceError):
        LocalAuthentication(allow_passcode=allow_passcode).verify("test tokenkeep", Call(3.0))
    assert time.monotonic() - began < 20.0
