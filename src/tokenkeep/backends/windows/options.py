"""How long Windows is to keep credentials, and whether it can keep any here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from tokenkeep.errors import StoreUnavailable, UnsupportedOption
from tokenkeep.item import Call
from tokenkeep.native import wincred
from tokenkeep.native.bounded import bounded
from tokenkeep.native.winerror import problem


class WindowsPersistence(IntEnum):
    """How long a credential stays, and where: `CRED_PERSIST_...` of wincred.h."""

    #: Until this logon ends.
    SESSION = 1
    #: Until deleted, on this machine.
    LOCAL_MACHINE = 2
    #: Until deleted; goes with a roaming profile to the user's other machines.
    ENTERPRISE = 3


@dataclass(frozen=True, slots=True)
class WindowsOptions:
    """Asks for Credential Manager.

    Args:
        persistence: how long items stay, and where.

    Raises:
        UnsupportedOption: it is something else than a `WindowsPersistence`.
    """

    persistence: WindowsPersistence = WindowsPersistence.LOCAL_MACHINE

    def __post_init__(self) -> None:
        if not isinstance(self.persistence, WindowsPersistence):
            raise UnsupportedOption(
                f"persistence is a WindowsPersistence, not {type(self.persistence).__name__}",
                hint="persistence=WindowsPersistence.LOCAL_MACHINE",
            )


def probe(
    options: WindowsOptions, call: Call, manager: wincred.CredentialManager | None = None
) -> None:
    """Says why Credential Manager cannot be used now; reads no credential and changes nothing.

    Raises:
        StoreUnavailable: this is not Windows, or this logon or a policy keeps no credentials.
        UnsupportedOption: they are not kept as long as the options ask.
        StoreTimeout: Windows did not answer in time.
    """
    api = manager if manager is not None else wincred.CredentialManager()
    code, longest = bounded(call, api.longest_persistence, "looking at Credential Manager")
    if code:
        found = problem(wincred.ERRORS, code, "looking at Credential Manager")
        raise found or StoreUnavailable("Credential Manager does not say what it keeps")
    if not longest:
        raise StoreUnavailable(
            "this logon keeps no credentials, as over the network or by policy",
            hint="tokenkeep vault create",
        )
    if longest < options.persistence:
        raise UnsupportedOption(
            f"Windows keeps credentials no longer than {WindowsPersistence(longest).name} here",
            hint=f"persistence=WindowsPersistence.{WindowsPersistence(longest).name}",
        )
