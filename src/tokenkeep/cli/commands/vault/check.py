"""`vault check`: reads everything in the vault and reports; changes nothing."""

from __future__ import annotations

import click

from tokenkeep.cli import exits
from tokenkeep.cli.commands.vault.opening import calls, chosen_vault
from tokenkeep.cli.progress import progress
from tokenkeep.cli.settings import Settings
from tokenkeep.cli.slot_keys import about, closed
from tokenkeep.cli.terminal import shown, tell, write_json, write_lines
from tokenkeep.cli.tree import options, settings_of
from tokenkeep.errors import SecretDamaged, TokenkeepError
from tokenkeep.item import Call
from tokenkeep.vault.access import list_keys
from tokenkeep.vault.check import CheckReport, check
from tokenkeep.vault.format import RESTORE_HINT, Slot
from tokenkeep.vault.vault import Vault


@click.command()
@options(json=True)
@click.pass_context
def command(ctx: click.Context) -> int:
    """Read everything in the vault, list its keys and what is wrong; change nothing."""
    settings = settings_of(ctx)
    vault = _vault(ctx)
    try:
        with progress("checking") as told:
            report = check(vault, calls(settings), told)
        keys = _keys(vault)
        shut = _closed(vault, keys, settings)
    finally:
        vault.close()
    if settings.wants_json:
        write_json(_document(vault, report, keys, shut))
    else:
        write_lines(
            f"vault: {vault.path}",
            *(f"key {_spoken(slot, shut)}" for slot in keys),
            f"items that open: {report.items}",
            f"kept in quarantine: {report.quarantined}",
            *(["a rekey was begun and not finished"] if report.is_rekeying else []),
            *(f"wrong: {each.where}: {shown(str(each.error))}" for each in report.findings),
        )
    if report.is_rekeying:
        tell("hint: tokenkeep vault rekey")
    # Damage that sends people here has no better way on than the backup.
    hints = [
        RESTORE_HINT if finding.error.hint == "tokenkeep vault check" else finding.error.hint
        for finding in report.findings
    ]
    tell(*(f"hint: {shown(hint)}" for hint in dict.fromkeys(hints) if hint))
    return exits.exit_code(report.findings[0].error) if report.findings else exits.OK


def _vault(ctx: click.Context) -> Vault:
    settings = settings_of(ctx)
    try:
        return chosen_vault(settings)
    except SecretDamaged:
        # A damaged header is a finding too.
        options = settings.vault()
        return Vault(options.path, options.keys, False)


def _keys(vault: Vault) -> tuple[Slot, ...]:
    try:
        return list_keys(vault)
    except SecretDamaged:
        return ()


def _closed(
    vault: Vault, keys: tuple[Slot, ...], settings: Settings
) -> dict[bytes, TokenkeepError | None]:
    """Why platforms' slots do not open here, by slot id; without a prompt."""
    header = vault.header() if keys else None
    if header is None:
        return {}
    return {
        slot.id: closed(slot, header, settings, Call(settings.timeout)) for slot in header.slots
    }


def _spoken(slot: Slot, shut: dict[bytes, TokenkeepError | None]) -> str:
    problem = shut.get(slot.id)
    label = f" ({shown(slot.label)})" if slot.label else ""
    what = shown(about(slot))
    return f"{slot.id.hex()}: {slot.kind or 'damaged'}{label}{what and f', {what}'}" + (
        f", does not open here: {shown(str(problem))}" if problem is not None else ""
    )


def _code(problem: TokenkeepError | None) -> str | None:
    return None if problem is None else problem.code


def _document(
    vault: Vault,
    report: CheckReport,
    keys: tuple[Slot, ...],
    shut: dict[bytes, TokenkeepError | None],
) -> dict[str, object]:
    return {
        "path": vault.path,
        "keys": [
            {
                "id": slot.id.hex(),
                "kind": slot.kind,
                "label": slot.label,
                "about": about(slot),
                "problem": _code(shut.get(slot.id)),
                "well": not slot.is_damaged,
            }
            for slot in keys
        ],
        "items": report.items,
        "quarantined": report.quarantined,
        "rekeying": report.is_rekeying,
        "findings": [
            {
                "where": finding.where,
                "service": None if finding.name is None else finding.name.service,
                "name": None if finding.name is None else finding.name.name,
                "code": finding.error.code,
                "problem": str(finding.error),
            }
            for finding in report.findings
        ],
    }
