"""The ways to a vault's root key: what every kind of key offers, the key file and the passphrase.

Keys are values; they read nothing until a vault is opened or made. A platform's own kind of key
lives beside its backend and keeps to the protocol `Key`.
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
    SecretDamaged,
    SecretInvalidated,
    StoreLocked,
    StoreTimeout,
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
    SALT_BYTES,
    SLOT_ID_BYTES,
    Header,
    Slot,
    decode_key_file,
    encode_key_file,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeGuard

    from tokenkeep.vault.key import Key as Key


_MAX_KEY_FILE_BYTES = 4096
_LABEL = b"tokenkeep slot"
#: The kind of a key that may open slots of every kind.
ANY_SLOT = "*"


class KeyFile:
    """A file with a random key: whoever can read it can open the vault.

    Args:
        path: where it lies, or is made together with the vault.
        readable_by_group: accept a file that its group may read, or that another user owns, as
            container platforms mount them; and one that cannot be replaced by its like, so that it
            never names its vault.
    """

    __slots__ = ("path", "readable_by_group")

    kind = KEY_FILE_SLOT
    protection = "FILE_PERMISSIONS"
    may_prompt = False
    readable_when_locked = True
    locked_after_boot = False
    opens_elsewhere = True
    path: str
    readable_by_group: bool

    def __init__(self, path: str | os.PathLike[str], readable_by_group: bool = False) -> None:
        put = object.__setattr__
        put(self, "path", path)  # first: a traceback with locals calls repr on what there is
        put(self, "readable_by_group", readable_by_group)
        put(self, "path", files.absolute(path, "the key file"))

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
        aside = _aside(self.path)
        content = encode_key_file(Secret(random_bytes(KEY_BYTES)), b"")
        problem = None
        missing = files.missing_parents(self.path)
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
            files.remove_empty(missing)
        if problem is not None:
            raise problem
        return self.read()

    def name_vault(self, vault_id: bytes) -> None:
        """Notes in the file which vault it opens, so that a lost vault is never taken for none.

        Raises:
            WrongKey: it names another vault.
            AccessDenied, StoreFull, StoreUnavailable: it cannot be written, and that is not
                accepted.
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
            path = os.path.realpath(self.path)  # in the place of the file, not of a link to it
            # The vault's creator and its first writer may both be at it.
            files.replace_file(path, content, _aside(path), keeps_access=True)
        except OSError as exc:
            problem = files.translated(exc, f"the key file {self.path}")
        if problem is not None and not self.readable_by_group:
            raise problem

    def require_nameable(self) -> None:
        """Ends an attempt to use a file that could never name its vault, unless that is accepted.

        Raises:
            AccessDenied: its directory cannot be written.
        """
        if not self.readable_by_group and not os.access(os.path.dirname(self.path), os.W_OK):
            raise AccessDenied(
                f"the key file cannot be made to name its vault: {self.path}",
                hint="make its directory writable, or give KeyFile(..., readable_by_group=True)",
            )

    def remember(self, slot_id: bytes, vault_id: bytes, call: Call) -> dict[str, bytes]:
        """Nothing: see `Key.remember`."""
        return {}

    def opener(self, vault_id: bytes, call: Call) -> Callable[[Slot], Secret | None]:
        """What gives a slot's wrapping key; raises as `read`, and WrongKey for another vault's."""
        key, named, _extra = self.read()
        if named and named != vault_id:
            raise WrongKey(
                f"the key file belongs to another vault: {self.path}",
                hint="give this vault's own key file",
            )

        def kek(slot: Slot) -> Secret:
            return derive(key, b"tk key file", slot.salt)

        return kek


def _aside(path: str) -> str:
    return f"{path}.{random_bytes(6).hex()}.new"


