"""The keyring of a desktop as this process finds it: its bus in the environment, its items."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from support.bus import Bus
from support.gnome_keyring import GnomeKeyring
from support.keyring_daemon import ROOT, SERVICE
from support.waiting import eventually

_ITEM = "org.freedesktop.Secret.Item"


@contextlib.contextmanager
def in_environment(bus: Bus) -> Iterator[None]:
    """This process, and what it starts, finds the bus, and no other one."""
    names = ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update({name: bus.env[name] for name in names})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def gnome_desktop(
    *, with_login: bool = True, env: Mapping[str, str] | None = None
) -> Iterator[GnomeKeyring]:
    """A bus with gnome-keyring, in the environment."""
    with Bus(env) as bus, in_environment(bus):
        yield GnomeKeyring(bus, with_login=with_login)


def found(bus: Bus, **attributes: str) -> list[str]:
    """The paths of the unlocked items that have the attributes, as any client finds them."""
    method = "org.freedesktop.Secret.Service.SearchItems"
    paths: list[str] = bus.call(SERVICE, ROOT, method, "a{ss}", attributes)[0]
    return paths


def attributes_of(bus: Bus, item: str) -> dict[str, str]:
    """An item's attributes, without the schema that daemons add by themselves."""
    attributes: dict[str, str] = bus.get(SERVICE, item, _ITEM, "Attributes")
    attributes.pop("xdg:schema", None)
    return attributes


def label_of(bus: Bus, item: str) -> str:
    """An item's label."""
    label: str = bus.get(SERVICE, item, _ITEM, "Label")
    return label


def plain_session(bus: Bus) -> str:
    """A session in which values are not encrypted."""
    method = "org.freedesktop.Secret.Service.OpenSession"
    path: str = bus.call(SERVICE, ROOT, method, "sv", "plain", ("s", ""))[1]
    return path


def put(
    bus: Bus, collection: str, attributes: Mapping[str, str], value: bytes, *, replace: bool = True
) -> str:
    """Makes an item as another program would; its path."""
    properties: dict[str, Any] = {
        f"{_ITEM}.Label": ("s", "somebody's"),
        f"{_ITEM}.Attributes": ("a{ss}", dict(attributes)),
    }
    secret = (plain_session(bus), b"", value, "text/plain")
    method = "org.freedesktop.Secret.Collection.CreateItem"
    item: str = bus.call(
        SERVICE, collection, method, "a{sv}(oayays)b", properties, secret, replace
    )[0]
    return item


def items(bus: Bus) -> list[str]:
    """The paths of all items of all collections."""
    collections = bus.get(SERVICE, ROOT, "org.freedesktop.Secret.Service", "Collections")
    interface = "org.freedesktop.Secret.Collection"
    return [item for each in collections for item in bus.get(SERVICE, each, interface, "Items")]


def clear(bus: Bus) -> None:
    """Erases every item."""
    for item in items(bus):
        delete(bus, item)
    eventually(lambda: not items(bus), "items stayed")


def delete(bus: Bus, item: str) -> None:
    """Erases one item, as another program would."""
    (prompt,) = bus.call(SERVICE, item, f"{_ITEM}.Delete")
    if prompt != "/":
        bus.call(SERVICE, prompt, "org.freedesktop.Secret.Prompt.Prompt", "s", "")
