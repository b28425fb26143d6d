"""What a credential's blob says, so that text is the same to python-keyring and to us. No I/O.

Windows' programs keep text as UTF-16, and python-keyring takes every blob for that. So a value that
is text is kept as UTF-16 where python-keyring looks, and any other as it is where it does not look;
the comment says which.
"""

from __future__ import annotations

from tokenkeep.native.wincred import MAX_BLOB_BYTES, Credential
from tokenkeep.secret import Secret

TEXT = "kept by tokenkeep as text (UTF-16)"
BYTES = "kept by tokenkeep as bytes"
_UTF_16_MARK = b"\xff\xfe"
#: What python-keyring would take for a mark of the byte order, and cut off or obey.
_MARKS = (_UTF_16_MARK, b"\xfe\xff")


def as_text(value: Secret) -> Secret | None:
    """The blob in which every program reads the value as text; None if there is none.

    None is for bytes that are not UTF-8, for text of more than 1,280 units of UTF-16, and for text
    that begins with U+FEFF or U+FFFE.
    """
    blob: Secret | None = None
    try:
        blob = Secret(value.reveal_bytes().decode("utf-8").encode("utf-16-le"))
    except UnicodeDecodeError:
        pass  # bytes; the codec's error holds them
    if blob is None or blob.size > MAX_BLOB_BYTES or blob.reveal_bytes()[:2] in _MARKS:
        return None
    return blob


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
