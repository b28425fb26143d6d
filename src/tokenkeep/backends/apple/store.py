"""AppleStore: items as generic passwords of a keychain.

An item lies under (service, account) as other programs' generic passwords do, so that
python-keyring finds ours and we find its. Updating comes before adding; nothing is ever deleted to
be written anew, which would lose the person's "Always Allow" with the item's access list.
"""

from __future__ import annotations

import os
import sys
import threading

from tokenkeep.backends.apple.options import AppleOptions, Constraint, Keychain
from tokenkeep.errors import InteractionDenied, InvalidName, StoreLocked, StoreTimeout
from tokenkeep.item import ITEM, MIGRATION, SESSION, Call, Interaction, ItemName, checked_name
from tokenkeep.native.again import Pauses
from tokenkeep.native.apple.security import Control, KeychainFile, Security, Symbol, security_of
from tokenkeep.native.apple.status import (
    DUPLICATE,
    LOCKED,
    NOT_FOUND,
    PASSING,
    SUCCESS,
    error_for,
    is_absent,
)
from tokenkeep.native.bounded import bounded
from tokenkeep.store import Isolation, Persistence, Protection, StoreFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from tokenkeep.clock import Clock
    from tokenkeep.errors import StoreError
    from tokenkeep.native.apple.security import Value
    from tokenkeep.secret import Secret

    T = TypeVar("T")

#: In front of the account of our own records, and of an item whose name begins like one of these:
#: no two names share an account, and every other name is its own.
_PREFIXES = {
    SESSION: "tokenkeep-session:",
    MIGRATION: "tokenkeep-migration:",
    ITEM: "tokenkeep-item:",
}
_LONGEST_WAIT = threading.TIMEOUT_MAX
_ASK = "SecureStorage(..., interaction=Interaction.ALLOWED)"


