"""A netrc file as the source: one item for each password, named LOGIN@MACHINE.

An entry without a login is named after its machine, the one for all other machines "default"; an
account's password is LOGIN@MACHINE/account. Read by the standard library. Taking an entry out
keeps everything else, and is only done where the standard library reads the rest as before.
"""

from __future__ import annotations

import netrc
import os
import re

from tokenkeep.errors import SecretDamaged, UnsupportedOption
from tokenkeep.migrate.plain_file import PlainFile
from tokenkeep.secret import Secret

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|(?:\\.|[^\s"\\])+', re.DOTALL)
_ACCOUNT = "/account"


class NetrcSource:
    """The passwords of a netrc file.

    Args:
        path: the file; `~/.netrc` unless given (`~/_netrc` on Windows, where the other is missing).
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        if path is None:
            path = os.path.expanduser("~/.netrc")
            if os.name == "nt" and not os.path.exists(path):
                path = os.path.expanduser("~/_netrc")
        self._file = PlainFile(path)

    @property
    def identity(self) -> str:
        """The file's path."""
        return f"netrc {self._file.path}"

    def names(self) -> list[str]:
        """LOGIN@MACHINE of every entry, sorted.

        Raises:
            SecretDamaged: the file cannot be read as a netrc; the message has the line.
        """
        return sorted(self._values())

    def read(self, name: str) -> Secret | None:
        """The password of an entry."""
        return self._values().get(name)

    def remove(self, *names: str) -> None:
        """Takes entries out of the file, each as a whole.

        Raises:
            UnsupportedOption: an entry's other password would stay, or the file is written in a way
                that does not let us take it out; nothing changed.
        """
        content = self._file.text()
        values = self._values()
        leaving = set(names) & values.keys()
        machines = {_machine(name) for name in leaving}
        if any(_machine(name) in machines for name in values.keys() - leaving):
            raise UnsupportedOption(
                "an entry has another password, which would go with this one",
                hint="import both, or neither",
            )
        if not leaving:
            return
        rest = _without(content, machines)
        if rest is None or not self._reads_as(rest, machines):
            raise UnsupportedOption(
                f"cannot take the entries out of {self._file.path} without touching others",
                hint="remove them with an editor",
            )
        self._file.replace(content, rest)

    def _values(self) -> dict[str, Secret]:
        self._file.read()  # says in our words why it cannot be read
        found = self._parsed(self._file.path)
        values = {}
        for machine, (login, account, password) in found.hosts.items():
            name = f"{login}@{machine}" if login else machine
            values[name] = Secret(password or "")
            if account:
                values[name + _ACCOUNT] = Secret(account)
        return values

    def _parsed(self, path: str) -> netrc.netrc:
        line: int | None = None
        try:
            return netrc.netrc(path)
        except netrc.NetrcParseError as exc:  # its message may hold a password
            line = exc.lineno
        except (OSError, UnicodeError):
            pass
        raise SecretDamaged(
            f"{self._file.path}{f', line {line}' if line else ''}: this is no netrc file",
            hint="mend the line, then try again",
        )

    def _reads_as(self, rest: Secret, without: set[str]) -> bool:
        """Whether the standard library finds in the rest what it found before, less these."""
        before = self._parsed(self._file.path)
        aside = PlainFile(f"{self._file.path}.{os.urandom(6).hex()}.new")
        after: netrc.netrc | None = None
        try:
            fd = os.open(aside.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(rest.reveal_bytes())
            after = self._parsed(aside.path)
        except (OSError, SecretDamaged):
            return False
        finally:
            aside.delete()
        wanted = {host: each for host, each in before.hosts.items() if host not in without}
        return wanted == after.hosts and before.macros == after.macros


def _machine(name: str) -> str:
    """The machine of an item's name; a login may hold `@`, a machine does not."""
    return name.removesuffix(_ACCOUNT).rpartition("@")[2]


def _without(content: Secret, machines: set[str]) -> Secret | None:
    """The file without the entries of these machines; None if their ends are not to be seen."""
    text = content.reveal()
    kept, at, start = [], 0, -1
    while True:
        found = _next_token(text, at)
        word = None if found is None else found.group()
        if found is None or word in ("machine", "default", "macdef"):
            if start >= 0:
                kept.append((start, _end_of_entry(text, at)))
                start = -1
            if found is None:
                break
            begin, at = found.start(), found.end()
            if word == "macdef":
                blank = re.compile(r"\n[ \t\r]*\n").search(text, at)
                if blank is None:
                    break
                at = blank.end()
                continue
            host = "default"
            if word == "machine":
                named = _next_token(text, at)
                if named is None:
                    return None
                host, at = named.group().strip('"'), named.end()
            start = begin if host in machines else -1
        elif word in ("login", "user", "account", "password"):
            value = _next_token(text, found.end(), is_value=True)
            if value is None:
                return None
            at = value.end()
        else:
            return None
    return Secret(_cut(text, kept))


def _next_token(text: str, at: int, is_value: bool = False) -> re.Match[str] | None:
    """The next word that is no comment."""
    while True:
        found = _TOKEN.search(text, at)
        if found is None or is_value or not found.group().startswith("#"):
            return found
        at = text.find("\n", found.start())
        if at < 0:
            return None


def _end_of_entry(text: str, at: int) -> int:
    """Behind the entry's last word, and behind its line if nothing else is on it."""
    line = text.find("\n", at)
    line = len(text) if line < 0 else line + 1
    return line if not text[at:line].strip() else at


def _cut(text: str, spans: list[tuple[int, int]]) -> str:
    parts, at = [], 0
    for start, end in spans:
        parts.append(text[at:start])
        at = end
    return "".join([*parts, text[at:]])
