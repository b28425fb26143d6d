"""The options of `create` and `add-key` that name a platform's key, and the key they name.

A platform's kind of key is one more option in `_OPTIONS` and one more line in `platform_key`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tokenkeep.cli.commands.vault.opening import given_pin
from tokenkeep.cli.exits import UsageError
from tokenkeep.cli.slot_keys import item_key
from tokenkeep.cli.tree import FILE, STORE, consent
from tokenkeep.errors import UnsupportedOption

if TYPE_CHECKING:
    from tokenkeep.cli.settings import Settings
    from tokenkeep.vault.slots import Key

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--tpm", is_flag=True, help="a key sealed in this machine's TPM 2.0"),
    click.option(
        "--pcr",
        metavar="N",
        multiple=True,
        help="seal to this PCR's value, more than once for more, or `none` (default: 7)",
    ),
    consent("--tpm-pin", is_flag=True, help="ask for a PIN that the TPM demands too"),
    click.option(
        "--tpm-pin-file",
        metavar="FILE",
        type=FILE,
        envvar="TOKENKEEP_TPM_PIN_FILE",
        help="a file that holds such a PIN",
    ),
    click.option(
        "--tpm-device",
        metavar="DEVICE",
        type=FILE,
        envvar="TOKENKEEP_TPM_DEVICE",
        help="the TPM, or unix:PATH (default: /dev/tpmrm0)",
    ),
    click.option(
        "--systemd-credential", metavar="NAME", help="a credential that systemd gives the service"
    ),
    click.option("--dpapi", is_flag=True, help="a key that Windows seals for this user"),
    click.option(
        "--store-item", metavar="STORE", type=STORE, help="a key that is kept in another store"
    ),
)


def platform_keys(function: F) -> F:
    """The options; their values come as keyword arguments of the command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def platform_key(settings: Settings, given: dict[str, Any]) -> Key | None:
    """The key that the options name; None if they name none.

    Raises:
        UsageError: they name several, or say more about a TPM that they do not name.
        UnsupportedOption, InvalidName: there is no such thing.
    """
    # A name that is empty, as an unset variable makes it, must not lead to a lesser key.
    kinds = ("tpm", "systemd_credential", "dpapi", "store_item")
    named = [name for name in kinds if given[name] not in (None, False)]
    if len(named) > 1:
        raise UsageError("one key at a time", "tokenkeep vault add-key adds the next one")
    if not given["tpm"] and (given["pcr"] or given["tpm_pin"]):
        raise UsageError("--pcr and --tpm-pin are about a TPM's key", "--tpm")
    if given["tpm"]:
        return _tpm(settings, given)
    if given["systemd_credential"] is not None:
        from tokenkeep.backends.systemd_credential import SystemdCredential

        return SystemdCredential(given["systemd_credential"])
    if given["dpapi"]:
        from tokenkeep.backends.dpapi import DpapiKey

        return DpapiKey()
    return None if given["store_item"] is None else item_key(given["store_item"])


def _tpm(settings: Settings, given: dict[str, Any]) -> Key:
    from tokenkeep.backends.tpm import DEFAULT_PCRS, PCR_COUNT, TpmKey

    words = given["pcr"]
    if not words:
        pcrs: tuple[int, ...] = DEFAULT_PCRS
    elif words == ("none",):
        pcrs = ()
    else:
        numbers = {str(number): number for number in range(PCR_COUNT)}
        if not all(word in numbers for word in words):
            raise UnsupportedOption(
                f"a PCR is a number from 0 to {PCR_COUNT - 1}, or none", hint="--pcr 7"
            )
        pcrs = tuple(numbers[word] for word in words)
    pin = None
    if given["tpm_pin"] or given["tpm_pin_file"] is not None:
        pin = given_pin(settings, given["tpm_pin_file"])
    return TpmKey(pcrs, auth=pin, device=given["tpm_device"])
