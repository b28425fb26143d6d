"""The tests in this folder run on macOS only."""

from __future__ import annotations

import sys

collect_ignore_glob = [] if sys.platform == "darwin" else ["test_*.py"]
