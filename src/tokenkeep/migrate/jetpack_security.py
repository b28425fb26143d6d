"""Jetpack Security's EncryptedSharedPreferences as the source, inside the application itself.

Names are sealed with AES-256-SIV, values with AES-256-GCM; the two keysets lie in the same file,
sealed with a master key of the Android Keystore. Reading makes no key and no keyset.
"""

from __future__ import annotations

import base64

from tokenkeep.clock import SystemClock
from tokenkeep.errors import SecretDamaged, SecretInvalidated, UnsupportedOption
from tokenkeep.item import Call, ItemName
from tokenkeep.migrate.tink import Keyset, encrypted_keyset
from tokenkeep.native.android import application, keystore
from tokenkeep.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.clock import Clock

#: What `MasterKey` and `MasterKeys` call their key.
MASTER_KEY = "_androidx_security_master_key_"
_NAMES = "__androidx_security_crypto_encrypted_prefs_key_keyset__"
_VALUES = "__androidx_security_crypto_encrypted_prefs_value_keyset__"
#: What stands for Java's null, as a name and as a text.
_NULL = b"__NULL__"
_TEXT, _TEXTS, _INT, _LONG, _FLOAT, _BOOLEAN = range(6)


class JetpackSecurity:
    """The entries of one file of EncryptedSharedPreferences.

    Args:
        file: the name that was given to `EncryptedSharedPreferences.create`.
        master_key: the master key's alias.
        timeout: seconds for each call.
    """

    def __init__(
        self,
        file: str,
        master_key: str = MASTER_KEY,
        timeout: float | None = 30.0,
        clock: Clock | None = None,
    ) -> None:
        self._file = file
        self._master_key = master_key
        self._timeout = timeout
        self._clock = clock or SystemClock()
        self._keysets: dict[str, Keyset] = {}

    @property
    def identity(self) -> str:
        """The file."""
        return f"jetpack-security {self._file}"

    def names(self) -> list[str]:
        """The names, sorted; empty if there is no such file.

        Raises:
            SecretInvalidated: the master key is gone.
            SecretDamaged: a keyset or a name does not open.
        """
        return sorted(self._places(self._call()))

    def read(self, name: str) -> Secret | None:
        """The value: text as it is, a whole number and a boolean as Java prints them.

        Raises:
            SecretDamaged: it does not open.
            UnsupportedOption: it is a set or a floating-point number.
        """
        call = self._call()
        entries = application.preferences(call, self._file)
        place = self._places(call, entries).get(name)
        if place is None:
            return None
        keys = self._keyset(_VALUES, entries, call)
        opened = keys.open(_unbased(entries[place]), place.encode("utf-8"))
        if opened is None:
            raise SecretDamaged("an entry of the encrypted preferences does not open")
        return _value(opened)

    def sees(self, _record: ItemName) -> bool:
        """No store keeps its items in preferences."""
        return False

    def remove(self, *names: str) -> None:
        """Takes entries out of the file, durably, in one commit; keysets and master key stay."""
        call = self._call()
        places = self._places(call)
        gone = [places[name] for name in names if name in places]
        if gone:
            application.remove_preferences(call, self._file, gone)

    def _places(self, call: Call, entries: dict[str, str] | None = None) -> dict[str, str]:
        """Where each name's entry lies."""
        found = application.preferences(call, self._file) if entries is None else entries
        sealed = [place for place in found if place not in (_NAMES, _VALUES) and is_sealed(place)]
        if _NAMES not in found or not sealed:
            return {}
        keys = self._keyset(_NAMES, found, call)
        names = {}
        for place in sealed:
            opened = keys.open_deterministic(_unbased(place), self._file.encode("utf-8"))
            if opened is None:
                raise SecretDamaged("a name in the encrypted preferences does not open")
            names[opened.reveal()] = place
        return names

    def _keyset(self, name: str, entries: dict[str, str], call: Call) -> Keyset:
        known = self._keysets.get(name)
        if known is None:
            sealed = b""
            try:
                sealed = bytes.fromhex(entries.get(name, ""))
            except ValueError:
                pass
            content = encrypted_keyset(sealed)
            is_gone = False
            try:
                known = Keyset(keystore.open_sealed(call, self._master_key, content, b""))
            except SecretInvalidated:
                is_gone = True
            if known is None or is_gone:
                raise SecretInvalidated(
                    "the master key of the encrypted preferences is gone from this device",
                    hint="what they kept cannot be read any more",
                )
            self._keysets[name] = known
        return known

    def _call(self) -> Call:
        return Call(self._timeout, clock=self._clock)


def holds_keysets(entries: dict[str, str]) -> bool:
    """Whether a file's entries are EncryptedSharedPreferences'."""
    return _NAMES in entries


def is_sealed(place: str) -> bool:
    """Whether a name in the file is a sealed one: others' plain entries may lie beside."""
    try:
        return _unbased(place)[:1] == b"\x01"
    except SecretDamaged:
        return False


def _unbased(text: str) -> bytes:
    found = None
    try:
        found = base64.b64decode(text, validate=True)
    except ValueError:
        pass  # raised below: the error may hold the text
    if found is None:
        raise SecretDamaged("an entry of the encrypted preferences is damaged")
    return found


def _value(opened: Secret) -> Secret | None:
    """Type and content, big-endian, as Java's ByteBuffer writes them."""
    kind, size = int.from_bytes(opened.reveal_bytes()[:4], "big"), opened.size
    if kind == _TEXT and size >= 8:
        if int.from_bytes(opened.reveal_bytes()[4:8], "big") == size - 8:
            text = Secret(opened.reveal_bytes()[8:])
            return None if text == Secret(_NULL) else text
    elif kind in (_INT, _LONG) and size == (8 if kind == _INT else 12):
        return Secret(str(int.from_bytes(opened.reveal_bytes()[4:], "big", signed=True)))
    elif kind == _BOOLEAN and size == 5:
        return Secret("true" if opened.reveal_bytes()[4] else "false")
    elif kind in (_TEXTS, _FLOAT):
        raise UnsupportedOption("the entry is a set or a floating-point number, which has no text")
    raise SecretDamaged("an entry of the encrypted preferences is damaged")
