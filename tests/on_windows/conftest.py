"""The tests in this folder run on Windows only, and in Wine by `tests/windows`."""

from __future__ import annotations

import sys

collect_ignore_glob = [] if sys.platform == "win32" else ["test_*.py"]
