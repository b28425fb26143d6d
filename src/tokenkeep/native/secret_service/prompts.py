"""Prompts of the Secret Service: one at a time, only where the call allows them, never dismissed.

`Prompt.Dismiss` is not called: on a prompt that is shown it ends gnome-keyring's daemon. A prompt
that nobody answered by the deadline stays open; the next call waits for it and shows no second one.
"""

from __future__ import annotations

import threading

from tokenkeep.errors import InteractionDenied
from tokenkeep.item import Interaction
from tokenkeep.native.dbus.connection import BUS
from tokenkeep.native.dbus.errors import ASK_HINT, ErrorReply
from tokenkeep.native.dbus.wire import Request
from tokenkeep.native.secret_service.channel import NAME, Channel, held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.item import Call
    from tokenkeep.native.dbus.connection import Connection, Signals
    from tokenkeep.native.dbus.wire import Incoming

PROMPT = "org.freedesktop.Secret.Prompt"
_NOTHING = "/"
_RULES = (
    f"type='signal',interface='{PROMPT}',member='Completed'",
    f"type='signal',sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',arg0='{NAME}'",
)


class Prompts:
    """The prompts of one process on one bus."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._one_at_a_time = threading.Lock()
        self._open: tuple[Connection, Signals] | None = None

    def unlock(self, request: Request, call: Call) -> bool:
        """Asks to unlock, and a person if need be; False if the service offers neither.

        Raises:
            InteractionDenied: the person said no.
            StoreTimeout: nobody answered.
        """
        with held(self._one_at_a_time, call):
            return self._channel.repeated(lambda at: self._unlock(at, request, call), call)

    def confirm(self, path: str, call: Call, doing: str, is_silent: bool = False) -> None:
        """Has the service ask a person before it goes on with what it was asked for.

        Args:
            is_silent: the prompt is known to show nothing.

        Raises:
            InteractionDenied: the person said no, or must not be asked.
            StoreTimeout: nobody answered.
        """
        if call.interaction != Interaction.ALLOWED and not is_silent:
            raise InteractionDenied(
                f"{doing} needs a person's consent, and prompting is not allowed",
                hint=ASK_HINT,
            )
        with held(self._one_at_a_time, call):
            self._channel.repeated(lambda at: _confirmed(at, path, call, is_silent), call)

    def _unlock(self, connection: Connection, request: Request, call: Call) -> bool:
        if self._open is not None:
            shown_by, signals = self._open
            if shown_by is connection:
                self._finish(connection, signals, call)
            self._open = None
        unlocked, prompt = connection.ask(request, call)
        if prompt == _NOTHING:
            return bool(unlocked)
        self._open = connection, _shown(connection, prompt, call)
        self._finish(*self._open, call)
        return True

    def _finish(self, connection: Connection, signals: Signals, call: Call) -> None:
        """Waits for the answer; the prompt stays known as open only if there is none."""
        try:
            call.while_asking(lambda asked: _answered(connection, signals, asked))
        except (InteractionDenied, ErrorReply):
            self._open = None
            raise
        self._open = None


def _shown(connection: Connection, path: str, call: Call) -> Signals:
    def wants(message: Incoming) -> bool:
        # Anybody may send such a signal: one of another shape is none of these.
        if message.member == "Completed":
            return message.path == path and message.signature == "bv"
        return message.member == "NameOwnerChanged" and message.body[:1] == (NAME,)

    signals = connection.listen(_RULES, wants, call)
    try:
        connection.ask(Request(NAME, path, PROMPT, "Prompt", "s", ("",)), call)
    except BaseException:
        connection.ignore(signals)
        raise
    return signals


def _confirmed(connection: Connection, path: str, call: Call, is_silent: bool) -> None:
    signals = _shown(connection, path, call)
    try:
        if is_silent:
            _answered(connection, signals, call)
        else:
            call.while_asking(lambda asked: _answered(connection, signals, asked))
    finally:
        connection.ignore(signals)  # also if nobody answered: nobody waits for this one again


def _answered(connection: Connection, signals: Signals, call: Call) -> None:
    answer = connection.next_signal(signals, call)
    connection.ignore(signals)
    if answer.member != "Completed":  # the daemon went away, and its prompt with it
        raise ErrorReply("org.freedesktop.DBus.Error.NoReply")
    if answer.body[0]:
        raise InteractionDenied("the prompt of the keyring was dismissed")
