"""One file for each store: `Peer(place)` with `read` and `write`, and what to do with it.

Each runs inside its own environment. As a program, `FILE PLACE NAME` is the shortest whole-process
read that the peer allows, for those whose command line cannot be unlocked without a person.
"""
