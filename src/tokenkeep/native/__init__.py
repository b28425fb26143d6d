"""Bindings to what the platforms offer, each with its one table of errors; nothing else."""
