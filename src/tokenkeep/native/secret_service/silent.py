"""Prompts that show nothing: where a daemon answers with one although nobody has to be asked.

Only a daemon that is known for it, in a state that is known for it, is trusted with a prompt in a
call that must not show any.
"""

from __future__ import annotations

from tokenkeep.native.dbus.connection import BUS, BUS_PATH
from tokenkeep.native.dbus.errors import ErrorReply
from tokenkeep.native.dbus.wire import Request
from tokenkeep.native.secret_service.channel import NAME, Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.item import Call

_KWALLET = (
    ("org.kde.kwalletd6", "/modules/kwalletd6"),
    ("org.kde.kwalletd5", "/modules/kwalletd5"),
)
_KEEPASSXC = "org.keepassxc.KeePassXC.MainWindow"


def is_open_wallet(channel: Channel, label: str, call: Call) -> bool:
    """Whether KWallet has the wallet of this name open.

    It calls every collection locked until its unlock prompt was run, which for an open wallet
    completes by itself.
    """
    for name, path in _KWALLET:
        if _is_the_service(channel, name, call):
            try:
                is_open = Request(
                    name, path, "org.kde.KWallet", "isOpen", "s", (label,), answer="b"
                )
                return bool(channel.ask(is_open, call)[0])
            except ErrorReply:
                return False  # another version's interface: asking a person is what is left
    return False


def is_keepassxc(channel: Channel, call: Call) -> bool:
    """Whether KeePassXC is the service: it makes every item by a prompt.

    In an unlocked database that prompt completes by itself. The one for deleting may ask.
    """
    return _is_the_service(channel, _KEEPASSXC, call)


def _is_the_service(channel: Channel, name: str, call: Call) -> bool:
    service, other = channel.ask_each([_owner(NAME), _owner(name)], call)
    return not isinstance(service, ErrorReply) and service == other


def _owner(name: str) -> Request:
    return Request(BUS, BUS_PATH, BUS, "GetNameOwner", "s", (name,), answer="s")
