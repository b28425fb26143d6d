"""What the command line was told to use: flag, then environment, then `config.toml`.

A cold read pays for this file, so the plain form (`key = "text"`, comments, blank lines) is read
by hand; anything else goes to `tomllib`, and a test holds both against each other. A damaged file
is an error, never an absent one. Relative paths in the file start at the file's directory; `~` is
the person's home everywhere.
"""

from __future__ import annotations

import errno
import os
import stat

from tokenkeep.errors import AccessDenied, StoreUnavailable, UnsupportedOption
from tokenkeep.paths import config_directory, data_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenkeep.backends.vault import VaultOptions

FILE_NAME = "config.toml"
#: Far more than any configuration; a bound on what a mistaken file can make us read.
MAX_FILE_BYTES = 1_048_576

_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_KEYS = ("app", "store", "key_file", "passphrase_file")


class Config:
    """The choices in force, and the file that was read.

    Attributes:
        app: the service; None if nothing named it.
        store: "auto", "vault", "vault:PATH" or another store's name.
        key_file, passphrase_file: at most one is set: what opens the vault.
        path: where `config.toml` is or would be.
    """

    __slots__ = ("app", "key_file", "passphrase_file", "path", "store")

    def __init__(
        self,
        app: str | None = None,
        store: str = "auto",
        key_file: str | None = None,
        passphrase_file: str | None = None,
        path: str = "",
    ) -> None:
        self.app = app
        self.store = store
        self.key_file = key_file
        self.passphrase_file = passphrase_file
        self.path = path

    def names_vault(self) -> bool:
        """Whether the chosen store is a vault."""
        return self.store.partition(":")[0] == "vault"

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}={getattr(self, key)!r}" for key in (*_KEYS, "path"))
        return f"Config({shown})"


def load(
    *,
    app: str | None = None,
    store: str | None = None,
    key_file: str | None = None,
    passphrase_file: str | None = None,
    environ: Mapping[str, str] | None = None,
    path: str | None = None,
) -> Config:
    """The choices in force: the arguments (flags), else the environment, else the file.

    Empty variables and empty entries of the file count as unset. A key file chosen in one place
    hides a passphrase file chosen in a lesser one, and the other way round. A store that takes no
    key hides both of a lesser place: they are for another store.

    Raises:
        UnsupportedOption: the file is damaged, or has an entry that is none of ours or of the
            wrong type; one place names both a key file and a passphrase file; a `~` leads nowhere;
            a flag names no store, or `vault:` no path.
        AccessDenied: the file cannot be read.
    """
    path = path if path is not None else default_path()
    environ = os.environ if environ is None else environ
    entries = read_file(path)
    flags = {
        "app": app,
        "store": store,
        "key_file": key_file,
        "passphrase_file": passphrase_file,
    }
    variables = {key: environ.get("TOKENKEEP_" + key.upper()) or None for key in _KEYS}
    for key in entries:
        if key not in _KEYS:
            # Mistyped, it would choose a store or a key that nobody wanted.
            raise UnsupportedOption(
                f"{path}{_line_of(key, path)}: there is no entry of the name {key!r}",
                hint=f"the names are {', '.join(_KEYS)}",
            )
    written = {key: _text_entry(entries, key, path) for key in _KEYS}

    if store == "":  # as an unset variable makes a flag: another store than was meant
        raise UnsupportedOption("no store is named", hint="--store auto leaves the choice")
    config = Config(path=path)
    config.store = ""
    for place, found in (("flags", flags), ("environment", variables), (path, written)):
        start = os.path.dirname(path) if found is written else ""
        takes_key = not config.store or config.names_vault()
        config.app = config.app if config.app is not None else found["app"]
        config.store = config.store or _placed_store(found["store"] or "", start, place)
        if takes_key and config.key_file is None and config.passphrase_file is None:
            config.key_file = _placed(found["key_file"], start)
            config.passphrase_file = _placed(found["passphrase_file"], start)
            if config.key_file is not None and config.passphrase_file is not None:
                raise UnsupportedOption(
                    f"{place}: both a key file and a passphrase file", hint="give one of them"
                )
    config.store = config.store or "auto"
    return config


