"""A browser that agrees to everything, as `BROWSER` names it: a command, quoted as for a shell."""

from __future__ import annotations

import shlex
import sys

BROWSER = f"{shlex.quote(sys.executable)} -m tokenkeep.testing.authorization_server.browser %s"
