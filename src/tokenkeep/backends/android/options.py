"""What an application asks of its Android store: importable everywhere, impossible ones refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import partial

from tokenkeep.errors import UnsupportedOption


class StrongBox(Enum):
    """Whether the key lives in the device's separate security chip."""

    NEVER = "never"
    #: Where the device has one; else in its trusted execution environment.
    PREFERRED = "preferred"
    #: Nowhere else: a device without one is refused.
    REQUIRED = "required"


class Authenticator(Enum):
    """How a person proves to be there; biometrics are always class 3 ("strong")."""

    BIOMETRIC = "biometric"
    DEVICE_CREDENTIAL = "device credential"
    EITHER = "either"


class Place(Enum):
    """Which of the application's private directories keeps the vault."""

    NO_BACKUP = "no backup"
    #: In backups, unless the application ships the exclusion rules; the key is in none.
    FILES = "files"


@dataclass(frozen=True, slots=True)
class UserAuthentication:
    """A person has to authenticate before the vault can be opened.

    Args:
        seconds: how long one authentication counts; None for each opening anew, which shows the
            prompt each time.
        by: what counts.
        invalidated_by_enrolment: a newly enrolled finger or face ends the key for good; None is
            Android's own rule, which is so for biometrics at each opening. Can only be True there.
        title: what the prompt says.

    Raises:
        UnsupportedOption: the combination cannot be.
    """

    seconds: int | None = None
    by: Authenticator = Authenticator.EITHER
    invalidated_by_enrolment: bool | None = None
    title: str = "Unlock your secrets"

    def __post_init__(self) -> None:
        _require(self.by, Authenticator, "by")
        seconds: object = self.seconds
        is_whole = isinstance(seconds, int) and not isinstance(seconds, bool) and seconds > 0
        if seconds is not None and not is_whole:
            raise UnsupportedOption(
                "seconds is a whole number from 1", hint="seconds=None asks at each opening"
            )
        ends_by_enrolment = self.seconds is None and self.by is Authenticator.BIOMETRIC
        if self.invalidated_by_enrolment and not ends_by_enrolment:
            raise UnsupportedOption(
                "Android ends a key by enrolment only if biometrics open it each time",
                hint="UserAuthentication(by=Authenticator.BIOMETRIC)",
            )
        if not self.title:
            raise UnsupportedOption(
                "the prompt needs a title", hint="UserAuthentication(title=...)"
            )


_WITHIN = "user_authentication=UserAuthentication(seconds=...)"
#: What other libraries and older Androids call it, and what it is called here.
_REPLACED = {
    "encrypted_shared_preferences": "the vault; tokenkeep import reads the old preferences",
    "user_authentication_required": "user_authentication=UserAuthentication()",
    "user_authentication_validity_duration_seconds": _WITHIN,
    "user_authentication_valid_while_on_body": _WITHIN,
    "randomized_encryption_required": "nothing: it is always required",
    "strong_box_backed": "strongbox=StrongBox.REQUIRED",
    "reset_on_error": "storage.reset(), which nothing calls by itself",
}


class AndroidOptions:
    """A vault in the application's private storage, opened by a key of the Android Keystore.

    Args:
        strongbox: whether the key has to live in StrongBox.
        unlocked_device_required: the vault opens only while the device is unlocked (API level 28).
        user_authentication: a person has to authenticate first (API level 30); None for nobody.
        place: which private directory keeps the vault.

    Raises:
        UnsupportedOption: another type than these, or an option that was replaced.
        TypeError: an unknown option.
    """

    __slots__ = ("place", "strongbox", "unlocked_device_required", "user_authentication")

    strongbox: StrongBox
    unlocked_device_required: bool
    user_authentication: UserAuthentication | None
    place: Place

    def __init__(
        self,
        *,
        strongbox: StrongBox = StrongBox.PREFERRED,
        unlocked_device_required: bool = False,
        user_authentication: UserAuthentication | None = None,
        place: Place = Place.NO_BACKUP,
        **replaced: object,
    ) -> None:
        put = object.__setattr__
        put(self, "strongbox", strongbox)
        put(self, "unlocked_device_required", unlocked_device_required)
        put(self, "user_authentication", user_authentication)
        put(self, "place", place)
        for name in replaced:
            if name not in _REPLACED:
                raise TypeError(f"AndroidOptions has no option {name!r}")
            raise UnsupportedOption(f"{name} was replaced", hint=f"use {_REPLACED[name]}")
        _require(strongbox, StrongBox, "strongbox")
        _require(unlocked_device_required, bool, "unlocked_device_required")
        _require(place, Place, "place")
        if user_authentication is not None:
            _require(user_authentication, UserAuthentication, "user_authentication")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("AndroidOptions cannot be changed")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AndroidOptions):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return (
            f"AndroidOptions(strongbox={self.strongbox},"
            f" unlocked_device_required={self.unlocked_device_required},"
            f" user_authentication={self.user_authentication}, place={self.place})"
        )

    def __reduce__(self) -> tuple[object, tuple[()]]:
        values = {name: getattr(self, name) for name in self.__slots__}
        return partial(AndroidOptions, **values), ()

    def _key(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)


def _require(value: object, kind: type, name: str) -> None:
    if not isinstance(value, kind):
        raise UnsupportedOption(
            f"{name} is a {kind.__name__}, not {type(value).__name__}",
            hint=f"from tokenkeep.backends.android import {kind.__name__}"
            if kind is not bool
            else f"{name}=True or {name}=False",
        )
