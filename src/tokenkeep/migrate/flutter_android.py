"""flutter_secure_storage on Android as the source, inside the application itself.

Versions 5 to 11: values in SharedPreferences, sealed with an AES key that lies beside them, wrapped
with a Keystore key (RSA, or AES behind the person's finger); or all of it in
EncryptedSharedPreferences. Reading makes no key. The plugin itself makes keys anew and deletes what
does not open: the old part of the application must not run meanwhile.
"""

from __future__ import annotations

import base64

from tokenkeep.clock import SystemClock
from tokenkeep.crypto import CBC_BLOCK_BYTES, CbcCipher, Cipher
from tokenkeep.errors import SecretDamaged, SecretInvalidated, UnsupportedOption
from tokenkeep.item import Call, ItemName
from tokenkeep.migrate.jetpack_security import JetpackSecurity, holds_keysets
from tokenkeep.native.android import application, keystore
from tokenkeep.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.clock import Clock

#: The plugin's default names, as its FlutterSecureStorageConfig.java has them.
PREFERENCES = "FlutterSecureStorage"
KEY_PREFIX = "VGhpcyBpcyB0aGUgcHJlZml4IGZvciBhIHNlY3VyZSBzdG9yYWdlCg"
_KEYS = "FlutterSecureKeyStorage"
_MARKERS = "FlutterSecureStorageConfiguration"
_KEY_MARKER, _VALUE_MARKER = "FlutterSecureSAlgorithmKey", "FlutterSecureSAlgorithmStorage"
_PKCS1, _OAEP = "RSA_ECB_PKCS1Padding", "RSA_ECB_OAEPwithSHA_256andMGF1Padding"
_CBC, _GCM = "AES_CBC_PKCS7Padding", "AES_GCM_NoPadding"
#: Where the wrapped key lies, by the cipher that uses it; the second name is version 9's.
_WRAPPED = {
    _CBC: ("VGhpcyBpcyB0aGUga2V5IGZvciBhIHNlY3VyZSBzdG9yYWdlIEFFUyBLZXkK",),
    _GCM: (
        "AESVGhpcyBpcyB0aGUga2V5IGZvciBhIHNlY3VyZSBzdG9yYWdlIEFFUyBLZXkK",
        "VGhpcyBpcyB0aGUga2V5IGZvcihBIHNlY3XyZZBzdG9yYWdlIEFFUyBLZXkK",
    ),
}
#: The same behind the person's finger: nonce, and sealed key.
_SEALED_NONCE = "KeyStoreIV1"
_SEALED = "BVGhpcyBpcyB0aGUga2V5IGZvciBhIHNlY3VyZSBzdG9yYWdlIEFFUyBLZXkK"
#: A copy that a migration of the plugin's left.
_BACKUP = "_BACKUP"


