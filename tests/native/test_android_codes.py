"""What Android's failures mean, entry by entry: throwables, Keystore codes, the prompt's codes."""

from __future__ import annotations

import pytest

from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    UnsupportedOption,
    ValueTooLarge,
)
from tokenkeep.native.android.biometric import (
    NothingEnrolled,
    PromptTimedOut,
    SensorBusy,
    outcome_error,
)
from tokenkeep.native.android.codes import (
    CERTAIN,
    GENERAL,
    INTERNAL,
    PROMPT,
    PUBLIC,
    TEXTS,
    Meaning,
    Thrown,
)
from tokenkeep.native.android.jvm import thrown_of

KEYSTORE = "android.security.keystore."

THROWABLES = [
    (KEYSTORE + "UserNotAuthenticatedException", Meaning.LOCKED),
    (KEYSTORE + "KeyPermanentlyInvalidatedException", Meaning.INVALIDATED),
    (KEYSTORE + "StrongBoxUnavailableException", Meaning.NO_STRONGBOX),
    (KEYSTORE + "BackendBusyException", Meaning.BUSY),
    (KEYSTORE + "KeyExpiredException", Meaning.INVALIDATED),
    (KEYSTORE + "KeyNotYetValidException", Meaning.UNAVAILABLE),
    ("android.os.TransactionTooLargeException", Meaning.TOO_LARGE),
    ("java.security.UnrecoverableKeyException", Meaning.DOUBTED),
    ("java.security.UnrecoverableEntryException", Meaning.DOUBTED),
    ("java.security.KeyStoreException", Meaning.UNAVAILABLE),
    ("java.security.ProviderException", Meaning.UNAVAILABLE),
    ("android.security.KeyStoreException", Meaning.UNAVAILABLE),
    ("javax.crypto.AEADBadTagException", Meaning.UNDECIDED),
    ("javax.crypto.BadPaddingException", Meaning.UNDECIDED),
    ("javax.crypto.IllegalBlockSizeException", Meaning.UNDECIDED),
    ("java.security.InvalidKeyException", Meaning.INVALIDATED),
    ("java.security.NoSuchAlgorithmException", Meaning.UNAVAILABLE),
    ("java.security.NoSuchProviderException", Meaning.UNAVAILABLE),
    ("javax.crypto.NoSuchPaddingException", Meaning.UNAVAILABLE),
    ("java.security.InvalidAlgorithmParameterException", Meaning.MISUSED),
    ("java.lang.IllegalStateException", Meaning.UNAVAILABLE),
    ("java.lang.SecurityException", Meaning.DENIED),
]

PUBLIC_CODES = [
    (1, Meaning.UNAVAILABLE),
    (2, Meaning.LOCKED),
    (3, Meaning.UNAVAILABLE),
    (4, Meaning.UNAVAILABLE),
    (5, Meaning.DENIED),
    (6, Meaning.INVALIDATED),
    (7, Meaning.UNDECIDED),
    (8, Meaning.UNAVAILABLE),
    (9, Meaning.UNAVAILABLE),
    (10, Meaning.UNAVAILABLE),
    (11, Meaning.UNAVAILABLE),
    (12, Meaning.UNAVAILABLE),
    (13, Meaning.MISUSED),
    (14, Meaning.UNAVAILABLE),
    (15, Meaning.BUSY),
    (16, Meaning.UNAVAILABLE),
]

INTERNAL_CODES = [
    (2, Meaning.LOCKED),
    (3, Meaning.UNAVAILABLE),
    (4, Meaning.UNAVAILABLE),
    (6, Meaning.DENIED),
    (7, Meaning.INVALIDATED),
    (8, Meaning.DAMAGED),
    (15, Meaning.LOCKED),
    (17, Meaning.INVALIDATED),
    (18, Meaning.BUSY),
    (19, Meaning.BUSY),
    (20, Meaning.MISUSED),
    (21, Meaning.TOO_LARGE),
    (22, Meaning.UNAVAILABLE),
    (23, Meaning.UNAVAILABLE),
    (24, Meaning.UNAVAILABLE),
    (25, Meaning.UNAVAILABLE),
    (26, Meaning.UNAVAILABLE),
    (29, Meaning.FULL),
    (30, Meaning.FULL),
    (-21, Meaning.UNDECIDED),
    (-25, Meaning.INVALIDATED),
    (-26, Meaning.LOCKED),
    (-28, Meaning.BUSY),
    (-30, Meaning.UNDECIDED),
    (-31, Meaning.BUSY),
    (-33, Meaning.INVALIDATED),
    (-41, Meaning.BUSY),
    (-48, Meaning.BUSY),
    (-49, Meaning.BUSY),
    (-54, Meaning.BUSY),
    (-56, Meaning.UNAVAILABLE),
    (-62, Meaning.BUSY),
    (-68, Meaning.NO_STRONGBOX),
    (-72, Meaning.LOCKED),
    (-85, Meaning.BUSY),
    (-100, Meaning.UNAVAILABLE),
]

