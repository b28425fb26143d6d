"""The Secret Service as calls on its objects: one connection and one session for each process.

Both are made at the first call, one thread at a time, and made anew when the daemon or the bus went
away: a request whose connection or session is gone is repeated within its call's deadline. A forked
child has neither and opens its own.
"""

from __future__ import annotations

import os
import threading

from tokenkeep.errors import SecretDamaged, StoreLocked
from tokenkeep.item import Interaction
from tokenkeep.native.dbus.address import session_bus
from tokenkeep.native.dbus.errors import UNLOCK_HINT, ErrorReply, Verdict, translated, verdict
from tokenkeep.native.dbus.wire import Property, Request
from tokenkeep.native.secret_service.channel import (
    COLLECTION,
    ITEM,
    NAME,
    PATH,
    SERVICE,
    Channel,
    Pause,
    held,
)
from tokenkeep.native.secret_service.prompts import Prompts
from tokenkeep.native.secret_service.searches import of_collections
from tokenkeep.native.secret_service.silent import is_keepassxc, is_open_wallet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from tokenkeep.item import Call
    from tokenkeep.native.dbus.connection import Connection
    from tokenkeep.secret import Secret

__all__ = [
    "NOTHING",
    "ErrorReply",
    "Pause",
    "Service",
    "Verdict",
    "aliased",
    "held",
    "is_current",
    "released",
    "session_bus",
    "shared",
    "translated",
    "verdict",
]

#: The path that stands for "none" wherever the specification returns one.
NOTHING = "/"

#: So many questions are under way at once where one is asked of each item. More are no faster, and
#: a thread that makes or reads them all in one go keeps others from the interpreter for that long.
_BATCH = 8
#: An unlock prompt that was offered and not run stays in the daemon until the connection ends.
_MOST_OFFERED_PROMPTS = 32
#: Seconds after which is looked again which program the service is.
_PROGRAM_SECONDS = 5.0


