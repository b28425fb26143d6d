"""The command line: `tokenkeep VERB`."""
