"""The bytes of a vault's header, of its key slots and of a key file.

Nothing here does input or output. Each of them is a magic, a map of named fields (`fields.pack`)
and a checksum; fields that this version does not know survive being read and written.
"""

from __future__ import annotations

from tokenkeep import fields
from tokenkeep.crypto import CHECKSUM_BYTES, KEY_BYTES, Argon2Profile, checksum
from tokenkeep.errors import FormatUnsupported, NotAVault, VaultDamaged, WrongKey
from tokenkeep.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The format that this version writes.
FORMAT = 1
#: The oldest format that this version uses without an upgrade.
OLDEST_FORMAT = 1

HEADER_MAGIC = b"tokenkeep vault\n"
KEY_FILE_MAGIC = b"tokenkeep key  \n"
VAULT_ID_BYTES = 16
KEY_ID_BYTES = 8
SLOT_ID_BYTES = 4
SLOT_CHECKSUM_BYTES = 16
#: RFC 9106 section 3.1: 16 bytes are enough for any application.
SALT_BYTES = 16
#: A header with a few slots has under 2 KiB; a bound on what is read into memory.
MAX_HEADER_BYTES = 1 << 20

KEY_FILE_SLOT = "key-file"
PASSPHRASE_SLOT = "passphrase"

_UPGRADE_HINT = "pip install --upgrade tokenkeep"
#: For a vault whose own files are damaged.
RESTORE_HINT = "restore the vault from a backup or an export"


class Slot:
    """One way to the root key: how to come by the key that wraps it, and the wrapped root key."""

    __slots__ = ("extra", "id", "is_damaged", "kind", "label", "profile", "salt", "wrapped")

    def __init__(
        self,
        *,
        slot_id: bytes,
        kind: str,
        label: str,
        salt: bytes,
        wrapped: bytes,
        profile: Argon2Profile | None = None,
        extra: dict[str, bytes] | None = None,
        is_damaged: bool = False,
    ) -> None:
        self.id = slot_id
        self.kind = kind
        self.label = label
        self.salt = salt
        self.wrapped = wrapped
        self.profile = profile
        self.extra = extra or {}
        self.is_damaged = is_damaged

    def encode(self) -> bytes:
        """The slot's blob; a damaged one's as it was, so that nothing takes it for whole."""
        if self.is_damaged:
            return self.extra["raw"]
        known = {
            "kind": self.kind.encode("utf-8"),
            "label": self.label.encode("utf-8"),
            "salt": self.salt,
            "wrapped": self.wrapped,
        }
        if self.profile is not None:
            known["memory-kib"] = self.profile.memory_kib.to_bytes(4, "big")
            known["passes"] = self.profile.passes.to_bytes(4, "big")
            known["lanes"] = self.profile.lanes.to_bytes(4, "big")
        body = fields.pack({**self.extra, **known})
        return body + checksum(body)[:SLOT_CHECKSUM_BYTES]

    @classmethod
    def decode(cls, slot_id: bytes, blob: bytes) -> Slot:
        """The slot of a blob; one whose checksum or fields are wrong says `is_damaged`."""
        body, mark = blob[:-SLOT_CHECKSUM_BYTES], blob[-SLOT_CHECKSUM_BYTES:]
        try:
            if checksum(body)[:SLOT_CHECKSUM_BYTES] != mark:
                raise ValueError("checksum")
            extra = fields.unpack(body)
            profile = None
            if "memory-kib" in extra:
                profile = Argon2Profile(
                    memory_kib=_number(extra.pop("memory-kib"), 4),
                    passes=_number(extra.pop("passes"), 4),
                    lanes=_number(extra.pop("lanes"), 4),
                )
            return cls(
                slot_id=slot_id,
                kind=extra.pop("kind").decode("utf-8"),
                label=extra.pop("label").decode("utf-8"),
                salt=_exactly(extra.pop("salt"), SALT_BYTES),
                wrapped=extra.pop("wrapped"),
                profile=profile,
                extra=extra,
            )
        except (ValueError, KeyError):  # UnicodeDecodeError is a ValueError
            return cls(
                slot_id=slot_id, kind="", label="", salt=b"", wrapped=b"", is_damaged=True,
                extra={"raw": blob},
            )  # fmt: skip


