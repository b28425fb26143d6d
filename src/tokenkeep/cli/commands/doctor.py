"""`doctor`: what keeps secrets here and whether all is well; it changes nothing."""

from __future__ import annotations

from typing import Any

import click

from tokenkeep.cli import exits
from tokenkeep.cli.commands.status import EXITS, describe
from tokenkeep.cli.commands.vault.unlock import spoken
from tokenkeep.cli.settings import Settings
from tokenkeep.cli.terminal import shown, tell, write_json, write_lines
from tokenkeep.cli.tree import options, settings_of
from tokenkeep.errors import SecretDamaged, StoreError, StoreUnavailable, TokenkeepError
from tokenkeep.health import is_the_stores, state_of
from tokenkeep.item import Call, Interaction
from tokenkeep.outlook import outlook
from tokenkeep.select import Candidate, candidates
from tokenkeep.session.state import State
from tokenkeep.session.stored import look
from tokenkeep.storage import SecureStorage
from tokenkeep.tokens.accounts import stored_accounts
from tokenkeep.unlocked_vault import Unlocked, unlocked
from tokenkeep.vault.reset import says_lost
from tokenkeep.vault.vault import Vault

#: A service that nobody has: asking for it opens the store.
_NOBODY = "tokenkeep.doctor"
#: The exit code for an item or a store that is not well, by `tokenkeep.health`'s word.
_ITEM_EXITS = {
    "locked": exits.NOT_NOW,
    "denied": exits.NOT_NOW,
    "timed out": exits.NOT_NOW,
    "unavailable": exits.UNAVAILABLE,
}


@click.command()
@options(json=True)
@click.pass_context
def command(ctx: click.Context) -> int:
    """Say what keeps secrets here, and whether all is well.

    Names every store, used or not, with its reason, what protects the one that is, whether
    it opens, the health of every item, where each session stands, and what would be lost. Changes
    nothing, and has no keyring ask for its password. Exit 0 only when all is well.
    """
    settings = settings_of(ctx)
    found = Findings()
    examine(settings, found)
    if settings.wants_json:
        write_json(found.facts)
    else:
        write_lines(*_as_lines(found.facts))
    tell(*(f"hint: {shown(hint)}" for hint in dict.fromkeys(found.hints)))
    return found.exit_code