class Passphrase:
    """A passphrase, or a callable that gives it when a vault is opened.

    Args:
        source: the passphrase, or what to call for it: once per unlock.
        profile: what a new slot costs; existing slots keep theirs.
        prompts: the callable asks a person, which a call that allows no prompt must not do.

    Raises:
        TypeError, ValueError: the passphrase is no text, or none that is valid Unicode.
        UnsupportedOption: the profile costs more than any reader will pay, or has no meaning.
    """

    __slots__ = ("_source", "may_prompt", "profile")

    kind = PASSPHRASE_SLOT
    protection = "PASSPHRASE"
    readable_when_locked = True
    locked_after_boot = False
    opens_elsewhere = True
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
        if not profile.is_acceptable():
            raise UnsupportedOption(
                f"nobody would open a slot of this cost: {profile}",
                hint="choose RFC_9106_LOW_MEMORY, or at most 1 GiB and 64 passes",
            )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Passphrase cannot be changed")

    def __repr__(self) -> str:
        return f"Passphrase(profile={self.profile})"

    def remember(self, slot_id: bytes, vault_id: bytes, call: Call) -> dict[str, bytes]:
        """Nothing: see `Key.remember`."""
        return {}

    def opener(self, vault_id: bytes, call: Call) -> Callable[[Slot], Secret | None]:
        """What gives a slot's wrapping key; raises as `reveal`, and VaultDamaged."""
        passphrase = self.reveal(call)

        def kek(slot: Slot) -> Secret:
            if slot.profile is None or not slot.profile.is_acceptable():
                raise VaultDamaged("a passphrase slot asks for impossible costs")
            return argon2id(passphrase, slot.salt, slot.profile)

        return kek

    def reveal(self, call: Call) -> Secret:
        """The passphrase, asked for now if it has to be asked for.

        Raises:
            InteractionDenied: the call allows no prompt.
            UnsupportedOption: it is empty.
        """
        source = self._source
        if isinstance(source, Secret):
            return _not_empty(source)
        if self.may_prompt and call.interaction == Interaction.NEVER:
            raise InteractionDenied(
                "the vault needs its passphrase, and prompting is not allowed",
                hint="allow interaction, or give the passphrase in a file",
            )
        return _not_empty(as_secret(source()))


def _not_empty(passphrase: Secret) -> Secret:
    """A passphrase that protects.

    Raises:
        UnsupportedOption: it is empty, as an unset variable would be.
    """
    if not passphrase.size:
        raise UnsupportedOption("the passphrase is empty", hint="give a passphrase")
    return passphrase


def is_key(value: object) -> TypeGuard[Key]:
    """Whether something can be a vault's key: it keeps to `Key`."""
    return callable(getattr(value, "opener", None)) and hasattr(value, "kind")


