"""The ways to a vault's root key that a person can give: a key file, a passphrase.

What is given here are values; they read nothing until a vault is opened or made.
"""

from __future__ import annotations

import os

from tokenkeep import fields
from tokenkeep.crypto import (
    KEY_BYTES,
    RFC_9106_LOW_MEMORY,
    Argon2Profile,
    Cipher,
    argon2id,
    derive,
    random_bytes,
)
from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    TokenkeepError,
    UnsupportedOption,
    VaultDamaged,
    VaultKeyMissing,
    WrongKey,
)
from tokenkeep.item import Call, Interaction
from tokenkeep.secret import Secret, as_secret
from tokenkeep.vault import files
from tokenkeep.vault.format import (
    KEY_FILE_SLOT,
    PASSPHRASE_SLOT,
    SLOT_ID_BYTES,
    Header,
    Slot,
    decode_key_file,
    encode_key_file,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: RFC 9106 section 3.1: 16 bytes are enough for any application.
SALT_BYTES = 16
_MAX_KEY_FILE_BYTES = 4096
_LABEL = b"tokenkeep slot"


class KeyFile:
    """A file with a random key: whoever can read it can open the vault.

    Args:
        path: where it lies, or is made together with the vault.
        readable_by_group: accept a file that its group may read, or that another user owns, as
            container platforms mount them; and one that cannot be written, so that it never names
            its vault.
    """

    __slots__ = ("path", "readable_by_group")

    kind = KEY_FILE_SLOT
    may_prompt = False
    path: str
    readable_by_group: bool

    def __init__(self, path: str | os.PathLike[str], readable_by_group: bool = False) -> None:
        put = object.__setattr__
        put(self, "path", files.absolute(path, "the key file"))
        put(self, "readable_by_group", readable_by_group)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a KeyFile cannot be changed")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeyFile):
            return NotImplemented
        return (self.path, self.readable_by_group) == (other.path, other.readable_by_group)

    def __hash__(self) -> int:
        return hash((self.path, self.readable_by_group))

    def __repr__(self) -> str:
        return f"KeyFile({self.path!r}, readable_by_group={self.readable_by_group})"

    def read(self) -> tuple[Secret, bytes, dict[str, bytes]]:
        """The key, the id of the vault it belongs to (empty if none yet), and unknown fields.

        Raises:
            VaultKeyMissing: there is no file.
            AccessDenied: others can reach it.
            WrongKey: it is not a key file, or damaged.
        """
        content: Secret | None = None
        problem: TokenkeepError | None = None
        try:
            content = self._content()
        except FileNotFoundError:
            problem = VaultKeyMissing(
                f"the key file is not there: {self.path}", hint="bring the key file back"
            )
        except OSError as exc:
            problem = files.translated(exc, f"the key file {self.path}")
        if content is None:
            assert problem is not None
            raise problem
        return decode_key_file(content)

    def _content(self) -> Secret:
        if not self.readable_by_group:
            return Secret(files.read_private(self.path, _MAX_KEY_FILE_BYTES, 0o600))
        # Mounted secrets are reached through links (Kubernetes' ..data) and belong to root.
        return Secret(files.read_shared(self.path, _MAX_KEY_FILE_BYTES))

    def make(self) -> tuple[Secret, bytes, dict[str, bytes]]:
        """What `read` gives, after making the file if nothing is there.

        Raises:
            As `read`; AccessDenied, StoreFull, StoreUnavailable: it cannot be made.
        """
        directory = os.path.dirname(self.path)
        aside = f"{self.path}.{random_bytes(6).hex()}.new"
        content = encode_key_file(Secret(random_bytes(KEY_BYTES)), b"")
        problem = None
        try:
            if not os.path.lexists(self.path):
                os.makedirs(directory, mode=0o700, exist_ok=True)
                files.write_new(aside, content)
                files.link_new(aside, self.path)
                files.sync_directory(directory)
        except FileExistsError:
            pass  # another creator was quicker: its key is the one
        except OSError as exc:
            problem = files.translated(exc, f"the key file {self.path}")
        finally:
            files.remove(aside)
        if problem is not None:
            raise problem
        return self.read()

    def name_vault(self, vault_id: bytes) -> None:
        """Notes in the file which vault it opens, so that a lost vault is never taken for none.

        Raises:
            WrongKey: it names another vault.
            AccessDenied, StoreFull, StoreUnavailable: it cannot be written.
        """
        key, named, extra = self.read()
        if named == vault_id:
            return
        if named:
            raise WrongKey(
                f"the key file belongs to another vault: {self.path}",
                hint="give this vault's own key file",
            )
        content, problem = encode_key_file(key, vault_id, extra), None
        try:
            files.replace_file(self.path, content)
        except OSError as exc:
            problem = files.translated(exc, f"the key file {self.path}")
        if problem is not None and not (
            self.readable_by_group and isinstance(problem, AccessDenied)
        ):
            raise problem

    def _material(self, vault_id: bytes, call: Call) -> Secret:
        key, named, _extra = self.read()
        if named and named != vault_id:
            raise WrongKey(
                f"the key file belongs to another vault: {self.path}",
                hint="give this vault's own key file",
            )
        return key

    def _kek(self, material: Secret, slot: Slot) -> Secret:
        return derive(material, b"tk key file", slot.salt)


class Passphrase:
    """A passphrase, or a callable that gives it when a vault is opened.

    Args:
        source: the passphrase, or what to call for it: once per unlock.
        profile: what a new slot costs; existing slots keep theirs.
        prompts: the callable asks a person, which a call that allows no prompt must not do.
    """

    __slots__ = ("_source", "may_prompt", "profile")

    kind = PASSPHRASE_SLOT
    _source: Secret | Callable[[], Secret | str]
    profile: Argon2Profile
    may_prompt: bool

    def __init__(
        self,
        source: Secret | str | Callable[[], Secret | str],
        profile: Argon2Profile = RFC_9106_LOW_MEMORY,
        prompts: bool = False,
    ) -> None:
        put = object.__setattr__
        put(self, "profile", profile)  # first: a traceback with locals calls repr on what there is
        put(self, "may_prompt", prompts)
        if not callable(source):
            try:
                source = as_secret(source)
            except (TypeError, ValueError):
                del source  # this frame is in the traceback
                raise
        put(self, "_source", source)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Passphrase cannot be changed")

    def __repr__(self) -> str:
        return f"Passphrase(profile={self.profile})"

    def _material(self, vault_id: bytes, call: Call) -> Secret:
        source = self._source
        if isinstance(source, Secret):
            return _not_empty(source)
        if self.may_prompt and call.interaction == Interaction.NEVER:
            raise InteractionDenied(
                "the vault needs its passphrase, and prompting is not allowed",
                hint="allow interaction, or give the passphrase in a file",
            )
        return _not_empty(as_secret(source()))

    def _kek(self, material: Secret, slot: Slot) -> Secret:
        if slot.profile is None or not slot.profile.is_acceptable():
            raise VaultDamaged("a passphrase slot asks for impossible costs")
        return argon2id(material, slot.salt, slot.profile)


def _not_empty(passphrase: Secret) -> Secret:
    """A passphrase that protects.

    Raises:
        UnsupportedOption: it is empty, as an unset variable would be.
    """
    if not passphrase.size:
        raise UnsupportedOption("the passphrase is empty", hint="give a passphrase")
    return passphrase


if TYPE_CHECKING:
    Key = KeyFile | Passphrase


def new_slot(
    key: Key, label: str, root: Secret, vault_id: bytes, call: Call
) -> tuple[Slot, Secret]:
    """A slot that opens with this key, and its wrapping key; a key file is read, none is made."""
    slot = Slot(
        slot_id=random_bytes(SLOT_ID_BYTES),
        kind=key.kind,
        label=label,
        salt=random_bytes(SALT_BYTES),
        wrapped=b"",
        profile=key.profile if isinstance(key, Passphrase) else None,
    )
    kek = key._kek(key._material(vault_id, call), slot)
    return rewrapped(slot, kek, root, vault_id), kek


def rewrapped(slot: Slot, kek: Secret, root: Secret, vault_id: bytes) -> Slot:
    """The same slot around another root key."""
    return Slot(
        slot_id=slot.id,
        kind=slot.kind,
        label=slot.label,
        salt=slot.salt,
        wrapped=Cipher(kek).seal(root, _associated(slot, vault_id)),
        profile=slot.profile,
        extra=slot.extra,
    )


class Opened:
    """What a key opened: the slot, the root key, and the key that wraps it."""

    __slots__ = ("kek", "key", "root", "slot")

    def __init__(self, key: Key, slot: Slot, root: Secret, kek: Secret) -> None:
        self.key = key
        self.slot = slot
        self.root = root
        self.kek = kek


def unlock(
    header: Header,
    keys: Sequence[Key],
    call: Call,
    known: dict[tuple[bytes, bytes], Secret] | None = None,
) -> Opened:
    """The root key, by the first of the keys that opens a slot.

    Args:
        known: what slots were opened with before, by slot id and salt, so that a passphrase costs
            its time once; added to here.

    Raises:
        VaultKeyMissing: none of the key files is there.
        WrongKey: a key is there and opens nothing.
        VaultDamaged: a slot that might have opened is damaged.
        InteractionDenied, AccessDenied, UnsupportedOption: as the keys say.
    """
    known = {} if known is None else known
    problems: list[TokenkeepError] = []
    for key in keys:
        try:
            opened = _open_one(header, key, call, known)
        except TokenkeepError as exc:
            problems.append(exc.with_traceback(None))
            continue
        if opened is not None:
            return opened
    raise _why(header, keys, problems)


def opens(header: Header, key: Key, call: Call) -> bool:
    """Whether the key opens a slot; raises what keeps us from knowing."""
    return _open_one(header, key, call, {}) is not None


def open_each(
    header: Header, wanted: Sequence[Slot], keys: Sequence[Key], call: Call
) -> dict[bytes, Secret]:
    """The wrapping keys of those slots that one of the keys opens, by slot id.

    A key that cannot be tried opens nothing: the slots that remain closed are what counts.
    """
    found: dict[bytes, Secret] = {}
    for key in keys:
        try:
            material = key._material(header.vault_id, call)
        except TokenkeepError:
            continue
        for slot in wanted:
            if slot.kind != key.kind or slot.id in found:
                continue
            kek = key._kek(material, slot)
            if Cipher(kek).open(slot.wrapped, _associated(slot, header.vault_id)) is not None:
                found[slot.id] = kek
    return found


def _open_one(
    header: Header, key: Key, call: Call, known: dict[tuple[bytes, bytes], Secret]
) -> Opened | None:
    material = None
    for slot in header.slots:
        if slot.kind != key.kind:
            continue
        kek = known.get((slot.id, slot.salt))
        if kek is None:
            if material is None:
                material = key._material(header.vault_id, call)
            kek = key._kek(material, slot)
        root = Cipher(kek).open(slot.wrapped, _associated(slot, header.vault_id))
        if root is not None:
            known[slot.id, slot.salt] = kek
            return Opened(key, slot, root, kek)
    return None


def _why(header: Header, keys: Sequence[Key], problems: list[TokenkeepError]) -> TokenkeepError:
    """The error that helps most: what stood in the way of a key, before "none of them opens"."""
    for kind in (AccessDenied, VaultDamaged, InteractionDenied, WrongKey):
        for problem in problems:
            if isinstance(problem, kind):
                return problem
    if problems:
        return problems[0]
    if any(slot.is_damaged for slot in header.slots):
        return VaultDamaged("a key slot of the vault is damaged")
    kinds = " or ".join(sorted({slot.kind for slot in header.slots}))
    return WrongKey(
        "none of the given keys opens this vault", hint=f"give its {kinds}" if kinds else None
    )


def _associated(slot: Slot, vault_id: bytes) -> bytes:
    return fields.join(_LABEL, vault_id, slot.id, slot.kind.encode("utf-8"), slot.salt)
