"""The life of a login: begun, restored, refreshed once however many ask, and ended for good."""
