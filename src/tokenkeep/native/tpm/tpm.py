"""The commands of a TPM 2.0 that sealing a key takes, over one connection for one call.

What the TPM loaded for us is flushed when the connection is closed, whatever happened.
"""

from __future__ import annotations

from tokenkeep.crypto import random_bytes
from tokenkeep.errors import (
    AccessDenied,
    SecretInvalidated,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
    UnsupportedOption,
)
from tokenkeep.native.again import Pauses
from tokenkeep.native.tpm.codes import PCR_CHANGED, REFUSED, RETRIED, base_code, response_error
from tokenkeep.native.tpm.device import Device
from tokenkeep.native.tpm.session import NONCE_BYTES, Salt, Session, name_of, sized
from tokenkeep.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenkeep.item import Call

SHA256, SHA384 = 0x000B, 0x000C
_NO_SESSIONS, _SESSIONS = 0x8001, 0x8002
_OWNER, _NULL = 0x40000001, 0x40000007
_EMPTY_PASSWORD = bytes.fromhex("00000009 40000009 0000 00 0000")
#: Where TCG's provisioning guidance puts the storage key.
_STORAGE_KEY = 0x81000001
_HMAC, _POLICY, _TRIAL = b"\0", b"\1", b"\3"
_AES_128_CFB = bytes.fromhex("0006 0080 0043")
_NO_CIPHER = bytes.fromhex("0010")

_CREATE_PRIMARY, _CREATE, _LOAD, _UNSEAL, _FLUSH = 0x131, 0x153, 0x157, 0x15E, 0x165
_START_SESSION, _POLICY_PCR, _POLICY_AUTH = 0x176, 0x17F, 0x16B
_POLICY_DIGEST, _READ_PUBLIC, _CAPABILITY = 0x189, 0x173, 0x17A
_CAPABILITY_PCRS = 5

#: ECC P-256, SHA-256; fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted,
#: decrypt; no policy; AES-128-CFB, no scheme, no KDF: TCG's template for a storage key.
_STORAGE_TEMPLATE = bytes.fromhex("0023 000b 00030472 0000 0006 0080 0043 0010 0003 0010")
_COORDINATE_BYTES = 32
#: What the public area of a sealed value begins with: a keyed hash, named by SHA-256.
SEALED = bytes.fromhex("0008 000b")
#: fixedTPM and fixedParent; noDA where there is no PIN to guess.
_FIXED, _NO_DA = 0x12, 0x400
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.1


class StorageKey:
    """A loaded storage key: its handle, its Name, and its point on P-256."""

    __slots__ = ("handle", "name", "x", "y")

    def __init__(self, handle: int, public: bytes) -> None:
        point = Reader(public[len(_STORAGE_TEMPLATE) :])
        self.handle = handle
        self.name = name_of(public)
        self.x, self.y = point.sized(), point.sized()


class Reader:
    """Takes a response apart; raises StoreUnavailable where it is cut short."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next bytes."""
        piece = self._data[self._at : self._at + count]
        self._at += count
        if len(piece) != count:
            raise StoreUnavailable("the TPM's answer is cut short")
        return piece

    def number(self, size: int) -> int:
        """The next integer of so many bytes."""
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        """The content of the next TPM2B."""
        return self.take(self.number(2))


