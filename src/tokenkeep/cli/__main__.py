"""The command line as `python -m tokenkeep.cli`, for where the script is not on the path."""

from __future__ import annotations

import sys

from tokenkeep.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
