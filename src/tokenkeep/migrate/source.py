"""Source: a place that secrets are moved out of.

Three calls, so that a new place is one small file, and one more where a place knows more of itself.
What a place cannot say now (locked, denied, unreachable, damaged) is one of our errors and never
"absent".
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from tokenkeep.item import ItemName
from tokenkeep.secret import Secret


@runtime_checkable
class Source(Protocol):
    """A place with secrets under names of its own.

    Every call ends by a deadline of the source's own and raises, besides what it names:
    `StoreLocked`, `StoreUnavailable`, `StoreTimeout`, `InteractionDenied`, `AccessDenied`. Reading
    and listing change nothing there.
    """

    @property
    def identity(self) -> str:
        """What tells this place from every other, the same at every start; not secret.

        Such as "netrc /home/ada/.netrc". The journal of a migration goes by it.
        """
        ...

    def names(self) -> list[str]:
        """The names of what can be moved, sorted; what was given where a place lists nothing.

        A name that is listed may turn out to be absent.

        Raises:
            UnsupportedOption: the place lists nothing, and no names were given.
            SecretDamaged: the place holds something else than it should.
        """
        ...

    def read(self, name: str) -> Secret | None:
        """The value under a name, as its users see it; None if there is none.

        Raises:
            SecretDamaged, SecretInvalidated: it is there and does not open.
            UnsupportedOption: it is there and has no value of its own, such as a reference.
        """
        ...

    def remove(self, *names: str) -> None:
        """Erases what is under these names, durably; names that are not there are no error.

        A place that is one file is replaced once, atomically; whatever else it holds stays.

        Raises:
            StoreFull: nothing changed.
            UnsupportedOption: the place cannot be written here; nothing changed.
        """
        ...


@runtime_checkable
class Seeing(Protocol):
    """A source that can tell whether it is the new place itself, without an item to find there."""

    def sees(self, record: ItemName) -> bool | None:
        """Whether a migration's own record, which lies in the new place, lies here.

        None if it cannot tell. The migration then shows an item to `read`, as it does with a source
        that is not asked; the application sees it for that moment.
        """
        ...
