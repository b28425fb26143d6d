"""TokenStorage: the small vocabulary for an application's authentication layer.

Three verbs and nothing general: what a session is kept by lies behind `kept`.
"""

from __future__ import annotations

from tokenkeep.errors import LoginFailed, ProtocolViolation, StoreError
from tokenkeep.secret import Secret, as_secret
from tokenkeep.tokens.kept import FENCE_SECONDS, KeptRecord, Left, new_session_id
from tokenkeep.tokens.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.storage import SecureStorage
    from tokenkeep.tokens.kept import FreshInstall


class TokenStorage:
    """Keeps one account's session in a `SecureStorage`.

    Args:
        storage: where the record lies; its service is the application.
        account: whose session it is; also the name of its log and its fence.
        name: the record's name in the storage; the account unless given.
        previous_name: the name that an earlier version of the application gave the record: it is
            read where nothing lies under `name`, and moved at the next restore. A record that is
            another account's is left alone.
        fresh_install: what to do with a record whose log is missing, left by an installation that
            is gone: "clear" erases it, "keep" goes on with it, a function is asked with the
            account and keeps it by answering True.

    Raises:
        InvalidName: the account or a name cannot be stored.
    """

    def __init__(
        self,
        storage: SecureStorage,
        *,
        account: str = "default",
        name: str | None = None,
        previous_name: str | None = None,
        fresh_install: FreshInstall = "clear",
    ) -> None:
        self.kept = KeptRecord(storage, account, name, previous_name, fresh_install)

    @property
    def storage(self) -> SecureStorage:
        """Where the record lies."""
        return self.kept.storage

    @property
    def account(self) -> str:
        """Whose session it is."""
        return self.kept.account

    def save_refresh_token(
        self,
        token: Secret | str,
        *,
        issuer: str = "",
        client_id: str = "",
        subject: str = "",
        scope: str = "",
    ) -> None:
        """Keeps the refresh token of a login that the application confirmed; ends the one before.

        Raises:
            ProtocolViolation: it is empty, or has characters that no refresh token has.
            RefreshUnavailable: somebody else is inside the fence; nothing was saved.
            UnsupportedOption: another account's session lies under the name; nothing was saved.
            StoreError: it could not be saved; no session lives.
        """
        try:
            token = as_secret(token)
        except (TypeError, ValueError):
            del token  # this frame is in the traceback
            raise
        # RFC 6749, appendix A.17; saved, it would be a session that never refreshes.
        if not token.size or any(not 0x20 <= byte <= 0x7E for byte in token.reveal_bytes()):
            raise ProtocolViolation(
                "that is no refresh token", hint="give the provider's refresh token as it came"
            )
        record = Record(
            new_session_id(),
            self.kept.now(),
            account=self.account,
            refresh_token=token,
            issuer=issuer,
            client_id=client_id,
            subject=subject,
            scope=scope,
            lifetime=0.0,
        )
        with self.kept.hold("login"):
            self.kept.require_ours()
            self.kept.log.begin(record.session_id, record.obtained.wall)
            self.kept.write(record)
            if self.kept.has_ended(record.session_id):
                self.kept.erase_dead()
                raise LoginFailed(
                    "the session was ended while it was being saved", hint="log in again"
                )

    def read_refresh_token(self) -> Secret | None:
        """The live session's refresh token; None if signed out. For looking, not for redeeming.

        Raises:
            StoreError: the store cannot tell; see `SecureStorage.read`.
        """
        record = self.kept.load()
        return None if record is None else record.refresh_token

    def clear_session(self) -> bool:
        """Ends the session here and erases its record; the provider is not told.

        The session is over when this returns, even if the store is locked. Returns whether the
        record and its bytes are gone already; otherwise whoever is inside the fence, or the next
        login, restore or writer, erases them. Where the store deletes only what a person agrees to
        (KeePassXC), an empty item stays.

        Raises:
            StoreFull, AccessDenied, StoreUnavailable: the session log could not be written.
        """
        self.kept.log.end("logout", self.kept.now().wall)
        try:
            hold = self.kept.fence.acquire("logout", FENCE_SECONDS)
            if hold is None:
                return False
            with hold:
                left = self.kept.erase_dead()
        except StoreError:
            return False
        return self.kept.shred() and left != Left.EMPTY