class AppleStore:
    """A `Store`, also `Indexed`, in the keychain that the options name.

    Every call runs on a thread of its own under the call's deadline, because the file keychain may
    stop to ask the person. A change that the system has not answered by then may still happen;
    the changes after it wait for it.

    Args:
        options: the platform's own keychain if None.
        clock: unused, as every call brings its own.
        platform: "darwin" or "ios"; this system if None.
        security: gives the bound frameworks; this system's if None.

    Raises:
        UnsupportedOption: this platform's keychain cannot honour the options.
    """

    def __init__(
        self,
        options: AppleOptions | None = None,
        clock: Clock | None = None,
        *,
        platform: str | None = None,
        security: Callable[[], Security] | None = None,
    ) -> None:
        self._options = options if options is not None else AppleOptions()
        self._platform = platform if platform is not None else sys.platform
        self._keychain = self._options.keychain_on(self._platform)
        self._security = security or (lambda: security_of(self._platform))
        #: One lock for each process: after a fork nobody is here who could let go of another's.
        self._changes: dict[int, threading.Lock] = {}

    @property
    def facts(self) -> StoreFacts:
        """What protects the items; loads nothing."""
        machine = os.uname().machine if hasattr(os, "uname") else ""
        return facts_of(self._options, self._platform, machine)

    def read(self, name: ItemName, call: Call) -> Secret | None:
        """The item's value; None if it is absent.

        Raises:
            StoreLocked: the device or the keychain is locked.
            InteractionDenied: the person said no, or would have to be asked.
            SecretInvalidated: the item cannot be opened on this device any more.
        """
        limit = Symbol("kSecMatchLimitOne")

        def work(security: Security) -> tuple[int, Secret | None]:
            query = self._query(security, name.service, account_of(name), call)
            return security.copy_data({**query, "kSecMatchLimit": limit})

        return self._asked(call, "reading", work, of_value=name)

    def write(self, name: ItemName, value: Secret, call: Call) -> None:
        """Keeps the value in place of what is there; it, and the options, are what counts now.

        Raises:
            StoreFull, ValueTooLarge: nothing changed.
            StoreLocked, InteractionDenied: as in `read`.
        """
        kept = self._options.access_control
        if kept is not None and kept.application_password and not _may_ask(call):
            raise InteractionDenied("the system would ask for the item's password", hint=_ASK)

        def work(security: Security) -> tuple[int, bool]:
            query = self._query(security, name.service, account_of(name), call)
            changes = {**self._attributes(), "kSecValueData": value}
            place = self._place(security, name.service, account_of(name), is_query=False)
            while True:
                status = security.update(query, changes)
                if is_absent(status):
                    call.check("writing")
                    status = security.add({**place, **changes})
                    if status == DUPLICATE:  # somebody was quicker
                        call.check("writing")
                        continue
                return status, True

        if self._asked(call, "writing", work, is_change=True, of_value=name) is None:
            # What is added cannot be absent: nothing was kept.
            raise error_for(NOT_FOUND, "writing")

    def delete(self, name: ItemName, call: Call) -> bool:
        """Erases the item; True if it existed."""

        def work(security: Security) -> tuple[int, bool]:
            return security.delete(
                self._query(security, name.service, account_of(name), call)
            ), True

        return self._asked(call, "deleting", work, is_change=True) is True

    def names(self, service: str, call: Call) -> list[ItemName]:
        """Every item of the service, of every kind, sorted; asks for no value.

        Items of other programs whose account is no name of ours are left out.
        """
        checked_name(service, "service")

        def work(security: Security) -> tuple[int, list[str]]:
            query = self._query(security, service, None, call)
            return security.copy_texts(query, "kSecAttrAccount")

        accounts = self._asked(call, "listing", work) or []
        found = {name_of(service, account) for account in accounts}
        return sorted(name for name in found if name is not None)

    def contains(self, name: ItemName, call: Call) -> bool:
        """Whether the item exists; asks for no value."""

        def work(security: Security) -> tuple[int, bool]:
            query = self._query(security, name.service, account_of(name), call)
            return security.exists(query), True

        return self._asked(call, "looking", work) is True

    def _asked(
        self,
        call: Call,
        doing: str,
        work: Callable[[Security], tuple[int, T]],
        is_change: bool = False,
        of_value: ItemName | None = None,
    ) -> T | None:
        """What the keychain answered; None if there is no such item.

        Args:
            of_value: the item whose value it is about, for which a person may have to be asked.
        """

        def wait(until: Call) -> T | None:
            def answer() -> T | None:
                return self._worked(until, doing, work, is_change, of_value)

            return bounded(until, answer, doing)

        # It does not say when it asks: the whole of a call that may prompt is the person's time.
        return call.while_asking(wait) if _may_ask(call) else wait(call)

    def _worked(
        self,
        call: Call,
        doing: str,
        work: Callable[[Security], tuple[int, T]],
        is_change: bool,
        of_value: ItemName | None,
    ) -> T | None:
        security = self._security()
        if not is_change:
            return self._answer(security, call, doing, work, of_value)
        changes, remaining = (
            self._changes.setdefault(os.getpid(), threading.Lock()),
            call.remaining(),
        )
        if not changes.acquire(timeout=-1 if remaining is None else min(remaining, _LONGEST_WAIT)):
            raise StoreTimeout("an earlier change has not come back from the keychain")
        try:
            return self._answer(security, call, doing, work, of_value)
        finally:
            changes.release()

    def _answer(
        self,
        security: Security,
        call: Call,
        doing: str,
        work: Callable[[Security], tuple[int, T]],
        of_value: ItemName | None,
    ) -> T | None:
        prompts = security.prompts if self._keychain is Keychain.FILE else None
        may_ask, pauses = _may_ask(call), Pauses(call)
        while True:
            call.check(doing)
            if prompts is not None:
                prompts.enter(may_ask, call)
            try:
                status, answer = work(security)
            finally:
                if prompts is not None:
                    prompts.leave(may_ask)
            if status == SUCCESS:
                return answer
            if is_absent(status):
                return None
            if status not in PASSING or not pauses.wait():
                raise self._problem(security, status, doing, call, of_value)

    def _problem(
        self,
        security: Security,
        status: int,
        doing: str,
        call: Call,
        of_value: ItemName | None,
    ) -> StoreError:
        """Our error; tells a locked keychain from an item that wants the person."""
        if status == LOCKED and not _may_ask(call):
            if self._keychain is Keychain.FILE:
                if security.is_unlocked(_path(self._options)):
                    return InteractionDenied(
                        f"{doing}: the keychain would ask whether this program may", hint=_ASK
                    )
            elif self._options.access_control is not None and of_value is not None:
                query = self._query(security, of_value.service, account_of(of_value), call)
                # Its attributes need no person, only an unlocked device.
                if security.exists(query) == SUCCESS:
                    return InteractionDenied(f"{doing}: the item asks for the person", hint=_ASK)
        return error_for(status, doing, security.message(status))

    def _query(
        self, security: Security, service: str, account: str | None, call: Call
    ) -> dict[str, Value]:
        """What finds an item: never by its accessibility, which would hide it once that changed.

        Nor does it skip items that would ask: they would look absent.
        """
        ui = "kSecUseAuthenticationUIAllow" if _may_ask(call) else "kSecUseAuthenticationUIFail"
        return {
            **self._place(security, service, account, is_query=True),
            "kSecUseAuthenticationUI": Symbol(ui),
        }

    def _place(
        self, security: Security, service: str, account: str | None, is_query: bool
    ) -> dict[str, Value]:
        """What makes an item the one that it is, in this keychain and in no other."""
        options = self._options
        place: dict[str, Value] = {
            "kSecClass": Symbol("kSecClassGenericPassword"),
            "kSecAttrService": service,
        }
        if account is not None:
            place["kSecAttrAccount"] = account
        is_file = self._keychain is Keychain.FILE
        # Without it macOS looks into, and deletes from, both keychains. iOS has one.
        if self._platform != "ios" and (
            not is_file or security.has("kSecUseDataProtectionKeychain")
        ):
            place["kSecUseDataProtectionKeychain"] = not is_file
        if not is_file:
            place["kSecAttrSynchronizable"] = options.synchronizable
            if options.access_group is not None:
                place["kSecAttrAccessGroup"] = options.access_group
        path = _path(options)
        if path is not None:
            key = "kSecMatchSearchList" if is_query else "kSecUseKeychain"
            place[key] = KeychainFile(path, in_list=is_query)
        return place

    def _attributes(self) -> dict[str, Value]:
        """What the options say of a written item besides its place and value."""
        options = self._options
        attributes: dict[str, Value] = {}
        if options.label is not None:
            attributes["kSecAttrLabel"] = options.label
        if self._keychain is Keychain.DATA_PROTECTION:
            accessibility = options.accessible.value
            if options.access_control is None:
                attributes["kSecAttrAccessible"] = Symbol(accessibility)
            else:
                control = Control(accessibility, options.access_control.flags)
                attributes["kSecAttrAccessControl"] = control
        return attributes