def new_slot(
    key: Key, label: str, root: Secret, vault_id: bytes, call: Call
) -> tuple[Slot, Secret]:
    """A slot that opens with this key, and its wrapping key; a key file is read, none is made.

    If it does not open, what the key keeps elsewhere for it is taken back.
    """
    from tokenkeep.vault.slot_facts import said_of

    if key.kind == ANY_SLOT:
        raise UnsupportedOption("a vault that was unlocked for a while is no key of its own")
    slot_id = random_bytes(SLOT_ID_BYTES)
    slot = Slot(
        slot_id=slot_id,
        kind=key.kind,
        label=label,
        salt=random_bytes(SALT_BYTES),
        wrapped=b"",
        profile=key.profile if isinstance(key, Passphrase) else None,
        extra=key.remember(slot_id, vault_id, call),
    )
    kek = None
    try:
        slot.extra.update(said_of(key))  # which a key need not know before `remember`
        kek = key.opener(vault_id, call)(slot)  # opened right away, so that it is known to open
        if kek is None:
            raise WrongKey("the key does not open the slot that was just made with it")
    finally:
        if kek is None:
            from tokenkeep.vault.leftovers import forget_unused

            forget_unused((key,), (slot,), vault_id, call)
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
        StoreError: why none does: of the keys' several reasons the most hopeful one, so that nobody
            is told "gone for good" while another key may open the vault. In this order:
        StoreLocked, StoreTimeout, AccessDenied, InteractionDenied, StoreUnavailable: as a key says.
        WrongKey, VaultKeyMissing: a key is there and opens nothing; or is not there.
        SecretDamaged, VaultDamaged: what a key should have opened is damaged.
        SecretInvalidated: every key at hand is gone for good.
    """
    known = {} if known is None else known
    problems: list[TokenkeepError | None] = []
    for key in keys:
        opened, in_the_way = _open_one(header, key, call, known)
        if opened is not None:
            return opened
        problems += in_the_way
    raise _why(header, problems)


def opens(header: Header, key: Key, call: Call) -> bool:
    """Whether the key opens a slot; raises what keeps us from knowing."""
    opened, in_the_way = _open_one(header, key, call, {})
    problems = [problem for problem in in_the_way if problem is not None]
    if opened is None and problems:
        raise min(problems, key=_despair)
    return opened is not None


def open_each(
    header: Header, wanted: Sequence[Slot], keys: Sequence[Key], call: Call
) -> dict[bytes, Secret]:
    """The wrapping keys of those slots that one of the keys opens, by slot id.

    A key that cannot be tried opens nothing: the slots that remain closed are what counts.
    """
    found: dict[bytes, Secret] = {}
    for key in keys:
        closed = [slot for slot in wanted if fits(key, slot) and slot.id not in found]
        if not closed:
            continue
        try:
            opener = key.opener(header.vault_id, call)
        except TokenkeepError:
            continue
        for slot in closed:
            try:
                kek = opener(slot)
            except TokenkeepError:
                continue
            if kek is not None and _root(kek, slot, header.vault_id) is not None:
                found[slot.id] = kek
    return found


def _open_one(
    header: Header, key: Key, call: Call, known: dict[tuple[bytes, bytes], Secret]
) -> tuple[Opened | None, list[TokenkeepError | None]]:
    """What the key opened; else why each slot stayed closed, None for one that it does not fit."""
    opener = None
    problems: list[TokenkeepError | None] = []
    for slot in header.slots:
        if not fits(key, slot):
            continue
        kek = known.get((slot.id, slot.salt))
        if kek is None:
            try:
                if opener is None:
                    opener = key.opener(header.vault_id, call)
                kek = opener(slot)
            except TokenkeepError as exc:
                problems.append(exc.with_traceback(None))
                if opener is None:
                    break  # the key itself is not to be had, whatever the slot
                continue
        if kek is None:
            continue  # another key's slot
        root = _root(kek, slot, header.vault_id)
        if root is not None:
            known[slot.id, slot.salt] = kek
            return Opened(key, slot, root, kek), []
        problems.append(None)
    return None, problems


def fits(key: Key, slot: Slot) -> bool:
    """Whether a key may open a slot, by the slot's kind."""
    return key.kind in (slot.kind, ANY_SLOT)


def _root(kek: Secret, slot: Slot, vault_id: bytes) -> Secret | None:
    return Cipher(kek).open(slot.wrapped, _associated(slot, vault_id))


#: What stands in the way of a key, the most hopeful first: what passes by itself, what a person or
#: a command mends, what another key or a backup mends, and last what nothing does.
_BY_HOPE: tuple[type[TokenkeepError], ...] = (
    StoreLocked,
    StoreTimeout,
    AccessDenied,
    InteractionDenied,
    TokenkeepError,  # anything else that a key says of itself, such as StoreUnavailable
    WrongKey,
    VaultKeyMissing,
    SecretDamaged,
    SecretInvalidated,
)


def _despair(problem: TokenkeepError) -> int:
    """How little hope there is; a class without a place of its own has its parent's."""
    return next(_BY_HOPE.index(kind) for kind in type(problem).__mro__ if kind in _BY_HOPE)


def _why(header: Header, problems: list[TokenkeepError | None]) -> TokenkeepError:
    """The error that helps most: the most hopeful of what stood in the keys' way."""
    is_damaged = any(slot.is_damaged for slot in header.slots)
    if is_damaged and not problems:
        return VaultDamaged("a key slot of the vault is damaged")
    kinds = " or ".join(sorted({slot.kind for slot in header.slots if slot.kind}))
    also = ", of which a key slot is damaged" if is_damaged else ""
    wrong = WrongKey(
        f"none of the given keys opens this vault{also}",
        hint=f"give its {kinds}" if kinds else None,
    )
    return min((wrong if each is None else each for each in problems), key=_despair, default=wrong)


def _associated(slot: Slot, vault_id: bytes) -> bytes:
    return fields.join(_LABEL, vault_id, slot.id, slot.kind.encode("utf-8"), slot.salt)
