"""Security keys by FIDO2's hmac-secret extension; the only importer of python-fido2."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from tokenkeep.crypto import random_bytes
from tokenkeep.errors import MissingExtra
from tokenkeep.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tokenkeep.item import Call

_IS_INSTALLED = True
try:
    from fido2.client import (
        ClientError,
        DefaultClientDataCollector,
        Fido2Client,
        UserInteraction,
    )
    from fido2.cose import CoseKey
    from fido2.ctap import CtapError
    from fido2.ctap2.extensions import HmacSecretExtension
    from fido2.hid import CtapHidDevice
    from fido2.webauthn import (
        PublicKeyCredentialCreationOptions,
        PublicKeyCredentialDescriptor,
        PublicKeyCredentialParameters,
        PublicKeyCredentialRequestOptions,
        PublicKeyCredentialRpEntity,
        PublicKeyCredentialType,
        PublicKeyCredentialUserEntity,
    )
except ImportError:
    _IS_INSTALLED = False

if not _IS_INSTALLED:
    raise MissingExtra(extra="fido2")

#: ES256, which every authenticator has.
_ALGORITHM = -7
_CHALLENGE_BYTES = 32


class KeyFailure(Exception):
    """What the security key or its client said, by name (CTAP 2.1, section 8.2)."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class SecurityKeys:
    """The authenticators at hand.

    Args:
        party: the relying party's domain.
        devices: gives them; those at USB if None.
        on_touch: called when one waits for a touch.
    """

    def __init__(
        self,
        party: str,
        devices: Callable[[], Iterable[Any]] | None,
        on_touch: Callable[[], None],
    ) -> None:
        self._party = party
        self._devices = devices if devices is not None else CtapHidDevice.list_devices
        self._interaction = _Interaction(on_touch)

    def make(self, call: Call) -> tuple[bytes, bytes]:
        """A new credential's id and its public key (COSE).

        Raises:
            KeyFailure: there is none, or nobody touched it.
        """
        options = PublicKeyCredentialCreationOptions(
            rp=PublicKeyCredentialRpEntity(name=self._party, id=self._party),
            user=PublicKeyCredentialUserEntity(id=random_bytes(16), name="tokenkeep"),
            challenge=random_bytes(_CHALLENGE_BYTES),
            pub_key_cred_params=[
                PublicKeyCredentialParameters(
                    type=PublicKeyCredentialType.PUBLIC_KEY, alg=_ALGORITHM
                )
            ],
            extensions={"hmacCreateSecret": True},
        )
        made = self._first(lambda client, event: client.make_credential(options, event=event), call)
        data = made.response.attestation_object.auth_data.credential_data
        if data is None or not made.client_extension_results.get("hmacCreateSecret"):
            raise KeyFailure("UNSUPPORTED_EXTENSION")
        from fido2 import cbor

        return bytes(data.credential_id), bytes(cbor.encode(dict(data.public_key)))

    def answer(
        self, credential: bytes, public_key: bytes, salt: bytes, call: Call
    ) -> tuple[Secret, bool]:
        """The key's secret answer to the salt, and whether it signed a fresh challenge, touched.

        Raises:
            KeyFailure: it is not there, or nobody touched it.
        """
        from fido2 import cbor

        options = PublicKeyCredentialRequestOptions(
            challenge=random_bytes(_CHALLENGE_BYTES),
            rp_id=self._party,
            allow_credentials=[
                PublicKeyCredentialDescriptor(
                    type=PublicKeyCredentialType.PUBLIC_KEY, id=credential
                )
            ],
            extensions={"hmacGetSecret": {"salt1": salt}},
        )
        selection = self._first(
            lambda client, event: client.get_assertion(options, event=event), call
        )
        found = selection.get_response(0)
        response = found.response
        try:
            parsed: Any = cbor.decode(public_key)
            CoseKey.parse(parsed).verify(
                response.authenticator_data + response.client_data.hash, response.signature
            )
            is_signed = response.authenticator_data.is_user_present()
        except Exception as exc:  # the library beneath has its own for a wrong signature
            if type(exc).__name__ != "InvalidSignature":
                raise
            is_signed = False
        secret = Secret(found.client_extension_results["hmacGetSecret"]["output1"])
        return secret, is_signed and response.client_data.challenge == options.challenge

    def _first(self, ask: Callable[[Any, threading.Event], Any], call: Call) -> Any:
        """What the first authenticator that knows the request says."""
        failure = "NO_DEVICE"
        for device in self._devices():
            client = Fido2Client(
                device,
                client_data_collector=DefaultClientDataCollector(f"https://{self._party}"),
                user_interaction=self._interaction,
                extensions=[HmacSecretExtension(allow_hmac_secret=True)],  # type: ignore[no-untyped-call]
            )
            event = threading.Event()
            remaining = call.remaining()
            timer = threading.Timer(3600.0 if remaining is None else remaining, event.set)
            timer.daemon = True
            timer.start()
            try:
                return ask(client, event)
            except ClientError as exc:
                cause = exc.cause
                failure = cause.code.name if isinstance(cause, CtapError) else exc.code.name
                if event.is_set():
                    failure = "TIMEOUT"
                if exc.code is not ClientError.ERR.DEVICE_INELIGIBLE:
                    break
            except OSError:
                failure = "OTHER_ERROR"  # pulled out
            finally:
                timer.cancel()
        raise KeyFailure(failure)


class _Interaction(UserInteraction):
    def __init__(self, on_touch: Callable[[], None]) -> None:
        self._on_touch = on_touch

    def prompt_up(self) -> None:
        self._on_touch()