def facts_of(options: AppleOptions, platform: str, machine: str) -> StoreFacts:
    """What is true of the keychain that these options mean on a platform.

    Args:
        machine: the processor, as `os.uname` names it.
    """
    if options.keychain_on(platform) is Keychain.FILE:
        return StoreFacts(
            backend="apple-keychain",
            protection=Protection.LOGIN,
            persistence=Persistence.UNTIL_DELETED,
            isolation=Isolation.USER,
            may_prompt=True,
            survives_uninstall=True,
            in_backups=True,
            syncs=False,
            readable_when_locked=None,
            max_value_bytes=None,
            locked_after_boot=True,
            opens_elsewhere=True,  # by the keychain's password
            notes=(
                "an item's access list trusts the program that made it: every script of one Python",
                "the login keychain stays open while the screen is locked, unless set otherwise",
            ),
        )
    accessible, control = options.accessible, options.access_control
    opens_elsewhere = None
    if accessible.is_this_device_only:
        opens_elsewhere = False
    elif platform == "ios" and control is None:
        # Such items migrate in encrypted backups (SecItemConstants.c); nobody promises it of items
        # with an access control, nor of a Mac's backups.
        opens_elsewhere = True
    notes = [f"items open by {accessible.value}"]
    if accessible.name.startswith("WHEN_PASSCODE_SET"):
        notes.append("removing the device's passcode erases the items")
    if control is not None and Constraint.BIOMETRY_CURRENT_SET in control.constraints:
        notes.append("items are gone when a finger or face is added or removed")
    if options.access_group is not None:
        notes.append("other programs of the access group can read the items")
    return StoreFacts(
        backend="apple-keychain",
        protection=_behind_hardware(platform, machine),
        persistence=Persistence.UNTIL_DELETED,
        isolation=Isolation.APPLICATION if options.access_group is None else Isolation.USER,
        may_prompt=control is not None,
        survives_uninstall=True,
        in_backups=not accessible.is_this_device_only,
        syncs=options.synchronizable,
        readable_when_locked=accessible.is_open_when_locked and control is None,
        max_value_bytes=None,
        locked_after_boot=True,
        opens_elsewhere=opens_elsewhere,
        notes=tuple(notes),
    )


