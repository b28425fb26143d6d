"""Windows Credential Manager as a store, beside python-keyring."""

from tokenkeep.backends.windows.options import WindowsOptions, WindowsPersistence, probe
from tokenkeep.backends.windows.store import WindowsCredentialStore

__all__ = ["WindowsCredentialStore", "WindowsOptions", "WindowsPersistence", "probe"]
