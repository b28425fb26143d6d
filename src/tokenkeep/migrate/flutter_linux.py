"""flutter_secure_storage on Linux as the source: one item of the Secret Service.

Found by its one attribute, as the plugin's schema name is not reliable. The application should not
run meanwhile: it rewrites the item from memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from tokenkeep.errors import StoreError, StoreLocked, UnsupportedOption
from tokenkeep.item import Call
from tokenkeep.migrate.flutter import FlutterMap, refuse_changed
from tokenkeep.secret import Secret

if TYPE_CHECKING:
    from tokenkeep.native.secret_service.service import Service

T = TypeVar("T")

_EMPTY = Secret("{}")  # what the plugin leaves when nothing is left


def flutter_linux(application_id: str, call: Callable[[], Call] = Call) -> FlutterMap:
    """The keys of an application by its id, such as "com.example.notes".

    Args:
        call: gives every look at the item its deadline, and says whether it may prompt.

    Raises:
        MissingExtra: the library for the Secret Service is not installed.
    """
    if not application_id:
        raise UnsupportedOption("an application's id must not be empty")
    return FlutterMap(_Item(application_id, call))


class _Item:
    """The plugin's item."""

    def __init__(self, application_id: str, call: Callable[[], Call]) -> None:
        from tokenkeep.native.secret_service import service

        self._binding = service
        self._service: Service | None = None  # kept: a session for each key would take its time
        self._call = call
        self._attributes = {"account": f"{application_id}.secureStorage"}
        self.identity = f"flutter-linux {application_id}"

    def load(self) -> Secret | None:
        call = self._call()
        return self._with(lambda service: self._found(service, call)[1])

    def save(self, seen: Secret, content: Secret | None) -> None:
        call = self._call()

        def put(service: Service) -> None:
            path, there = self._found(service, call)
            if there is None or there != seen:
                raise refuse_changed()
            service.replace(path, _EMPTY if content is None else content, call)
            if self._found(service, call)[1] != (_EMPTY if content is None else content):
                raise refuse_changed()

        self._with(put)

    def _found(self, service: Service, call: Call) -> tuple[str, Secret | None]:
        for _attempt in range(3):
            unlocked, locked = service.search(self._attributes, call)
            if not unlocked and not locked:
                # A locked collection may hide what it has.
                collection = service.alias("default", call)
                if collection == self._binding.NOTHING or not service.is_locked(collection, call):
                    return "", None
                locked = [collection]
            if locked:
                if not service.unlock(locked, call):
                    break
                continue
            modified = service.modified(unlocked, call)
            path = max(unlocked, key=lambda each: (modified.get(each, 0), each))
            value = service.secrets([path], call).get(path)
            if value is not None:
                return path, value
        raise StoreLocked("the keyring is locked", hint="unlock it, then try again")

    def _with(self, work: Callable[[Service], T]) -> T:
        binding = self._binding
        if self._service is None or not binding.is_current(self._service):
            self._service = binding.shared(binding.session_bus(), self)
        problem: StoreError
        try:
            return work(self._service)
        except binding.ErrorReply as exc:
            problem = binding.translated(exc)
        raise problem

    def __del__(self) -> None:
        service = getattr(self, "_service", None)
        if service is not None:
            self._binding.released(service, self)