def probe(
    options: AppleOptions,
    call: Call,
    *,
    platform: str | None = None,
    security: Callable[[], Security] | None = None,
) -> None:
    """Raises why the keychain cannot be used; never asks the person, changes nothing.

    A locked keychain is the keychain: its calls say so.

    Raises:
        StoreUnavailable: no Apple system, or no such keychain.
        AccessDenied: the program has no entitlement for the data-protection keychain.
        UnsupportedOption: this platform's keychain cannot honour the options.
        StoreTimeout: no answer by the deadline.
    """
    here = platform if platform is not None else sys.platform
    system = security or (lambda: security_of(here))
    store = AppleStore(options, platform=here, security=system)
    if options.keychain_on(here) is Keychain.FILE:

        def look() -> tuple[int, bool | None]:
            return system().keychain_status(_path(options))

        status, _is_unlocked = bounded(call, look, "looking at the keychain")
        if status != SUCCESS:
            raise error_for(status, "looking at the keychain")
    else:
        silent = Call(call.remaining(), Interaction.NEVER, call.clock)
        try:
            store.names("tokenkeep.probe", silent)
        except StoreLocked:
            pass  # it is there


def account_of(name: ItemName) -> str:
    """The account under which an item lies; `name_of` is its inverse."""
    is_its_own = name.kind == ITEM and not name.name.startswith(tuple(_PREFIXES.values()))
    return name.name if is_its_own else _PREFIXES[name.kind] + name.name


def name_of(service: str, account: str) -> ItemName | None:
    """The item of an account; None if no item of ours lies under it."""
    try:
        kind = next((kind for kind, each in _PREFIXES.items() if account.startswith(each)), ITEM)
        name = ItemName(service, account.removeprefix(_PREFIXES[kind]), kind)
    except InvalidName:
        return None
    return name if account_of(name) == account else None


def _behind_hardware(platform: str, machine: str) -> Protection:
    """Every iPhone has a Secure Enclave; of Macs those with Apple's own processors do for sure."""
    return Protection.HARDWARE if platform == "ios" or machine == "arm64" else Protection.LOGIN


def _may_ask(call: Call) -> bool:
    return call.interaction == Interaction.ALLOWED


def _path(options: AppleOptions) -> str | None:
    return None if options.path is None else str(options.path)
