"""A program on the public API whose vault stops taking writes while a refresh is on its way.

Run by the scene `full`, as `python -m tokenkeep.cli.demo.memory_only VAULT KEY SERVICE ISSUER
CLIENT ACCOUNT MIN_TTL`. It takes `full` and `free` on stdin, answers each with one JSON line and
says every change of its session in one. The kernel is what refuses: a limit on the size of files
(RLIMIT_FSIZE) of this process. It needs no small disk, and holds for root too.
"""

from __future__ import annotations

import json
import sys
import threading

from tokenkeep import KeyFile, Provider, SecureStorage, Session, TokenStorage, VaultOptions
from tokenkeep.session.state import Change

#: A page of the vault's database: nothing can be written to the vault, wherever in its files, while
#: the session's log and lock, of a few lines each, still can be.
_FULL_BYTES = 4096
_SAVED_WITHIN_SECONDS = 15.0


def main(
    vault: str, key: str, service: str, issuer: str, client_id: str, account: str, min_ttl: str
) -> int:
    """Plays the program's part; its exit code."""
    is_saved = threading.Event()

    def changed(change: Change) -> None:
        _say(state=change.state.value, reason=change.reason)
        if change.reason == "saved at last":
            is_saved.set()

    storage = SecureStorage(service, VaultOptions(vault, KeyFile(key), create=False))
    tokens = TokenStorage(storage, account=account)
    with Session(
        Provider(issuer, client_id=client_id), tokens, share_access_tokens=True
    ) as session:
        session.on_change(changed)
        session.restore()
        refresh = session.refresh_in_flight(float(min_ttl))
        _await("full")
        before = _limit_files(_FULL_BYTES)
        _say(full=True)
        token = refresh.result()
        _say(token=token.reveal(), state=session.state.value)
        _await("free")
        _limit_files(before)
        _say(free=True)
        is_saved.wait(_SAVED_WITHIN_SECONDS)
        _say(state=session.state.value)
    return 0


def _limit_files(size: int) -> int:
    """Refuses writes beyond so many bytes of any file; what the limit was before."""
    import resource

    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    return before


def _await(order: str) -> None:
    if sys.stdin.readline().strip() != order:
        raise SystemExit(f"expected {order}")


def _say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
