"""The three daemons that offer the Secret Service, each real and on a bus of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import pytest

from support.bus import Bus
from support.desktop import in_environment
from support.gnome_keyring import GnomeKeyring
from support.keyring_daemon import KeyringDaemon

NAMES = ("gnome-keyring", "kwallet", "keepassxc")
#: For `pytest.mark.parametrize`: each daemon is a test of its own, with what it requires.
EACH = [pytest.param(name, marks=pytest.mark.requires(name), id=name) for name in NAMES]


@contextlib.contextmanager
def running(
    name: str,
    *,
    has_collection: bool = True,
    activates: bool = False,
    env: Mapping[str, str] | None = None,
) -> Iterator[KeyringDaemon]:
    """A daemon on a bus that this process finds; ended when the block is left.

    Args:
        activates: whether the bus starts a gnome-keyring of its own when none is there.
        env: what everything on the bus finds in its environment, such as a screen.
    """
    with Bus(env, activates=activates) as bus, in_environment(bus):
        yield started(name, bus, has_collection=has_collection)


def started(name: str, bus: Bus, *, has_collection: bool = True) -> KeyringDaemon:
    """A daemon on a bus."""
    if name == "kwallet":
        from support.kwallet import KWallet

        return KWallet(bus, with_wallet=has_collection)
    if name == "keepassxc":
        from support.keepassxc import KeePassXC  # needs pykeepass

        return KeePassXC(bus, with_group=has_collection)
    return GnomeKeyring(bus, with_login=has_collection)
