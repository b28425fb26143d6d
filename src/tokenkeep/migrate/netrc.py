"""A netrc file as the source: one item for each password, named LOGIN@MACHINE.

An entry without a login is named after its machine, the one for all other machines "default"; an
account's password is LOGIN@MACHINE/account. Read by the standard library, which only sees the last
entry of a machine. Taking one out keeps everything else, and is only done where it hides no other,
and where the standard library reads the rest as before.
"""

from __future__ import annotations

import netrc
import os
import re

from tokenkeep.errors import SecretDamaged, UnsupportedOption
from tokenkeep.item import ItemName
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
        """LOGIN@MACHINE of the entry that counts for each machine, sorted.

        Raises:
            SecretDamaged: the file cannot be read as a netrc; the message has the line.
            UnsupportedOption: two passwords would get one name.
        """
        return sorted(self._passwords())

    def read(self, name: str) -> Secret | None:
        """The password of an entry."""
        found = self._passwords().get(name)
        return None if found is None else found[1]

    def sees(self, _record: ItemName) -> bool:
        """No store keeps its items in a netrc file."""
        return False

    def remove(self, *names: str) -> None:
        """Takes entries out of the file, each as a whole.

        Raises:
            UnsupportedOption: an entry's other password would stay, or one would go that is hidden
                behind another, or the file is written in a way that does not let us take it out;
                nothing changed.
        """
        content = self._file.text()
        passwords = self._passwords()
        leaving = set(names) & passwords.keys()
        machines = {passwords[name][0] for name in leaving}
        if any(passwords[name][0] in machines for name in passwords.keys() - leaving):
            raise UnsupportedOption(
                "an entry has another password, which would go with this one",
                hint="import both, or neither",
            )
        if not leaving:
            return
        rest, hiding = _without(content, machines)
        if hiding:
            raise UnsupportedOption(
                f"{self._file.path}, line {hiding}: this hides what was not copied",
                hint="keep one of them with an editor, then try again",
            )
        if rest is None or not self._reads_as(rest, machines):
            raise UnsupportedOption(
                f"cannot take the entries out of {self._file.path} without touching others",
                hint="remove them with an editor",
            )
        self._file.replace(content, rest)

    def _passwords(self) -> dict[str, tuple[str, Secret]]:
        """By name: the machine, and the password."""
        found = self._found()
        passwords = {name: (machine, password) for name, machine, password in found}
        if len(passwords) != len(found):
            raise UnsupportedOption(
                f"two passwords would get one name: {self._file.path}",
                hint="rename a login or a machine with an editor, or move that entry by hand",
            )
        return passwords

    def _found(self) -> list[tuple[str, str, Secret]]:
        """Name, machine and password of what the standard library finds."""
        self._file.read()  # says in our words why it cannot be read
        found = []
        for machine, (login, account, password) in self._parsed(self._file.path).hosts.items():
            name = f"{login}@{machine}" if login else machine
            found.append((name, machine, Secret(password or "")))
            if account:
                found.append((name + _ACCOUNT, machine, Secret(account)))
        return found

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


def _without(content: Secret, machines: set[str]) -> tuple[Secret | None, int]:
    """The file without the entries of these machines; None if their ends are not to be seen.

    Also the line of a machine's second entry, or of an entry's second word of a kind; 0 if all that
    would go is what the standard library finds.
    """
    text = content.reveal()
    kept, at, start = [], 0, -1
    entries: set[str] = set()
    words: set[str] = set()
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
                    return None, 0
                host, at = named.group().strip('"'), named.end()
            start = begin if host in machines else -1
            if start >= 0 and host in entries:
                return None, text.count("\n", 0, found.start()) + 1
            entries.add(host)
            words.clear()
        elif word in ("login", "user", "account", "password"):
            if start >= 0 and word in words:
                return None, text.count("\n", 0, found.start()) + 1
            words |= {"login", "user"} if word in ("login", "user") else {word}
            value = _next_token(text, found.end(), is_value=True)
            if value is None:
                return None, 0
            at = value.end()
        else:
            return None, 0
    return Secret(_cut(text, kept)), 0


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