class FlutterAndroid:
    """The keys of an application that was built with flutter_secure_storage.

    Args:
        namespace: its `storageNamespace`, if it had one.
        preferences: its `sharedPreferencesName`.
        key_prefix: its `preferencesKeyPrefix`.
        timeout: seconds for each call.
    """

    def __init__(
        self,
        namespace: str | None = None,
        preferences: str = PREFERENCES,
        key_prefix: str = KEY_PREFIX,
        timeout: float | None = 30.0,
        clock: Clock | None = None,
    ) -> None:
        self._file = namespace or preferences
        self._keys_file = f"{_KEYS}:{namespace}" if namespace else _KEYS
        self._suffix = f".{namespace}" if namespace else ""
        self._prefix = f"{key_prefix}_"
        self._timeout = timeout
        self._clock = clock or SystemClock()
        self._encrypted = JetpackSecurity(self._file, timeout=timeout, clock=clock)
        self._key: tuple[str, Secret] | None = None

    @property
    def identity(self) -> str:
        """The file of preferences."""
        return f"flutter-android {self._file}"

    def names(self) -> list[str]:
        """The keys, sorted; empty if there are none.

        Raises:
            SecretInvalidated, SecretDamaged: the names themselves are sealed, and do not open.
        """
        entries = application.preferences(self._call(), self._file)
        return sorted({*self._plain(entries), *self._sealed(entries)})

    def read(self, name: str) -> Secret | None:
        """A key's value.

        Raises:
            SecretInvalidated: the key that sealed it is gone.
            SecretDamaged: it does not open.
            StoreLocked: the application asked for a finger, and it has to be given first.
        """
        call = self._call()
        entries = application.preferences(call, self._file)
        place = self._plain(entries).get(name)
        if place is None:
            if name in self._sealed(entries):
                return self._encrypted.read(self._prefix + name)
            return None
        cipher, key = self._opened(entries, call)
        sealed, value = _unbased(entries[place]), None
        if cipher == _CBC:
            value = CbcCipher(key).open(sealed[:CBC_BLOCK_BYTES], sealed[CBC_BLOCK_BYTES:])
        else:
            value = Cipher(key).open(sealed, b"")
        if value is None:
            raise SecretDamaged("what flutter_secure_storage kept does not open")
        return value

    def sees(self, _record: ItemName) -> bool:
        """No store keeps its items in preferences."""
        return False

    def remove(self, *names: str) -> None:
        """Takes keys out of the preferences, durably; the plugin's own keys stay."""
        call = self._call()
        entries = application.preferences(call, self._file)
        plain, sealed = self._plain(entries), self._sealed(entries)
        gone = [plain[name] for name in names if name in plain]
        if gone:
            gone += [place + _BACKUP for place in gone if place + _BACKUP in entries]
            application.remove_preferences(call, self._file, gone)
        self._encrypted.remove(*(self._prefix + name for name in names if name in sealed))

    def _plain(self, entries: dict[str, str]) -> dict[str, str]:
        """Where each key's value lies, of those whose names are not sealed."""
        return {
            place[len(self._prefix) :]: place
            for place in entries
            if place.startswith(self._prefix)
            and not (place.endswith(_BACKUP) and place.removesuffix(_BACKUP) in entries)
        }

    def _sealed(self, entries: dict[str, str]) -> set[str]:
        """The keys in EncryptedSharedPreferences, if the application had it so."""
        if not holds_keysets(entries):
            return set()
        names = self._encrypted.names()
        return {name.removeprefix(self._prefix) for name in names if name.startswith(self._prefix)}

    def _opened(self, entries: dict[str, str], call: Call) -> tuple[str, Secret]:
        """The cipher and the key of the values."""
        if self._key is None:
            wrapping, cipher = self._algorithms(entries, call)
            kept = application.preferences(call, self._keys_file)
            alias = f"{application.package_name(call)}.FlutterSecureStoragePluginKey"
            key: Secret | None = None
            is_gone = False
            try:
                if wrapping == _GCM:
                    sealed = _kept(kept, (_SEALED_NONCE,)) + _kept(kept, (_SEALED,))
                    key = keystore.open_sealed(call, alias + self._suffix, sealed, b"")
                else:
                    wrapped = _kept(kept, _WRAPPED[cipher])
                    is_oaep = wrapping == _OAEP
                    alias += ("OAEP" if is_oaep else "") + self._suffix
                    key = keystore.unwrap(call, alias, wrapped, is_oaep)
            except SecretInvalidated:
                is_gone = True
            if key is None or is_gone:
                raise SecretInvalidated(
                    "the key behind what flutter_secure_storage kept is gone from this device",
                    hint="what it kept cannot be read any more",
                )
            self._key = cipher, key
        return self._key

    def _algorithms(self, entries: dict[str, str], call: Call) -> tuple[str, str]:
        """How the key is wrapped and the values are sealed; the oldest ones if nobody says."""
        said = {
            **entries,  # version 9 and before
            **application.preferences(call, _MARKERS),
            **application.preferences(call, f"{_MARKERS}:{self._file}"),
        }
        wrapping, cipher = said.get(_KEY_MARKER, _PKCS1), said.get(_VALUE_MARKER, _CBC)
        if wrapping not in (_PKCS1, _OAEP, _GCM) or cipher not in _WRAPPED:
            raise UnsupportedOption("flutter_secure_storage used a cipher that is not known here")
        return wrapping, cipher

    def _call(self) -> Call:
        return Call(self._timeout, clock=self._clock)


def _kept(entries: dict[str, str], names: tuple[str, ...]) -> bytes:
    for name in names:
        if name in entries:
            return _unbased(entries[name])
    raise SecretInvalidated("flutter_secure_storage's wrapped key is gone")


def _unbased(text: str) -> bytes:
    found = None
    try:
        found = base64.b64decode(text)  # Android's default breaks lines
    except ValueError:
        pass  # raised below: the error may hold the text
    if found is None:
        raise SecretDamaged("what flutter_secure_storage kept is damaged")
    return found
