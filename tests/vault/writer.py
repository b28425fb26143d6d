"""A process that writes to a vault until it is killed, and says what was acknowledged.

Each line is written after the write returned: `NAME COUNT`. Own items count up alone; shared
items are exchanged against what was read, so that a lost update shows as a gap.
"""

from __future__ import annotations

import os
import random
import sys

from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import WriteConflict
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault.key_file import KeyFile

SERVICE = "org.example.notes"
PAYLOAD = "." * 300


def main(directory: str, number: str, start: str) -> None:
    store = VaultStore(
        VaultOptions(os.path.join(directory, "vault"), KeyFile(os.path.join(directory, "key")))
    )
    dice = random.Random(int(number) * 1000 + int(start))
    count = int(start)
    own = ItemName(SERVICE, f"own {number}")
    while True:
        count += 1
        store.write(own, Secret(f"{count} {PAYLOAD}"), Call(60))
        print(f"own {number} {count}", flush=True)
        shared = ItemName(SERVICE, f"shared {dice.randrange(3)}")
        before = store.read(shared, Call(60))
        seen = 0 if before is None else int(before.reveal().split()[0])
        try:
            store.replace(shared, before, Secret(f"{seen + 1} {PAYLOAD}"), Call(60))
        except WriteConflict:
            continue
        print(f"{shared.name} {seen + 1}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
