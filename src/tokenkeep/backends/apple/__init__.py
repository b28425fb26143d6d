"""Apple's keychains as a store: the data-protection keychain, and macOS's file keychain."""

from tokenkeep.backends.apple.options import (
    AccessControl,
    Accessibility,
    AppleOptions,
    Combine,
    Constraint,
    Keychain,
)
from tokenkeep.backends.apple.store import AppleStore, probe

__all__ = [
    "AccessControl",
    "Accessibility",
    "AppleOptions",
    "AppleStore",
    "Combine",
    "Constraint",
    "Keychain",
    "probe",
]