def default_path() -> str:
    """Where the file lies unless somebody says otherwise."""
    return os.path.join(config_directory(), FILE_NAME)


def default_vault_path() -> str:
    """Where `tokenkeep vault create` puts the vault."""
    return os.path.join(data_directory(), "vault")


def default_key_path() -> str:
    """Where the default vault's key file lies.

    Not beside the vault, so that a copy of one directory does not hold both.
    """
    return os.path.join(config_directory(), "vault.key")


def storage_options(config: Config) -> tuple[object, ...]:
    """The options of the configured store; none where the platform's own is to be used.

    Never makes a vault: that is `tokenkeep vault create`.

    Raises:
        UnsupportedOption: this release does not know the store, or a key was given for a store
            that takes none.
    """
    if config.names_vault():
        return (vault_options(config),)
    options: tuple[object, ...] = ()
    if config.store != "auto":
        from tokenkeep.select import options_for

        options = (options_for(config.store),)
    if config.key_file is not None or config.passphrase_file is not None:
        chosen = "no vault is" if not options else f"{config.store} is"
        raise UnsupportedOption(
            f"a key file or passphrase file opens a vault, and {chosen} chosen",
            hint="--store vault",
        )
    return options


def vault_options(config: Config, timeout: float | None = None) -> VaultOptions:
    """The options of the configured vault, which it never makes.

    Args:
        timeout: as of `read_passphrase`.

    Raises:
        StoreUnavailable: nothing is chosen.
        UnsupportedOption: another store is chosen.
    """
    from tokenkeep.backends.vault import VaultOptions, platform_key

    own = platform_key()
    if config.store == "auto" and own is None:
        raise StoreUnavailable("no vault is chosen on this machine", hint="tokenkeep vault create")
    if config.store != "auto" and not config.names_vault():
        raise UnsupportedOption(
            f"the chosen store is {config.store}, not a vault", hint="--store vault"
        )
    from tokenkeep.vault.key_file import KeyFile

    path = config.store.partition(":")[2] or default_vault_path()
    passphrase_file = config.passphrase_file
    if passphrase_file is not None:
        from tokenkeep.passphrase_file import read_passphrase
        from tokenkeep.vault.passphrase import Passphrase

        # Read when the vault is opened: `doctor` and `vault` verbs ask for facts without it.
        key = Passphrase(lambda: read_passphrase(passphrase_file, timeout=timeout))
        return VaultOptions(path=path, key=key, create=False)
    if config.key_file is None and own is not None:
        return VaultOptions(path=path, key=own, create=False)
    key_file = config.key_file if config.key_file is not None else default_key_path()
    return VaultOptions(path=path, key=KeyFile(key_file), create=False)


def read_file(path: str) -> dict[str, object]:
    """The entries of a configuration file; none if it does not exist.

    Raises:
        UnsupportedOption: it is damaged, too large or no file; the message has the line.
        AccessDenied: it cannot be read.
    """
    return parsed(read_text(path), path)


def parsed(text: str, path: str) -> dict[str, object]:
    """The entries in a configuration file's text; `path` is for the messages.

    Raises:
        UnsupportedOption: it is damaged; the message has the line.
    """
    plain = _read_plain(text)
    return plain if plain is not None else _read_toml(text, path)


