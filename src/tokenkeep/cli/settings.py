"""What one command was told: flags, then the environment, then `config.toml`; and what it opens.

A cold `get` pays for this file: everything that is not on its way is imported where it is used.
"""

from __future__ import annotations

import os

from tokenkeep.storage import SecureStorage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tokenkeep.backends.vault import VaultOptions
    from tokenkeep.config import Config
    from tokenkeep.item import Call
    from tokenkeep.secret import Secret
    from tokenkeep.tokens.storage import TokenStorage
    from tokenkeep.vault.format import Slot
    from tokenkeep.vault.passphrase import Passphrase

DEFAULT_ACCOUNT = "default"
#: Seconds for one call into the store.
DEFAULT_TIMEOUT = 5.0
#: Seconds that a person at a terminal has for a prompt of the keyring's: as many as for a login.
#: One that was given up stays on the screen, as nothing but its answer closes it safely.
PROMPT_SECONDS = 300.0


class Settings:
    """The choices in force for one command.

    Args:
        flags: what the command line said, by option: `key_file` for `--key-file`.
        environ: the variables; the process's own if None.
    """

    __slots__ = ("_config", "_environ", "_passphrase", "flags", "question")

    def __init__(
        self, flags: dict[str, str] | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self.flags: dict[str, str] = {} if flags is None else flags
        self._environ = os.environ if environ is None else environ
        self._config: Config | None = None
        self._passphrase: Secret | None = None
        #: The key that asks for the vault's passphrase, once `vault` has given it to a vault.
        self.question: Passphrase | None = None

    def option(self, name: str) -> str | None:
        """A flag, or its twin in the environment (`TOKENKEEP_...`); None if neither was given."""
        flag = self.flags.get(name)
        # A flag that is empty, as an unset variable makes it, is not one that was not given.
        return self._environ.get("TOKENKEEP_" + name.upper()) or None if flag is None else flag

    @property
    def config(self) -> Config:
        """The choices about application and store.

        Raises:
            UnsupportedOption, AccessDenied: the configuration file is damaged or unreadable.
        """
        if self._config is None:
            from tokenkeep.config import load

            flags = self.flags
            self._config = load(
                app=flags.get("app"),
                store=flags.get("store"),
                key_file=flags.get("key_file"),
                passphrase_file=flags.get("passphrase_file"),
                environ=self._environ,
            )
        return self._config

    @property
    def app(self) -> str:
        """The application.

        Raises:
            UsageError: nothing names it.
        """
        config = self.config
        if config.app is None:
            from tokenkeep.cli.exits import UsageError

            raise UsageError(
                "no application is named",
                "tokenkeep --app SERVICE ...",
                "export TOKENKEEP_APP=SERVICE",
                f'write app = "SERVICE" in {config.path}',
            )
        return config.app

    @property
    def account(self) -> str:
        """Whose session it is about."""
        account = self.option("account")
        return DEFAULT_ACCOUNT if account is None else account

    @property
    def wants_json(self) -> bool:
        """Whether structure is to be JSON."""
        return self.option("json") not in (None, "0")

    @property
    def timeout(self) -> float:
        """Seconds for one call into the store."""
        return self.seconds("timeout", DEFAULT_TIMEOUT)

    @property
    def interaction(self) -> str:
        """Whether a platform may show a prompt of its own: only to who sits at a terminal.

        What we ask by ourselves has the same rule, and the files and verbs that spare the question.
        """
        from tokenkeep.item import Interaction

        return Interaction.ALLOWED if os.isatty(0) else Interaction.NEVER

    def call(self, timeout: float) -> Call:
        """A deadline for one call into a store, which may prompt where `interaction` allows it."""
        from tokenkeep.item import Call

        return Call(timeout, self.interaction, prompt_timeout=PROMPT_SECONDS)

    def seconds(self, name: str, default: float) -> float:
        """An option that is a number of seconds.

        Raises:
            UsageError: it is none.
        """
        text = self.option(name)
        return default if text is None else seconds_in(text, f"--{name.replace('_', '-')}")

    def secret_in(self, path: str, option: str) -> Secret:
        """What a file holds that an option names: a passphrase, a PIN, a client's secret.

        Raises:
            As `read_passphrase`.
        """
        from tokenkeep.passphrase_file import read_passphrase

        return read_passphrase(path, option, self._seconds_for_pipes)

    @property
    def _seconds_for_pipes(self) -> float | None:
        # A store answers sooner than a person whom a password manager asks.
        return None if self.option("timeout") is None else self.timeout

    def options(self) -> tuple[object, ...]:
        """The options of the chosen store; none where the platform's own is to be used.

        Raises:
            As `tokenkeep.config.storage_options`.
        """
        config = self.config
        if config.names_vault():
            return (self.vault(),)
        from tokenkeep.config import storage_options

        return storage_options(config)

    def vault(self) -> VaultOptions:
        """The chosen vault, and what may open it: never one that is made on the way.

        A key that a flag or the environment names is the only one. Otherwise the configured or the
        default key file is tried, then what `vault unlock` left and the keys that the vault's own
        slots name; where none is configured, a passphrase that the vault has is asked for on a
        terminal.

        Raises:
            StoreUnavailable: no store is chosen.
            UnsupportedOption: another store is chosen.
        """
        from tokenkeep.config import vault_options

        config = self.config
        options = vault_options(config, self._seconds_for_pipes)
        if self.option("key_file") is not None or self.option("passphrase_file") is not None:
            return options
        from tokenkeep.backends.vault import VaultOptions

        keys = (*options.keys, WhileUnlocked(), SlotKeys(self))
        if config.key_file is None and config.passphrase_file is None:
            from tokenkeep.vault.passphrase import Passphrase

            # Not as one that prompts: where it may ask is for itself to say, not for the call.
            self.question = Passphrase(self._ask_passphrase)
            keys = (*keys, self.question)
        return VaultOptions(options.path, keys, create=False)

    def storage(self, service: str | None = None, interaction: str | None = None) -> SecureStorage:
        """The application's items in the chosen store.

        Args:
            service: another service, whose items they are.
            interaction: whether the platform may prompt, whatever stdin is.

        Raises:
            As `app` and `options`; InvalidName: the application cannot be a name.
        """
        timeout = self.timeout  # first of all: a wrong number is said before anything is opened
        return SecureStorage(
            self.app if service is None else service,
            *self.options(),
            timeout=timeout,
            interaction=self.interaction if interaction is None else interaction,
            prompt_timeout=PROMPT_SECONDS,
        )

    def tokens(self, storage: SecureStorage | None = None) -> TokenStorage:
        """The account's session in the chosen store."""
        from tokenkeep.tokens.storage import TokenStorage

        return TokenStorage(storage or self.storage(), account=self.account)

    def _ask_passphrase(self) -> Secret:
        """The passphrase of the vault, asked for once however often it is needed."""
        if self._passphrase is None:
            from tokenkeep.cli.terminal import ask_hidden
            from tokenkeep.errors import InteractionDenied

            if not os.isatty(0):
                raise InteractionDenied(
                    "the vault needs its passphrase, and there is no terminal to ask on",
                    hint="--passphrase-file FILE",
                )
            self._passphrase = ask_hidden("passphrase of the vault: ")
        return self._passphrase


def seconds_in(text: str, option: str) -> float:
    """What an option says that takes a number of seconds.

    Raises:
        UsageError: it is none, below zero, or no time that anybody waits.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if 0 <= value < 1e9:  # false for NaN
        return value
    from tokenkeep.cli.exits import UsageError

    raise UsageError(f"{option} takes a number of seconds", f"{option} SECONDS")


class SlotKeys:
    """The platforms' keys, as the slots of the vault itself name them: a `Key` for any slot."""

    __slots__ = ("_settings",)

    kind = "*"
    protection = "FILE_PERMISSIONS"
    may_prompt = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def remember(self, slot_id: bytes, vault_id: bytes, call: Call) -> dict[str, bytes]:
        """Nothing: no slot is made with it."""
        return {}

    def opener(self, vault_id: bytes, call: Call) -> Callable[[Slot], Secret | None]:
        """What opens a slot by its kind; see `tokenkeep.cli.slot_keys`."""
        from tokenkeep.cli.slot_keys import opener

        return opener(self._settings, vault_id, call)

    def forget(self, slot: Slot, vault_id: bytes, call: Call) -> None:
        """Erases what the slot's own key keeps elsewhere."""
        from tokenkeep.cli.slot_keys import key_of

        erase = getattr(key_of(slot, self._settings), "forget", None)
        if erase is not None:
            erase(slot, vault_id, call)


class WhileUnlocked:
    """What `vault unlock` left: an `UnlockedVault` that is imported when nothing else opened."""

    __slots__ = ()

    kind = "*"
    protection = "HARDWARE"  # see UnlockedVault
    may_prompt = False

    def remember(self, slot_id: bytes, vault_id: bytes, call: Call) -> dict[str, bytes]:
        """Nothing: no slot is made with it."""
        return {}

    def opener(self, vault_id: bytes, call: Call) -> Callable[[Slot], Secret | None]:
        """See `tokenkeep.unlocked_vault.UnlockedVault`."""
        from tokenkeep.unlocked_vault import UnlockedVault

        return UnlockedVault().opener(vault_id, call)