class Tpm:
    """A TPM for one call; a context manager.

    Every method raises, besides what it names: `StoreUnavailable`, `StoreTimeout` (by the call's
    deadline; a busy TPM is asked again until then), `StoreLocked`, `AccessDenied`.

    Args:
        path: the device, or `unix:PATH`.
    """

    def __init__(self, path: str, call: Call) -> None:
        self._call = call
        self._handles: list[int] = []
        #: The authorization value of what was to be unsealed is another one.
        self.refused_authorization = False
        self._answered = 0
        self._device = Device(path, call)

    def __enter__(self) -> Tpm:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Flushes what was loaded, the last first, and closes the connection."""
        try:
            while self._handles and not self._device.is_stuck:
                self._flush(self._handles.pop())
        finally:
            self._device.close()

    def storage_key(self, name: bytes | None = None) -> StorageKey:
        """The storage key: the one the machine was provisioned with, else made from its template.

        Args:
            name: the Name it must have; any if None.

        Raises:
            SecretInvalidated: this TPM has another one: it was cleared, or it is another TPM.
        """
        found = self._provisioned()
        if found is None or name not in (None, found.name):
            found = self._primary()
        if name not in (None, found.name):
            raise SecretInvalidated(
                "this TPM is not the one that the key was sealed in, or it was cleared",
                hint="open the vault with another of its keys, then: tokenkeep vault add-key --tpm",
            )
        return found

    def banks(self) -> dict[int, bytes]:
        """The PCRs that this TPM keeps: bank (its hash's number) → bitmap."""
        answer = self._plain(_CAPABILITY, b"", _u32(_CAPABILITY_PCRS) + _u32(0) + _u32(1))
        answer.take(5)
        return {answer.number(2): answer.take(answer.number(1)) for _ in range(answer.number(4))}

    def policy(self, bank: int, pcrs: bytes) -> bytes:
        """The digest of the policy "these PCRs as they are now, and the authorization value".

        Raises:
            UnsupportedOption: the TPM does not keep one of the PCRs in that bank.
        """
        if any(pcrs):
            kept = self.banks().get(bank, b"")
            if any(want & ~have for want, have in zip(pcrs, kept.ljust(3, b"\0"), strict=False)):
                # The TPM would leave it out of the policy, and the key would be sealed to less.
                raise UnsupportedOption("this TPM keeps no such PCR", hint="choose another PCR")
        handle, _nonce = self._start(_u32(_NULL) + _u32(_NULL), b"\0\0", _TRIAL, _NO_CIPHER)[:2]
        self._state_policy(handle, bank, pcrs)
        return self._plain(_POLICY_DIGEST, _u32(handle), b"").sized()

    def seal(
        self, parent: StorageKey, value: Secret, auth: Secret, policy: bytes
    ) -> tuple[bytes, bytes]:
        """The public and the private part of a value sealed under a policy.

        Args:
            value: up to 128 bytes.
            auth: guessing it is limited by the TPM's lockout; none if empty.
        """
        session = self._salted(parent, _HMAC, Secret(b""))
        attributes = _FIXED | (0 if auth.size else _NO_DA)
        public = SEALED + _u32(attributes) + sized(policy) + b"\x00\x10" + sized(b"")
        answer = self._authorized(
            session,
            _CREATE,
            _u32(parent.handle),
            [parent.name],
            _sensitive(auth, value, sized(public) + sized(b"") + _u32(0)),
            hides_first=True,
        )
        response = Reader(answer.reveal_bytes())
        private = response.sized()
        return response.sized(), private

    def unseal(
        self,
        parent: StorageKey,
        public: bytes,
        private: bytes,
        auth: Secret,
        bank: int,
        pcrs: bytes,
    ) -> Secret:
        """The sealed value.

        Raises:
            SecretInvalidated: a PCR changed; or the parts are not this storage key's.
            AccessDenied: the authorization value is wrong, which the TPM counted.
            StoreLocked: it was wrong too often.
        """
        area = _EMPTY_PASSWORD + sized(private) + sized(public)
        response = self._run(_SESSIONS, _LOAD, _u32(parent.handle) + area)
        handle = self._loaded(response.number(4))
        pauses = Pauses(self._call, _FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            session = self._salted(parent, _POLICY, auth)
            self._state_policy(session.handle, bank, pcrs)
            try:
                answer = self._authorized(
                    session, _UNSEAL, _u32(handle), [name_of(public)], Secret(b""),
                    hides_first=False,
                )  # fmt: skip
                return Secret(Reader(answer.reveal_bytes()).sized())
            except StoreTimeout:
                # Something was measured between the policy and its use: it is stated anew.
                if self._answered != PCR_CHANGED or not pauses.wait():
                    raise
            self._flush(self._handles.pop())

    def _provisioned(self) -> StorageKey | None:
        # ReadPublic of what is not there is "handle": no reason to give up.
        command = _command(_NO_SESSIONS, _READ_PUBLIC, _u32(_STORAGE_KEY))
        response, code = self._exchange(command)
        if code:
            return None
        public = response.sized()
        # Fixed to this TPM, so nobody can have brought a key that they know.
        return StorageKey(_STORAGE_KEY, public) if _is_storage_key(public) else None

    def _primary(self) -> StorageKey:
        template = _STORAGE_TEMPLATE + 2 * sized(bytes(_COORDINATE_BYTES))
        parameters = sized(bytes(4)) + sized(template) + sized(b"") + _u32(0)
        response = self._run(
            _SESSIONS, _CREATE_PRIMARY, _u32(_OWNER) + _EMPTY_PASSWORD + parameters
        )
        handle = self._loaded(response.number(4))
        response.take(4)
        public = response.sized()
        if not _is_storage_key(public):
            raise StoreUnavailable("the TPM made another storage key than it was asked for")
        return StorageKey(handle, public)

    def _salted(self, parent: StorageKey, kind: bytes, auth: Secret) -> Session:
        salt = Salt(parent.x, parent.y)
        handle, caller, nonce = self._start(
            _u32(parent.handle) + _u32(_NULL), salt.encrypted, kind, _AES_128_CFB
        )
        return Session(handle, salt, caller, nonce, auth)

    def _start(
        self, handles: bytes, salt: bytes, kind: bytes, cipher: bytes
    ) -> tuple[int, bytes, bytes]:
        """A session's handle, our nonce and the TPM's."""
        caller = random_bytes(NONCE_BYTES)
        parameters = sized(caller) + salt + kind + cipher + SHA256.to_bytes(2, "big")
        response = self._plain(_START_SESSION, handles, parameters)
        return self._loaded(response.number(4)), caller, response.sized()

    def _state_policy(self, handle: int, bank: int, pcrs: bytes) -> None:
        if any(pcrs):
            selection = _u32(1) + bank.to_bytes(2, "big") + bytes([len(pcrs)]) + pcrs
            self._plain(_POLICY_PCR, _u32(handle), sized(b"") + selection)
        self._plain(_POLICY_AUTH, _u32(handle), b"")

    def _loaded(self, handle: int) -> int:
        self._handles.append(handle)
        return handle

    def _flush(self, handle: int) -> None:
        try:
            self._plain(_FLUSH, _u32(handle), b"")
        except StoreError:
            return  # it is gone; and the resource manager flushes when the connection closes

    def _authorized(
        self,
        session: Session,
        code: int,
        handles: bytes,
        names: Sequence[bytes],
        parameters: Secret,
        *,
        hides_first: bool,
    ) -> Secret:
        area = session.command(code, names, parameters, hides_first=hides_first)
        response = self._run(_SESSIONS, code, handles + area)
        body = response.take(response.number(4))
        nonce, attributes, proof = response.sized(), response.take(1), response.sized()
        return session.response(code, body, nonce, attributes, proof)

    def _plain(self, code: int, handles: bytes, parameters: bytes) -> Reader:
        return self._run(_NO_SESSIONS, code, handles + parameters)

    def _run(self, tag: int, code: int, body: bytes) -> Reader:
        response, answer = self._exchange(_command(tag, code, body))
        if answer:
            self._answered = base_code(answer)
            if base_code(answer) in REFUSED and code == _CREATE_PRIMARY:
                raise AccessDenied(
                    "the TPM has no storage key, and making one needs its owner's password",
                    hint="provision the TPM: tpm2_createprimary, tpm2_evictcontrol 0x81000001",
                )
            self.refused_authorization = base_code(answer) in REFUSED
            raise response_error(answer, _DOING.get(code, "the TPM"))
        return response

    def _exchange(self, command: bytes) -> tuple[Reader, int]:
        """A command's response and its code; asked again while the TPM is busy."""
        pauses = Pauses(self._call, _FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            response = self._device.exchange(command)
            code = int.from_bytes(response[6:10], "big")
            if base_code(code) not in RETRIED:
                return Reader(response[10:]), code
            if not pauses.wait():
                raise response_error(code, "the TPM did not answer in time")


#: What a command that failed was for.
_DOING = {
    _CREATE_PRIMARY: "making the TPM's storage key",
    _CREATE: "sealing a key in the TPM",
    _LOAD: "loading the sealed key",
    _UNSEAL: "unsealing the key",
}


def _sensitive(auth: Secret, value: Secret, rest: bytes) -> Secret:
    both = sized(auth.reveal_bytes()) + sized(value.reveal_bytes())
    return Secret(sized(both) + rest)


def _is_storage_key(public: bytes) -> bool:
    size = len(_STORAGE_TEMPLATE) + 2 * (2 + _COORDINATE_BYTES)
    return public.startswith(_STORAGE_TEMPLATE) and len(public) == size


def _command(tag: int, code: int, body: bytes) -> bytes:
    return tag.to_bytes(2, "big") + _u32(10 + len(body)) + _u32(code) + body


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "big")
