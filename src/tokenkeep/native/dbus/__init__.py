"""D-Bus: a connection that answers by a deadline, its address, and its one table of errors."""
