"""A dotenv file as the source: its variables, as python-dotenv gives them to an application.

References to variables that the file sets before (`${NAME}`) are resolved; a value that depends on
the environment, which one with a default does too, is none of its own and is not moved. Removing a
variable keeps every other line, and is only done where no line of another value goes with it.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from tokenkeep.errors import MissingExtra, SecretDamaged, UnsupportedOption
from tokenkeep.item import ItemName
from tokenkeep.migrate.plain_file import PlainFile
from tokenkeep.secret import Secret

if TYPE_CHECKING:
    from dotenv.parser import Binding
    from dotenv.variables import Variable


class DotenvSource:
    """The variables of a dotenv file; one without `=` is none.

    Args:
        path: the file.

    Raises:
        MissingExtra: python-dotenv is not installed.
    """

    def __init__(self, path: str | os.PathLike[str] = ".env") -> None:
        try:
            import dotenv.parser
            import dotenv.variables
        except ImportError:
            dotenv = None  # type: ignore[assignment]
        if dotenv is None:
            raise MissingExtra("reading a dotenv file needs python-dotenv", extra="dotenv")
        self._parse = dotenv.parser.parse_stream
        self._atoms = dotenv.variables.parse_variables
        self._reference = dotenv.variables.Variable
        self._file = PlainFile(path)

    @property
    def identity(self) -> str:
        """The file's path."""
        return f"dotenv {self._file.path}"

    def names(self) -> list[str]:
        """The variables, sorted.

        Raises:
            SecretDamaged: a line cannot be read; the message has its number.
        """
        return sorted(self._values(self._file.text()))

    def read(self, name: str) -> Secret | None:
        """A variable's value.

        Raises:
            UnsupportedOption: it refers to a variable that the file does not set before it, with
                or without a default.
        """
        values = self._values(self._file.text())
        if name not in values:
            return None
        value = values[name]
        if value is None:
            raise UnsupportedOption("a variable's value depends on the environment")
        return value

    def sees(self, _record: ItemName) -> bool:
        """No store keeps its items in a dotenv file."""
        return False

    def remove(self, *names: str) -> None:
        """Takes the variables' lines out of the file; the others stay as they are.

        Raises:
            UnsupportedOption: a variable that stays refers to one of them, or one of them was given
                another value first, which nobody has seen; nothing changed.
        """
        content = self._file.text()
        leaving = set(names) & self._values(content).keys()
        if not leaving:
            return
        lines, used, hiding = [], set(), 0
        last: dict[str, Secret] = {}
        for binding in self._bindings(content):
            if binding.key not in leaving:
                lines.append(binding.original.string)
                used |= {atom.name for atom in self._references(binding)}
            elif binding.value is not None:
                value = Secret(binding.value)
                if last.setdefault(binding.key, value) != value:
                    hiding = binding.original.line
        rest = Secret("".join(lines))
        del lines, binding
        if hiding:
            raise UnsupportedOption(
                f"{self._file.path}, line {hiding}: this hides what was not copied",
                hint="keep one of the lines with an editor, then try again",
            )
        if used & leaving:
            raise UnsupportedOption(
                "a variable that stays in the file refers to one that would go",
                hint="import both, or neither",
            )
        self._file.replace(content, rest)

    def _values(self, content: Secret) -> dict[str, Secret | None]:
        """Every variable; None where the value depends on the environment. The last line counts."""
        values: dict[str, Secret | None] = {}
        for binding in self._bindings(content):
            if binding.key is not None and binding.value is not None:
                values[binding.key] = self._resolved(binding, values)
            elif binding.key is not None:
                values.pop(binding.key, None)
        return values

    def _resolved(self, binding: Binding, before: dict[str, Secret | None]) -> Secret | None:
        known = {name: value.reveal() for name, value in before.items() if value is not None}
        if any(reference.name not in known for reference in self._references(binding)):
            return None
        return Secret("".join(atom.resolve(known) for atom in self._atoms(binding.value or "")))

    def _references(self, binding: Binding) -> list[Variable]:
        return [
            atom for atom in self._atoms(binding.value or "") if isinstance(atom, self._reference)
        ]

    def _bindings(self, content: Secret) -> list[Binding]:
        bindings = list(self._parse(io.StringIO(content.reveal(), newline="")))
        damaged = [binding.original.line for binding in bindings if binding.error]
        if damaged:
            del bindings
            raise SecretDamaged(
                f"{self._file.path}, line {damaged[0]}: this is no dotenv file",
                hint="mend the line, then try again",
            )
        return bindings