class Findings:
    """What was found, and the exit code of the first thing that is not well."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.hints: list[str] = []
        self.exit_code = exits.OK

    def problem(self, code: int, hint: str | None = None) -> None:
        """Something is not well."""
        self.exit_code = self.exit_code or code
        if hint is not None:
            self.hints.append(hint)

    def failed(self, problem: TokenkeepError) -> None:
        """The store cannot be looked at, or no further."""
        self.facts["state"] = state_of(problem)
        self.facts["problem"] = str(problem)
        self.problem(exits.exit_code(problem), problem.hint)
        if says_lost(problem) and "storage.reset()" not in str(problem.hint):
            self.hints.append(
                "if the key is lost for good: tokenkeep vault reset, or storage.reset() in Python"
            )


def examine(settings: Settings, found: Findings) -> None:
    """Looks at everything and changes nothing.

    Raises:
        UnsupportedOption, AccessDenied: the configuration is damaged or unreadable.
    """
    facts = found.facts
    config = settings.config
    facts["configuration"] = config.path
    chosen = settings.options()
    stores = candidates(chosen)
    problem = next((each.problem for each in stores if each.problem is not None), None)
    # What was asked for is the store, also where it cannot be used now.
    own = [each for each in stores if each.usable or (chosen and each.problem is not None)]
    facts["store"] = own[0].name if own else None
    facts["candidates"] = [_described(each) for each in stores]
    if not own:
        if problem is not None and not isinstance(problem, StoreUnavailable):
            found.failed(problem)  # the platform's own store is there, and not now
        else:
            facts["state"] = "no store is chosen"
            found.problem(exits.UNAVAILABLE, "tokenkeep vault create")
        return
    facts["path"] = next((getattr(each, "path", None) for each in chosen), None)
    kept = _unlocked(facts["path"]) if config.names_vault() else None
    if kept is not None:
        facts["unlocked"] = spoken(kept)
    try:
        with settings.storage(config.app or _NOBODY, Interaction.NEVER) as storage:
            examine_storage(storage, found, knows_app=config.app is not None)
    except StoreUnavailable as exc:
        # Why the store that was asked for is not here, rather than a list of all the others.
        found.failed(exc if problem is None else problem)
    except TokenkeepError as exc:
        found.failed(exc)
    if config.passphrase_file is not None and "protection" in facts:
        # The vault cannot know where its passphrase lies; the configuration does.
        facts["protection"] = "file permissions"
        facts["notes"].append(
            f"the passphrase lies in {config.passphrase_file}: whoever can read it and the vault"
            " can read every item"
        )


def _described(store: Candidate) -> dict[str, str | None]:
    if store.usable:
        return {"store": store.name, "use": "used", "reason": store.reason, "remedy": None}
    use = "not used" if store.problem is None else "cannot be used"
    return {"store": store.name, "use": use, "reason": store.reason, "remedy": store.remedy}


def _unlocked(path: str) -> Unlocked | None:
    """Until when the vault opens without a question, if somebody unlocked it for a while."""
    try:
        header = Vault(path, (), False).header()
    except StoreError:
        return None  # the store's own state says why
    return None if header is None else unlocked(header.vault_id, Call())


def examine_storage(storage: SecureStorage, found: Findings, *, knows_app: bool) -> None:
    """Looks at a store, and at the items and sessions of an application if there is one.

    Raises:
        TokenkeepError: the store fails for all of them; what was found before is noted.
    """
    facts = found.facts
    protection = storage.facts
    facts["protection"] = protection.protection.name.replace("_", " ").lower()
    facts["notes"] = list(protection.notes)
    facts["what_happens_on"] = outlook(protection)
    damage: SecretDamaged | None = None
    try:
        # Listing opens the store; its own error says more than the report's word for it.
        storage.store.names(storage.service, storage.call())
    except SecretDamaged as exc:
        damage = exc  # of one name, perhaps, which hides no other
    report = storage.check()
    if damage is not None and not (report.items or report.not_looked_at):
        raise damage
    facts["state"] = report.state
    if report.problem is not None:
        facts["problem"] = report.problem
        found.problem(_ITEM_EXITS.get(report.state, exits.DAMAGED), report.hint)
    if not knows_app:
        facts["items"] = "not looked at"
        found.hints.append("tokenkeep --app SERVICE doctor looks at its items")
        return
    facts["items"] = [
        {"name": item.name, "kind": item.kind, "state": item.state, "bytes": item.size}
        for item in report.items
    ]
    for item in report.items:
        if item.state != "ok":
            found.problem(_ITEM_EXITS.get(item.state, exits.DAMAGED), item.hint)
    if any(item.state == "invalidated" for item in report.items):
        found.hints.append(
            "what is gone for good: tokenkeep delete NAME, or storage.reset() in Python for"
            " everything; then sign in again"
        )
    if report.not_looked_at:
        facts["items_not_looked_at"] = report.not_looked_at
    elif report.problem is None:
        facts["sessions"] = _sessions(storage, found)


def _sessions(storage: SecureStorage, found: Findings) -> list[dict[str, object]]:
    sessions: list[dict[str, object]] = []
    for tokens in stored_accounts(storage):
        try:
            session = look(tokens)
        except TokenkeepError as exc:
            if is_the_stores(exc, storage.store, storage.service, storage.call()):
                raise
            sessions.append({"account": tokens.account, "state": str(exc)})
            found.problem(exits.exit_code(exc), exc.hint)
            continue
        sessions.append(describe(tokens, session))
        if session.state is not State.SIGNED_OUT and EXITS[session.state] != exits.OK:
            found.problem(EXITS[session.state], f"tokenkeep status --account {tokens.account}")
    return sessions


def _as_lines(facts: dict[str, Any]) -> list[str]:
    lines = []
    for key, value in facts.items():
        name = key.replace("_", " ")
        if isinstance(value, dict):
            lines.append(f"{name}:")
            lines += [f"  {each}: {shown(str(value[each]))}" for each in value]
        elif isinstance(value, list):
            lines.append(f"{name}:{'' if value else ' none'}")
            lines += [f"  {_in_one_line(each)}" for each in value]
        else:
            lines.append(f"{name}: {'none' if value is None else shown(str(value))}")
    return lines


def _in_one_line(value: object) -> str:
    """What a list says of one thing: its first value names it, the next ones matter most."""
    if not isinstance(value, dict):
        return shown(str(value))
    first, *more = (shown(str(each)) for each in list(value.values())[:4] if each is not None)
    return f"{first}: {', '.join(more)}"
