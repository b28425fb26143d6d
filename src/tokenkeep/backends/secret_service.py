"""The Secret Service as a store: gnome-keyring, KWallet or KeePassXC on a Linux desktop.

An item is found by the attributes `service` and `username`, which is how python-keyring and
`secret-tool lookup service SERVICE username NAME` know it. Our own records have attributes of their
own, which nobody takes for a password. Nothing is believed absent before its collection is seen
unlocked.
"""

from __future__ import annotations

from tokenkeep.errors import (
    InvalidName,
    StoreLocked,
    StoreUnavailable,
    UnsupportedOption,
    ValueTooLarge,
)
from tokenkeep.item import Call, Interaction, ItemName, checked_name
from tokenkeep.native.secret_service import naming
from tokenkeep.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from tokenkeep.clock import Clock
    from tokenkeep.native.secret_service.service import Service
    from tokenkeep.store import StoreFacts, UnlockSignals

    T = TypeVar("T")

#: What `SecureStorage` takes by default. gnome-keyring keeps every unlocked value in memory that
#: cannot be swapped, of which a user may have as little as 64 KiB (RLIMIT_MEMLOCK) in all.
MAX_VALUE_BYTES = 65_536

#: The specification's name for a collection in the daemon's memory, gone with the login session.
_IN_MEMORY = "session"
_DEFAULT = "default"
#: Seconds after which the collection behind an alias is asked for again.
_COLLECTION_SECONDS = 30.0
#: Names of which is remembered that their items were there.
_MOST_SEEN = 1000
#: Answers "no such object" or "method" of one object in a row that no race explains any more: what
#: went away is not found again, and a daemon that starts has its objects within these pauses.
_MOST_SEARCHES = 5


class SecretServiceOptions:
    """Asks for the Secret Service of the desktop session.

    Args:
        collection: an alias or a label of the collection; None is the default one, which is where
            `secret-tool` and python-keyring look. "session" is kept in the daemon's memory alone.

    Raises:
        UnsupportedOption: the collection is no text.
    """

    __slots__ = ("collection",)

    collection: str | None

    def __init__(self, *, collection: str | None = None) -> None:
        object.__setattr__(self, "collection", collection)
        if collection is None:
            return
        try:
            checked_name(collection, "collection")
        except InvalidName as exc:
            problem = str(exc)
        else:
            return
        raise UnsupportedOption(problem, hint="collection takes an alias or a label")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("SecretServiceOptions cannot be changed")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretServiceOptions):
            return NotImplemented
        return self.collection == other.collection

    def __hash__(self) -> int:
        return hash((SecretServiceOptions, self.collection))

    def __repr__(self) -> str:
        chosen = "" if self.collection is None else f"collection={self.collection!r}"
        return f"SecretServiceOptions({chosen})"

    def __reduce__(self) -> tuple[object, ...]:
        return _options, (self.collection,)


def _options(collection: str | None) -> SecretServiceOptions:
    return SecretServiceOptions(collection=collection)


def probe(options: SecretServiceOptions, call: Call) -> None:
    """Says why the store cannot be used here now; prompts for nothing and starts nothing.

    Raises:
        MissingExtra: there is a session bus, and jeepney is not installed.
        StoreUnavailable: no session bus, nobody who offers the service, or no such collection.
        AccessDenied, StoreTimeout: the bus refuses us, or does not answer.
    """
    from tokenkeep.native.dbus.address import session_bus

    address = session_bus()  # first: where there is no bus, no package would help
    from tokenkeep.native.secret_service.availability import is_running

    if is_running(address, call):
        store = SecretServiceStore(options)
        try:
            store.look(call)
        finally:
            store.close()


def preload() -> None:
    """Loads what the store's calls work with: for event loops, which an import would hold up.

    Raises:
        MissingExtra: jeepney is not installed.
    """
    from tokenkeep.crypto import CbcCipher, hkdf_sha256
    from tokenkeep.native import lock_signals  # noqa: F401
    from tokenkeep.native.secret_service import availability, service  # noqa: F401

    CbcCipher(hkdf_sha256(Secret(b""), 16)).seal(Secret(b""))