#: What `android.security.KeyStoreException` says before Android 13.
MESSAGES = [
    ("User authentication required", Meaning.LOCKED),
    ("Keystore not initialized", Meaning.UNAVAILABLE),
    ("System error", Meaning.UNAVAILABLE),
    ("Permission denied", Meaning.DENIED),
    ("Key not found", Meaning.INVALIDATED),
    ("Key blob corrupted", Meaning.DAMAGED),
    ("Operation requires authorization", Meaning.LOCKED),
    ("Key permanently invalidated", Meaning.INVALIDATED),
    ("Invalid input length", Meaning.UNDECIDED),
    ("Key expired", Meaning.INVALIDATED),
    ("Key user not authenticated", Meaning.LOCKED),
    ("Invalid operation handle", Meaning.BUSY),
    ("Signature/MAC verification failed", Meaning.UNDECIDED),
    ("Too many operations", Meaning.BUSY),
    ("Invalid key blob", Meaning.INVALIDATED),
    ("Memory allocation failed", Meaning.BUSY),
    (
        "Requested security level (likely Strongbox) is not available.",
        Meaning.NO_STRONGBOX,
    ),
    ("Device locked", Meaning.LOCKED),
    ("Not implemented", Meaning.UNAVAILABLE),
]

#: What tells nothing: texts of no entry, a vendor's own, none at all, a number of no entry.
UNKNOWN_MESSAGES = ["Unknown error", "Invalid user ID", "device locked out", "", "-1000", "hunter2"]

#: What Android wraps a KeyStoreException into when it has no class for it.
WRAPPERS = [
    "java.security.InvalidKeyException",
    "javax.crypto.IllegalBlockSizeException",
    "java.security.UnrecoverableKeyException",
    "java.security.ProviderException",
]

PROMPT_CODES: list[tuple[int, type[StoreError]]] = [
    (1, SensorBusy),
    (2, SensorBusy),
    (3, PromptTimedOut),
    (4, StoreFull),
    (5, InteractionDenied),
    (7, StoreLocked),
    (8, StoreUnavailable),
    (9, StoreLocked),
    (10, InteractionDenied),
    (11, NothingEnrolled),
    (12, StoreUnavailable),
    (13, InteractionDenied),
    (14, NothingEnrolled),
    (15, StoreUnavailable),
]

ERRORS = [
    (Meaning.LOCKED, StoreLocked),
    (Meaning.INVALIDATED, SecretInvalidated),
    (Meaning.UNAVAILABLE, StoreUnavailable),
    (Meaning.DENIED, AccessDenied),
    (Meaning.DECLINED, InteractionDenied),
    (Meaning.DAMAGED, SecretDamaged),
    (Meaning.TOO_LARGE, ValueTooLarge),
    (Meaning.FULL, StoreFull),
    (Meaning.MISUSED, UnsupportedOption),
    (Meaning.BUSY, StoreTimeout),
    (Meaning.UNDECIDED, SecretDamaged),
    (Meaning.DOUBTED, SecretInvalidated),
    (Meaning.NO_STRONGBOX, StoreUnavailable),
]


def test_no_entry_goes_untested() -> None:
    """Every row of every table, and every meaning, is below."""
    assert {**CERTAIN, **GENERAL}.keys() == {name for name, _meaning in THROWABLES}
    assert PUBLIC.keys() == {code for code, _meaning in PUBLIC_CODES}
    assert INTERNAL.keys() == {code for code, _meaning in INTERNAL_CODES}
    assert TEXTS.keys() == {text for text, _meaning in MESSAGES}
    assert PROMPT.keys() == {code for code, _error in PROMPT_CODES}
    assert list(Meaning) == [meaning for meaning, _error in ERRORS]


@pytest.mark.parametrize(("meaning", "error"), ERRORS)
def test_meaning_has_its_error(meaning: Meaning, error: type[StoreError]) -> None:
    """Each meaning ends as one class of error."""
    assert error is meaning.error


@pytest.mark.parametrize(("name", "meaning"), THROWABLES)
def test_throwable_has_its_meaning(name: str, meaning: Meaning) -> None:
    """By its class, whatever its message."""
    assert meaning is Thrown((name,)).meaning
    assert meaning is thrown_of([f"{name}: hunter2"]).meaning


@pytest.mark.parametrize("name", sorted(CERTAIN))
def test_what_is_certain_is_found_wherever_it_is_wrapped(name: str) -> None:
    """Android wraps "invalidated" and "not authenticated" into other throwables."""
    wrapped = ("java.security.InvalidKeyException", "java.lang.RuntimeException", name)
    assert CERTAIN[name] is Thrown(wrapped, public=1, internal=-1000).meaning


