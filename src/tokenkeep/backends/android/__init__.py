"""Android: options, the store, and the Keystore as a vault's key."""

from tokenkeep.backends.android.key import AndroidKeystoreKey
from tokenkeep.backends.android.options import (
    AndroidOptions,
    Authenticator,
    Place,
    StrongBox,
    UserAuthentication,
)
from tokenkeep.backends.android.store import AndroidStore, probe

__all__ = [
    "AndroidKeystoreKey",
    "AndroidOptions",
    "AndroidStore",
    "Authenticator",
    "Place",
    "StrongBox",
    "UserAuthentication",
    "probe",
]
