"""The encrypted vault: format and envelope (no I/O), key slots, engine, and the life of a vault."""