@pytest.mark.parametrize(("code", "meaning"), PUBLIC_CODES)
def test_public_code_has_its_meaning(code: int, meaning: Meaning) -> None:
    """`getNumericErrorCode`, where nothing more exact is known; before the general classes."""
    chain = ("java.security.ProviderException", "android.security.KeyStoreException")
    assert meaning is Thrown(chain, public=code, internal=-1000).meaning


@pytest.mark.parametrize(("code", "meaning"), INTERNAL_CODES)
def test_internal_code_has_its_meaning(code: int, meaning: Meaning) -> None:
    """keystore2's and KeyMint's own codes say more than the public one."""
    chain = ("java.security.InvalidKeyException", "android.security.KeyStoreException")
    assert meaning is Thrown(chain, public=10, internal=code).meaning
    texts = [
        "java.security.InvalidKeyException: hunter2",
        "android.security.KeyStoreException: hunter2"
        f" (public error code: 10 internal Keystore code: {code})",
    ]
    assert meaning is thrown_of(texts).meaning


@pytest.mark.parametrize(("code", "meaning"), INTERNAL_CODES)
def test_internal_code_alone_has_its_meaning(code: int, meaning: Meaning) -> None:
    """Android 12's message has it, without a public one."""
    texts = [
        "java.security.InvalidKeyException: Keystore operation failed",
        f"android.security.KeyStoreException: hunter2 (internal Keystore code: {code} message: x)",
    ]
    assert (None, code) == (thrown_of(texts).public, thrown_of(texts).internal)
    assert meaning is thrown_of(texts).meaning


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize(("text", "meaning"), MESSAGES)
def test_text_of_an_older_android_has_its_meaning(
    text: str, meaning: Meaning, wrapper: str
) -> None:
    """Whatever it is wrapped in, Android's own words say what a code says later."""
    texts = [f"{wrapper}: hunter2", f"android.security.KeyStoreException: {text}"]
    assert meaning is thrown_of(texts).meaning
    elsewhere = [f"{wrapper}: {text}", f"java.security.KeyStoreException: {text}"]
    assert thrown_of(elsewhere).internal is None


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize(("code", "meaning"), INTERNAL_CODES)
def test_bare_number_of_an_older_android_is_its_code(
    code: int, meaning: Meaning, wrapper: str
) -> None:
    """What has no text of its own is its number."""
    texts = [f"{wrapper}: hunter2", f"android.security.KeyStoreException: {code}"]
    assert meaning is thrown_of(texts).meaning


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("text", UNKNOWN_MESSAGES)
def test_nothing_is_concluded_from_an_unknown_text(text: str, wrapper: str) -> None:
    """Neither a dead key nor damaged bytes: the Keystore cannot be used now."""
    texts = [f"{wrapper}: Keystore operation failed", f"android.security.KeyStoreException: {text}"]
    assert Meaning.UNAVAILABLE is thrown_of(texts).meaning
    assert text not in str(thrown_of(texts)) or text in ("", "-1000")


@pytest.mark.parametrize(("code", "error"), PROMPT_CODES)
def test_prompt_code_has_its_error(code: int, error: type[StoreError]) -> None:
    """What `onAuthenticationError` gives; a name of its own is one of the same kind."""
    assert type(outcome_error(code)) is error
    assert issubclass(error, PROMPT[code].error)


@pytest.mark.parametrize(
    "thrown",
    [
        Thrown(()),
        Thrown(("java.lang.Throwable",)),
        Thrown(("com.example.NewException",), public=99, internal=99),
        thrown_of(["", "(public error code)"]),
    ],
)
def test_nothing_is_concluded_from_what_is_unknown(thrown: Thrown) -> None:
    """An unknown failure is a store that cannot be used now, never a key that is gone."""
    assert Meaning.UNAVAILABLE is thrown.meaning


@pytest.mark.parametrize("text", ["No space left on device", "write failed: ENOSPC"])
def test_a_full_disk_is_a_full_disk(text: str) -> None:
    """Java says it in an IOException's message only."""
    assert Meaning.FULL is thrown_of([f"java.io.IOException: {text}"]).meaning


def test_unknown_prompt_code_is_unavailable() -> None:
    """Codes that later versions of Android bring."""
    assert StoreUnavailable is type(outcome_error(99))


def test_no_message_of_java_is_kept() -> None:
    """A message may hold what was being encrypted: classes and codes are all that is said."""
    thrown = thrown_of(
        [
            "javax.crypto.AEADBadTagException: hunter2",
            "android.security.KeyStoreException: hunter2"
            " (public error code: 7 internal Keystore code: -30)",
        ]
    )
    assert "AEADBadTagException, keystore code -30" == str(thrown)
    kept = [getattr(thrown, name) for name in Thrown.__slots__]
    assert "hunter2" not in repr(kept)
