"""What a credential's blob says, so that text is the same to python-keyring and to us. No I/O.

Windows' programs keep text as UTF-16, and python-keyring reads nothing else. So a value that is
text is kept as UTF-16 if it fits, and any other as it is; the comment says which.
"""

from __future__ import annotations

from tokenkeep.native.wincred import MAX_BLOB_BYTES, Credential
from tokenkeep.secret import Secret

TEXT = "kept by tokenkeep as text (UTF-16)"
BYTES = "kept by tokenkeep as bytes"
_UTF_16_MARK = b"\xff\xfe"


def encoded(value: Secret) -> tuple[Secret, str]:
    """The blob that keeps a value, and the comment that says how."""
    as_text: Secret | None = None
    try:
        as_text = Secret(value.reveal_bytes().decode("utf-8").encode("utf-16-le"))
    except UnicodeDecodeError:
        pass  # bytes, which are kept as they are; the codec's error holds them
    if as_text is None or as_text.size > MAX_BLOB_BYTES:
        return value, BYTES
    return as_text, TEXT


def decoded(credential: Credential) -> Secret:
    """The value that a credential keeps, whoever wrote it.

    What others wrote is read as python-keyring reads it: as UTF-16, else as it is.
    """
    blob = credential.blob
    assert blob is not None
    if credential.comment == BYTES:
        return blob
    value: Secret | None = None
    is_marked = credential.comment != TEXT and blob.reveal_bytes()[:2] == _UTF_16_MARK
    try:
        value = Secret(blob.reveal_bytes()[2 if is_marked else 0 :].decode("utf-16-le"))
    except (UnicodeDecodeError, ValueError):
        pass  # no text: the codec's error holds it
    return blob if value is None else value
