"""The Secret Service of a desktop session: its objects, over one kept connection and session."""