class Header:
    """What a vault says about itself without a key."""

    __slots__ = (
        "current_key",
        "extra",
        "format",
        "generation",
        "is_rekeying",
        "least_reader",
        "least_writer",
        "previous_root",
        "slots",
        "vault_id",
        "wrapped_keys",
    )

    format: int
    vault_id: bytes
    least_reader: int
    least_writer: int
    generation: int
    current_key: bytes
    wrapped_keys: dict[bytes, bytes]
    slots: tuple[Slot, ...]
    previous_root: bytes
    is_rekeying: bool
    extra: dict[str, bytes]

    def __init__(
        self,
        *,
        vault_id: bytes,
        generation: int,
        current_key: bytes,
        wrapped_keys: dict[bytes, bytes],
        slots: tuple[Slot, ...],
        previous_root: bytes = b"",
        is_rekeying: bool = False,
        written_as: int = FORMAT,
        least_reader: int = FORMAT,
        least_writer: int = FORMAT,
        extra: dict[str, bytes] | None = None,
    ) -> None:
        self.format = written_as
        self.vault_id = vault_id
        self.least_reader = least_reader
        self.least_writer = least_writer
        self.generation = generation
        self.current_key = current_key
        self.wrapped_keys = wrapped_keys
        self.slots = slots
        self.previous_root = previous_root
        self.is_rekeying = is_rekeying
        self.extra = extra or {}

    def following(self, **changes: Any) -> Header:
        """The next generation of this header, with these changes."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values["written_as"] = values.pop("format")
        values["generation"] = self.generation + 1
        return Header(**{**values, **changes})

    def encode(self) -> bytes:
        """The bytes of the header file."""
        known = {
            "format": self.format.to_bytes(2, "big"),
            "vault-id": self.vault_id,
            "least-reader": self.least_reader.to_bytes(2, "big"),
            "least-writer": self.least_writer.to_bytes(2, "big"),
            "generation": self.generation.to_bytes(8, "big"),
            "current-key": self.current_key,
            "keys": fields.pack({key.hex(): blob for key, blob in self.wrapped_keys.items()}),
            "slots": fields.pack({slot.id.hex(): slot.encode() for slot in self.slots}),
        }
        if self.previous_root:
            known["previous-root"] = self.previous_root
        if self.is_rekeying:
            known["rekeying"] = b""
        return seal_file(HEADER_MAGIC, {**self.extra, **known})

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """The header in these bytes.

        Raises:
            NotAVault: they are something else.
            VaultDamaged: they were a header.
            FormatUnsupported: a newer version wrote it, and only a newer one may read it.
        """
        return cls.of(header_fields(data))

    @classmethod
    def of(cls, extra: dict[str, bytes]) -> Header:
        """The header of these fields, which it takes over.

        Raises:
            VaultDamaged: a field is missing or malformed.
            FormatUnsupported: see `decode`.
        """
        try:
            least_reader = _number(extra.pop("least-reader"), 2)
            if least_reader > FORMAT:
                raise FormatUnsupported(
                    "a newer version of tokenkeep made this vault", hint=_UPGRADE_HINT
                )
            written_as = _number(extra.pop("format"), 2)
            if written_as < OLDEST_FORMAT:
                raise FormatUnsupported(
                    "an older version of tokenkeep made this vault", hint="tokenkeep vault upgrade"
                )
            is_rekeying = "rekeying" in extra
            _exactly(extra.pop("rekeying", b""), 0)
            if extra.get("previous-root") == b"":
                raise ValueError("previous-root")
            header = cls(
                written_as=written_as,
                vault_id=_exactly(extra.pop("vault-id"), VAULT_ID_BYTES),
                least_reader=least_reader,
                least_writer=_number(extra.pop("least-writer"), 2),
                generation=_number(extra.pop("generation"), 8),
                current_key=_exactly(extra.pop("current-key"), KEY_ID_BYTES),
                wrapped_keys={
                    _id(key, KEY_ID_BYTES): blob
                    for key, blob in fields.unpack(extra.pop("keys")).items()
                },
                slots=tuple(
                    Slot.decode(_id(slot, SLOT_ID_BYTES), blob)
                    for slot, blob in fields.unpack(extra.pop("slots")).items()
                ),
                previous_root=extra.pop("previous-root", b""),
                is_rekeying=is_rekeying,
                extra=extra,
            )
            if header.current_key not in header.wrapped_keys or not header.slots:
                raise ValueError("current-key or slots")
            return header
        except (ValueError, KeyError) as exc:
            raise VaultDamaged("the vault's header is damaged", hint=RESTORE_HINT) from exc

    def require_writable(self) -> None:
        """Ends a write that this version must not do.

        Raises:
            FormatUnsupported: a newer version wrote it, and only a newer one may write to it.
        """
        if self.least_writer > FORMAT:
            raise FormatUnsupported(
                "only a newer version of tokenkeep may write to this vault", hint=_UPGRADE_HINT
            )


def header_fields(data: bytes) -> dict[str, bytes]:
    """The fields of a header of any format: what an upgrade starts from.

    Raises:
        NotAVault, VaultDamaged: see `Header.decode`.
    """
    if not data.startswith(HEADER_MAGIC):
        raise NotAVault(
            "what lies at the vault's path is not a tokenkeep vault", hint="choose another path"
        )
    found = open_file(HEADER_MAGIC, data)
    if found is None:
        raise VaultDamaged("the vault's header is damaged", hint=RESTORE_HINT)
    return found


def encode_key_file(key: Secret, vault_id: bytes, extra: dict[str, bytes] | None = None) -> Secret:
    """The bytes of a key file, which are as secret as the key; an empty id for no vault yet."""
    known = {"key": key.reveal_bytes(), **({"vault-id": vault_id} if vault_id else {})}
    return Secret(seal_file(KEY_FILE_MAGIC, {**(extra or {}), **known}))


def decode_key_file(data: Secret) -> tuple[Secret, bytes, dict[str, bytes]]:
    """The key, the id of its vault (empty if it has none yet), and unknown fields.

    Raises:
        WrongKey: this is no key file, or it is damaged.
    """
    if not data.reveal_bytes().startswith(KEY_FILE_MAGIC):
        raise WrongKey("this is not a tokenkeep key file", hint="give the vault's key file")
    found = open_file(KEY_FILE_MAGIC, data.reveal_bytes())
    if found is not None and len(found.get("key", b"")) == KEY_BYTES:
        key, vault_id = Secret(found.pop("key")), found.pop("vault-id", None)
        if vault_id is None or len(vault_id) == VAULT_ID_BYTES:
            return key, vault_id or b"", found
    del found
    raise WrongKey("the key file is damaged", hint="restore the key file from a backup")


def seal_file(magic: bytes, known: dict[str, bytes]) -> bytes:
    """Magic, fields, checksum."""
    return (body := magic + fields.pack(known)) + checksum(body)


def open_file(magic: bytes, data: bytes) -> dict[str, bytes] | None:
    """The fields of such a file; None if it is damaged."""
    body = data[:-CHECKSUM_BYTES]
    if len(body) >= len(magic) and checksum(body) == data[-CHECKSUM_BYTES:]:
        try:
            return fields.unpack(body[len(magic) :])
        except ValueError:
            pass  # written by something that is not this program
    return None


def _exactly(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise ValueError("a field has the wrong size")
    return value


def _number(value: bytes, size: int) -> int:
    return int.from_bytes(_exactly(value, size), "big")


def _id(text: str, size: int) -> bytes:
    """The id that a field's name is; written in no other way, so that no two fields have one."""
    value = _exactly(bytes.fromhex(text), size)
    if value.hex() != text:
        raise ValueError("an id is written in another way")
    return value