class Service:
    """The Secret Service of one bus, for the threads of one process; got by `shared`.

    Every method raises, besides what it names: `ErrorReply` for an answer that the caller has to
    judge, `StoreTimeout`, and `StoreUnavailable` or `AccessDenied` where the bus cannot be reached.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.pid = os.getpid()
        self.users: dict[int, bool] = {}
        self._channel = Channel(address)
        self._prompts = Prompts(self._channel)
        self._offered_prompts = 0
        self._keepassxc: tuple[bool, float] | None = None
        #: KWallet tells everybody who deletes an item at once that it was there.
        self.deleting = threading.Lock()

    def close(self) -> None:
        """Ends the connection; the next call makes another one."""
        self._channel.close()

    def ask(self, request: Request, call: Call) -> tuple[Any, ...]:
        """The values that answer one request, which may be repeated."""
        return self._channel.ask(request, call)

    def search(self, attributes: dict[str, str], call: Call) -> tuple[list[str], list[str]]:
        """The paths of the items that have these attributes: unlocked ones, locked ones."""
        if self._is_keepassxc(call):
            return of_collections(self._channel, self._collections(call), [attributes], call)[0]
        body = self.ask(_search(attributes), call)
        return body[0], body[1]

    def search_beside(
        self, attributes: dict[str, str], alias: str, call: Call
    ) -> tuple[tuple[list[str], list[str]], str]:
        """What `search` and `alias` give, asked at once."""
        if self._is_keepassxc(call):
            return self.search(attributes, call), self.alias(alias, call)
        found, path = self._channel.ask_all([_search(attributes), _alias(alias)], call)
        return (found[0], found[1]), path[0]

    def look(
        self, collection: str, alias: str, searches: Sequence[dict[str, str]], call: Call
    ) -> tuple[str, bool, list[tuple[list[str], list[str]]]]:
        """What the alias stands for, whether the collection is locked before or after the searches,
        and what they found; asked at once.

        A search of a locked collection may find nothing (gnome-keyring's issue 89).
        """
        if self._is_keepassxc(call):
            was_locked = self.is_locked(collection, call)
            answers = of_collections(self._channel, [collection], searches, call)
            path = self.alias(alias, call)
            return path, was_locked or self.is_locked(collection, call), answers
        is_locked = _locked(collection)
        requests = [_alias(alias), is_locked, *map(_search, searches), is_locked]
        known, first, *found, last = self._channel.ask_all(requests, call)
        return known[0], first[0] or last[0], [(body[0], body[1]) for body in found]

    def refuses_locked(self, call: Call) -> bool:
        """Whether `create` in a locked collection is an error; KeePassXC asks to unlock it."""
        return not self._is_keepassxc(call)

    def alias(self, name: str, call: Call) -> str:
        """The path of the collection with this alias; `NOTHING` if there is none."""
        path: str = self.ask(_alias(name), call)[0]
        return path

    def collections(self, call: Call) -> dict[str, str]:
        """Every collection's path with its label."""
        paths = self._collections(call)
        labels = self._channel.ask_all([_label(path) for path in paths], call)
        return {path: body[0] for path, body in zip(paths, labels, strict=True)}

    def is_locked(self, collection: str, call: Call) -> bool:
        """Whether a collection says that it is locked; KWallet says so until `unlock` is called."""
        is_locked: bool = self.ask(_locked(collection), call)[0]
        return is_locked

    def attributes(self, items: Sequence[str], call: Call) -> dict[str, dict[str, str]]:
        """The attributes of each item that is still there."""
        return self._properties(items, "Attributes", "a{ss}", call)

    def modified(self, items: Sequence[str], call: Call) -> dict[str, int]:
        """When each item that is still there was changed last, in seconds since 1970."""
        return self._properties(items, "Modified", "t", call)

    def secrets(self, items: list[str], call: Call) -> dict[str, Secret]:
        """The values of the items that are there and unlocked; the others are left out.

        Raises:
            SecretDamaged: the service sends what our session does not open.
        """
        for _attempt in range(3):
            session, body = self._channel.ask_in_session(
                lambda session: Request(
                    NAME,
                    PATH,
                    SERVICE,
                    "GetSecrets",
                    "aoo",
                    (items, session.path),
                    answer="a{o(oayays)}",
                ),
                call,
            )
            opened = {path: session.opened(structure) for path, structure in body[0].items()}
            del body  # plain, where the service knows nothing better
            found = {path: value for path, value in opened.items() if value is not None}
            if len(found) == len(opened):
                return found
            self._channel.forget_session(session)  # sealed for another daemon's session
        raise SecretDamaged("the Secret Service sends values that do not open")

    def replace(self, item: str, value: Secret, call: Call) -> None:
        """Changes an item's value in place."""
        self._channel.ask_in_session(
            lambda session: Request(
                NAME,
                item,
                ITEM,
                "SetSecret",
                "(oayays)",
                (session.sealed(value),),
                has_value=True,
            ),
            call,
        )

    def create(
        self,
        collection: str,
        label: str,
        attributes: dict[str, str],
        value: Secret,
        call: Call,
    ) -> None:
        """Makes an item, in place of one with the same attributes.

        Raises:
            InteractionDenied: the service wants to ask a person, who said no or must not be asked.
        """
        properties = {f"{ITEM}.Label": ("s", label), f"{ITEM}.Attributes": ("a{ss}", attributes)}
        _session, body = self._channel.ask_in_session(
            lambda session: Request(
                NAME,
                collection,
                COLLECTION,
                "CreateItem",
                "a{sv}(oayays)b",
                (properties, session.sealed(value), True),
                answer="oo",
                has_value=True,
            ),
            call,
        )
        if body[1] != NOTHING:
            # KeePassXC's shows nothing, unless it was locked meanwhile.
            is_silent = is_keepassxc(self._channel, call) and not self.is_locked(collection, call)
            self._prompts.confirm(body[1], call, "keeping an item", is_silent)

    def create_default(self, label: str, call: Call) -> None:
        """Has the service ask a person for a password and make the default collection.

        Raises:
            InteractionDenied: the person said no, or must not be asked.
        """
        body = self.ask(
            Request(
                NAME,
                PATH,
                SERVICE,
                "CreateCollection",
                "a{sv}s",
                ({f"{COLLECTION}.Label": ("s", label)}, "default"),
                answer="oo",
            ),
            call,
        )
        if body[1] != NOTHING:
            self._prompts.confirm(body[1], call, "making a keyring")

    def delete(self, item: str, call: Call) -> bool:
        """Erases an item; False if it was not there.

        Raises:
            InteractionDenied: the service wants to ask a person, who said no or must not be asked.
        """
        attempts = 0

        def attempt(connection: Connection) -> tuple[Any, ...]:
            nonlocal attempts
            attempts += 1
            return connection.ask(Request(NAME, item, ITEM, "Delete", answer="o"), call)

        try:
            prompt = self._channel.repeated(attempt, call)[0]
        except ErrorReply as exc:
            if verdict(exc.name) is not Verdict.SEARCH:
                raise
            # Asked again after an answer was lost: the first one did it, as far as anybody knows.
            return attempts > 1
        if prompt != NOTHING:
            self._prompts.confirm(prompt, call, "deleting an item")
        return True

    def unlock(self, objects: list[str], call: Call) -> bool:
        """Unlocks collections or items; False if the service neither does it nor offers to ask.

        Raises:
            StoreLocked: a person would have to be asked, and the call does not allow that.
            InteractionDenied: the person said no.
            StoreTimeout: nobody answered the prompt; it stays open, and the next call that may
                prompt waits for it rather than showing a second one.
        """
        request = Request(NAME, PATH, SERVICE, "Unlock", "ao", (objects,), answer="aoo")
        if call.interaction == Interaction.ALLOWED:
            return self._prompts.unlock(request, call)
        unlocked, prompt = self.ask(request, call)
        if prompt == NOTHING:
            return bool(unlocked)
        if self._is_open_wallet(objects[0], call):
            self._prompts.confirm(prompt, call, "unlocking", is_silent=True)
            return True
        self._offered_prompts += 1
        if self._offered_prompts >= _MOST_OFFERED_PROMPTS:
            self._channel.close()
            self._offered_prompts = 0
        raise StoreLocked("the keyring is locked", hint=UNLOCK_HINT)

    def _is_keepassxc(self, call: Call) -> bool:
        """Whether KeePassXC is the service, whose own search shows a prompt."""
        now = call.clock.monotonic()
        known = self._keepassxc
        if known is None or not 0.0 <= now - known[1] < _PROGRAM_SECONDS:
            known = is_keepassxc(self._channel, call), now
            self._keepassxc = known
        return known[0]

    def _is_open_wallet(self, path: str, call: Call) -> bool:
        try:
            label = self.ask(_label(path), call)[0]
        except ErrorReply:
            return False  # an item's path: nothing that KWallet locks by itself
        return is_open_wallet(self._channel, label, call)

    def _collections(self, call: Call) -> list[str]:
        paths: list[str] = self.ask(Property(NAME, PATH, SERVICE, "Collections", "ao"), call)[0]
        return paths

    def _properties(self, items: Sequence[str], name: str, kind: str, call: Call) -> dict[str, Any]:
        found = {}
        for start in range(0, len(items), _BATCH):
            batch = items[start : start + _BATCH]
            asked = [Property(NAME, path, ITEM, name, kind) for path in batch]
            answers = self._channel.ask_each(asked, call)
            for path, answer in zip(batch, answers, strict=True):
                if not isinstance(answer, ErrorReply):
                    found[path] = answer[0]
                elif verdict(answer.name) is not Verdict.SEARCH:
                    raise answer
        return found


def shared(address: str, user: object) -> Service:
    """This process's service on a bus; `released` tells that the user needs it no more."""
    pid = os.getpid()
    for key in [key for key in _services if key[0] != pid]:
        # The parent's: dropping it closes this process's descriptor and nothing else.
        _services.pop(key, None)
    service = _services.setdefault((pid, address), Service(address))
    service.users[id(user)] = True
    return service


def is_current(service: Service) -> bool:
    """Whether the service is this process's own: a forked child's copy of its parent's is not."""
    return service.pid == os.getpid()


def released(service: Service, user: object) -> None:
    """Closes the connection if this was its last user; nothing in a forked child."""
    service.users.pop(id(user), None)
    if service.pid == os.getpid() and not service.users:
        if _services.get((service.pid, service.address)) is service:
            _services.pop((service.pid, service.address), None)
        service.close()


#: What mirrors the process itself: its connections, by process and address.
_services: dict[tuple[int, str], Service] = {}


def aliased(name: str) -> str:
    """A path of the collection with this alias, whichever that is just now."""
    return f"{PATH}/aliases/{name}"


def _search(attributes: dict[str, str]) -> Request:
    return Request(NAME, PATH, SERVICE, "SearchItems", "a{ss}", (attributes,), answer="aoao")


def _alias(name: str) -> Request:
    return Request(NAME, PATH, SERVICE, "ReadAlias", "s", (name,), answer="o")


def _locked(collection: str) -> Request:
    return Property(NAME, collection, COLLECTION, "Locked", "b")


def _label(collection: str) -> Request:
    return Property(NAME, collection, COLLECTION, "Label", "s")