class SecretServiceStore:
    """A `Store`, also `Indexed` and `Unlockable`.

    All stores of a process share one connection and one session.

    Args:
        clock: unused, as every call brings its own.

    Raises:
        MissingExtra: jeepney is not installed.
    """

    def __init__(
        self, options: SecretServiceOptions | None = None, clock: Clock | None = None
    ) -> None:
        # Here and not at the first call, which may be one that an event loop waits for.
        from tokenkeep.native.secret_service import service

        self._options = options if options is not None else SecretServiceOptions()
        self._binding = service
        self._service: Service | None = None
        self._address: str | None = None
        self._collection: tuple[str, float] | None = None
        self._seen: set[ItemName] = set()

    @property
    def facts(self) -> StoreFacts:
        """What protects the items: the login password, where the keyring is unlocked at login."""
        from tokenkeep.store import Isolation, Persistence, Protection, StoreFacts

        is_kept = self._options.collection != _IN_MEMORY
        notes = ["every program of this user can read the items while the keyring is unlocked"]
        if is_kept:
            notes.append("a keyring with an empty password is not encrypted")
            notes.append(
                "KWallet and KeePassXC save some seconds after they answer: killed before"
                " that, they lose the last changes"
            )
        return StoreFacts(
            backend="secret-service",
            protection=Protection.LOGIN if is_kept else Protection.MEMORY,
            persistence=Persistence.UNTIL_DELETED if is_kept else Persistence.LOGIN,
            isolation=Isolation.USER,
            may_prompt=is_kept,
            survives_uninstall=True,
            in_backups=is_kept,
            syncs=False,
            readable_when_locked=not is_kept,
            max_value_bytes=MAX_VALUE_BYTES,
            locked_after_boot=is_kept,
            opens_elsewhere=is_kept,  # by the keyring's password
            notes=tuple(notes),
        )

    def read(self, name: ItemName, call: Call) -> Secret | None:
        """The item's value; None if it is absent from its unlocked collection.

        Raises:
            StoreLocked: the collection is locked, and the call does not allow a prompt.
            InteractionDenied: a person dismissed the prompt.
            SecretDamaged: the service sends what our session does not open.
        """
        call.check("reading")
        return self._again(lambda: self._read(name, call), call)

    def write(self, name: ItemName, value: Secret, call: Call) -> None:
        """Keeps the value: in place where there is an item, else in a new one.

        Raises:
            ValueTooLarge: it exceeds `MAX_VALUE_BYTES`.
            StoreLocked, InteractionDenied: as `read`.
        """
        call.check("writing")
        if value.size > MAX_VALUE_BYTES:
            raise ValueTooLarge(
                f"the value has {value.size} bytes, a keyring takes {MAX_VALUE_BYTES} here",
                hint="tokenkeep vault create",
            )
        tried: list[bool] = []
        self._again(lambda: self._write(name, value, tried, call), call)

    def delete(self, name: ItemName, call: Call) -> bool:
        """Erases every item of this name; True if this call found one to erase.

        Raises:
            StoreLocked, InteractionDenied: as `read`.
        """
        call.check("deleting")
        erased: list[bool] = []
        self._again(lambda: self._delete(name, erased, call), call)
        return any(erased)

    def names(self, service: str, call: Call) -> list[ItemName]:
        """Every item of the service, of every kind, sorted; also what others wrote.

        Raises:
            StoreLocked, InteractionDenied: as `read`.
        """
        checked_name(service, "service")
        call.check("listing")
        return self._again(lambda: self._names(service, call), call)

    def contains(self, name: ItemName, call: Call) -> bool:
        """Whether the item exists; opens no value. Raises as `read`."""
        call.check("looking")
        return self._again(lambda: bool(self._find(name, call)), call)

    def look(self, call: Call) -> None:
        """Asks for the collection, which may be locked.

        Raises:
            StoreUnavailable: there is none.
        """
        self._again(lambda: self._path(call, is_fresh=True), call)

    def unlock_signals(self, call: Call) -> UnlockSignals:
        """Listens for what the keyring, the login session and the screen saver tell.

        Raises:
            StoreError: the session bus cannot be reached.
        """
        from tokenkeep.native.lock_signals import LockSignals

        return LockSignals(self._address or self._binding.session_bus(), call)

    def close(self) -> None:
        """Lets go of the connection, unless another store uses it; the next call opens it again."""
        service, self._service = self._service, None
        if service is not None:
            self._binding.released(service, self)

    def __del__(self) -> None:
        if getattr(self, "_service", None) is not None:
            self.close()

    def _read(self, name: ItemName, call: Call) -> Secret | None:
        paths = self._find(name, call)
        if not paths:
            return None
        path = paths[0] if len(paths) == 1 else self._ranked(paths, call)[0][0]
        value = self._open(call).secrets([path], call).get(path)
        if value is None:  # deleted or locked since it was found: only a search tells which
            raise _Changed
        return value

    def _write(self, name: ItemName, value: Secret, tried: list[bool], call: Call) -> None:
        service, is_default = self._open(call), self._options.collection is None
        # Making an item says itself that the collection is locked: only then is that looked at.
        is_quick = is_default and not tried and service.refuses_locked(call)
        tried.append(True)
        paths = self._find(name, call, is_write=True, is_quick=is_quick)
        if not paths:
            # The alias itself is never an old answer.
            place = self._binding.aliased(_DEFAULT) if is_quick else self._path(call)
            service.create(place, naming.label_of(name), naming.attributes_of(name), value, call)
            self._saw(name, True)
        elif len(paths) == 1:
            service.replace(paths[0], value, call)
        else:
            (path, _is_ours), *others = self._ranked(paths, call)
            service.replace(path, value, call)
            for other, is_ours in others:
                if is_ours:  # what somebody tells apart by more attributes stays
                    service.delete(other, call)

    def _delete(self, name: ItemName, erased: list[bool], call: Call) -> None:
        service = self._open(call)
        with self._binding.held(service.deleting, call):
            for path in self._find(name, call):
                erased.append(service.delete(path, call))
        self._saw(name, False)

    def _names(self, service: str, call: Call) -> list[ItemName]:
        searches = [{naming.SERVICE: service}, {naming.RECORD_SERVICE: service}]
        paths = self._search_carefully(searches, call)
        found = self._open(call).attributes(paths, call).values()
        named = {naming.name_of(attributes, service) for attributes in found}
        return sorted(name for name in named if name is not None)

    def _find(
        self, name: ItemName, call: Call, is_write: bool = False, is_quick: bool = False
    ) -> list[str]:
        """The paths of the items of a name; none only if the collection was seen without it.

        What was here the last time is asked for as if it still were, and everything else as if it
        were not: one round trip either way, and one more for who is surprised. Quickly, none is
        good enough without a look at the collection and its lock.
        """
        searched = naming.search_of(name)
        is_new = name not in self._seen
        if is_new and not is_write and self._known(call) is not None:
            found = self._search_carefully([searched], call)
        else:
            unlocked, locked = self._search(searched, call, is_new, is_quick)
            if is_quick and not (unlocked or locked):
                return []
            inside = self._path(call, (unlocked, locked), is_write, is_new and is_quick) + "/"
            found = [path for path in unlocked if path.startswith(inside)]
            is_locked = any(path.startswith(inside) for path in locked)
            if is_locked or not (found or is_quick):
                found = self._search_carefully([searched], call)
        self._saw(name, bool(found))
        return found

    def _saw(self, name: ItemName, is_there: bool) -> None:
        """Remembers whether the item is there: a guess for the next question, never an answer."""
        if not is_there:
            self._seen.discard(name)
        elif len(self._seen) < _MOST_SEEN:
            self._seen.add(name)

    def _search(
        self, searched: dict[str, str], call: Call, is_fresh: bool, is_quick: bool
    ) -> tuple[list[str], list[str]]:
        """The unlocked and the locked items anywhere; the collection is asked for beside them."""
        service, wanted = self._open(call), self._options.collection
        if is_quick or wanted is not None or not (is_fresh or self._known(call) is None):
            return service.search(searched, call)
        self._collection, now = None, call.clock.monotonic()
        found, path = service.search_beside(searched, _DEFAULT, call)
        if path != self._binding.NOTHING:
            self._collection = path, now
        return found

    def _search_carefully(self, searches: list[dict[str, str]], call: Call) -> list[str]:
        """The paths found in the collection, which was seen unlocked before and after."""
        wanted = self._options.collection
        collection = self._path(call, is_fresh=wanted is not None)
        service = self._open(call)
        default, is_locked, answers = service.look(collection, _DEFAULT, searches, call)
        if wanted is None and default != collection:  # another one by now
            self._collection = None
            raise _Changed
        inside = collection + "/"
        locked = [path for _, those in answers for path in those if path.startswith(inside)]
        if is_locked or locked:
            if not service.unlock([collection] if is_locked else locked, call):
                raise StoreLocked("the keyring is locked and does not offer to be unlocked")
            raise _Changed
        return [path for those, _ in answers for path in those if path.startswith(inside)]

    def _ranked(self, paths: list[str], call: Call) -> list[tuple[str, bool]]:
        """Several items of one name, the one that counts first, and whether nobody tells it apart.

        That is the one changed last, and of those changed in the same second the newest: every
        process finds the same one.
        """
        service = self._open(call)
        attributes = service.attributes(paths, call)
        modified = service.modified(paths, call)
        there = [path for path in paths if path in attributes and path in modified]
        if not there:
            raise _Changed
        plain = {path: attributes[path].keys() <= naming.KNOWN for path in there}
        there.sort(key=lambda path: (plain[path], modified[path], len(path), path), reverse=True)
        return [(path, plain[path]) for path in there]

    def _path(
        self,
        call: Call,
        found: tuple[list[str], list[str]] = ([], []),
        is_write: bool = False,
        is_fresh: bool = False,
    ) -> str:
        """The path of the collection, asked for anew from time to time.

        Args:
            found: unlocked and locked items of the name in any collection.
        """
        known = None if is_fresh else self._known(call)
        if known is not None:
            return known
        self._collection, now = None, call.clock.monotonic()
        path = self._resolved(found, is_write, call)
        self._collection = path, now
        return path

    def _known(self, call: Call) -> str | None:
        """The path of the collection, if it was asked for lately."""
        known = self._collection  # once: another thread may forget it meanwhile
        if known is None:
            return None
        path, asked = known
        return path if 0.0 <= call.clock.monotonic() - asked < _COLLECTION_SECONDS else None

    def _resolved(self, found: tuple[list[str], list[str]], is_write: bool, call: Call) -> str:
        service = self._open(call)
        wanted = self._options.collection
        path = service.alias(wanted or _DEFAULT, call)
        if path != self._binding.NOTHING:
            return path
        if wanted is not None:
            return self._labelled(wanted, call)
        unlocked, locked = found
        if locked:
            raise StoreLocked("there is no default keyring, but a locked one has this item")
        if unlocked:
            raise StoreUnavailable(
                "there is no default keyring, but another one has this item",
                hint="make it the default, or name it: SecretServiceOptions(collection=...)",
            )
        if is_write and call.interaction == Interaction.ALLOWED:
            service.create_default("Default keyring", call)
            raise _Changed
        raise StoreUnavailable(
            "there is no default keyring: nobody has logged in to a desktop here",
            hint="tokenkeep vault create",
        )

    def _labelled(self, label: str, call: Call) -> str:
        labels = self._open(call).collections(call)
        paths = [path for path, each in labels.items() if each == label]
        if len(paths) == 1:
            return paths[0]
        said = f"{len(paths)} keyrings are labelled" if paths else "there is no keyring labelled"
        others = ", ".join(sorted(repr(each) for each in labels.values()))
        raise StoreUnavailable(f"{said} {label!r}", hint=f"there are {others or 'none'}")

    def _open(self, call: Call) -> Service:
        """This process's service, also in a forked child."""
        service = self._service
        if service is None or not self._binding.is_current(service):
            if self._address is None:
                self._address = self._binding.session_bus()
            service = self._service = self._binding.shared(self._address, self)
        return service

    def _again(self, work: Callable[[], T], call: Call) -> T:
        """What the work gives, done again while items and locks change under it.

        Raises:
            StoreError: as the table says of an answer that is an error; never with its text.
        """
        binding = self._binding
        pause: Any = None
        missing, searches = "", 0
        problem: Exception | None = None
        while problem is None:
            try:
                return work()
            except _Changed:
                was_locked = False
            except binding.ErrorReply as exc:
                meant = binding.verdict(exc.name)
                was_locked = meant is StoreLocked
                is_gone = meant is binding.Verdict.SEARCH
                if is_gone:
                    searches = 1 + (searches if missing == exc.path else 0)
                    missing = exc.path
                if was_locked or (is_gone and searches < _MOST_SEARCHES):
                    self._collection = None
                else:
                    problem = binding.translated(exc)
                    continue
            pause = pause or binding.Pause(call)
            if was_locked and call.remaining() == 0.0:
                problem = StoreLocked("the keyring was locked again and again")
            else:
                pause()
        raise problem


class _Changed(Exception):
    """Something else is true by now: look again."""