def read_text(path: str) -> str:
    """A configuration file's text; empty if it does not exist.

    Raises:
        UnsupportedOption: it is too large, no file, or not UTF-8.
        AccessDenied: it cannot be read.
    """
    data = b""
    try:
        # Never blocking: nobody may ever write into a pipe that stands in the file's place.
        fd = os.open(path, os.O_RDONLY | _FLAGS)
        try:
            mode = os.fstat(fd).st_mode
            if stat.S_ISREG(mode):
                data = os.read(fd, MAX_FILE_BYTES + 1)
        finally:
            os.close(fd)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise UnsupportedOption(
                f"{path} is a symbolic link to itself", hint=f"remove {path}"
            ) from exc
        if not os.path.isdir(path):  # Windows does not open one, and says no more than "denied"
            raise AccessDenied(f"{path}: {exc.strerror}", hint=f"chmod u+r {path}") from exc
        mode = stat.S_IFDIR
    if not stat.S_ISREG(mode):
        what = "is a directory" if stat.S_ISDIR(mode) else "is not a regular file"
        raise UnsupportedOption(f"{path} {what}", hint=f"remove {path}")
    if len(data) > MAX_FILE_BYTES:
        raise UnsupportedOption(f"{path} is too large", hint=f"mend or remove {path}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise UnsupportedOption(
            f"{path}, line {line}: the configuration is not UTF-8",
            hint=f"mend or remove {path}",
        ) from None


def _read_plain(text: str) -> dict[str, object] | None:
    """The entries, if every line is plain; None if `tomllib` has to say."""
    entries: dict[str, object] = {}
    for line in text.replace("\r\n", "\n").split("\n"):
        if not line.isprintable():  # control characters, and spaces that TOML does not know
            return None
        line = line.strip(" ")
        if not line or line[0] == "#":
            continue
        key, _equals, value = line.partition("=")
        key, value = key.rstrip(" "), value.lstrip(" ")
        if not (key.isascii() and key.replace("-", "a").replace("_", "a").isalnum()):
            return None
        quote = value[:1]
        inner = value[1:-1]
        if quote not in ('"', "'") or len(value) < 2 or value[-1] != quote or quote in inner:
            return None
        if (quote == '"' and "\\" in inner) or key in entries:
            return None
        entries[key] = inner
    return entries


def _read_toml(text: str, path: str) -> dict[str, object]:
    import tomllib

    where = ""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        # Python 3.14 has the line as an attribute; before, it stands in the message only.
        _before, at, place = str(exc).rpartition("(at line ")
        where = place.partition(",")[0] if at else str(text.rstrip().count("\n") + 1)
    except RecursionError:
        pass
    raise UnsupportedOption(
        f"{path}{f', line {where}' if where.isdigit() else ''}: the configuration is damaged",
        hint=f"mend or remove {path}",
    )


def _text_entry(entries: dict[str, object], key: str, path: str) -> str | None:
    value = entries.get(key)
    if value is None or isinstance(value, str):
        return value or None
    raise UnsupportedOption(
        f"{path}{_line_of(key, path)}: {key} must be text, not {type(value).__name__}",
        hint=f'write {key} = "..." in {path}',
    )


def _line_of(key: str, path: str) -> str:
    """Where the file has an entry, for a message; empty if that cannot be told."""
    lines = read_text(path).split("\n")
    at = [number for number, line in enumerate(lines, 1) if line.lstrip(" \t\"'[").startswith(key)]
    return f", line {at[0]}" if at else ""


def _placed_store(store: str, start: str, place: str) -> str:
    kind, colon, path = store.partition(":")
    if colon and kind == "vault" and not path:
        # As an unset variable behind it makes it: another vault than was meant.
        raise UnsupportedOption(f"{place}: no path behind vault:", hint="name one: vault:PATH")
    return f"vault:{_placed(path, start)}" if colon and kind == "vault" else store


def _placed(path: str | None, start: str) -> str | None:
    if not path:
        return path
    # A shell does so for a word that begins with it: not behind `vault:`, and not for a service.
    placed = os.path.expanduser(path)
    if path[0] == "~" == placed[0]:
        raise UnsupportedOption(
            f"{path}: there is no such home directory", hint="give the whole path"
        )
    return os.path.join(start, placed)
