"""The plugins are imported from where they lie, whether they are installed or not."""

from __future__ import annotations

import sys
from pathlib import Path

for name in ("embtune_e5", "embtune_trackers", "embtune_use"):
    sys.path.insert(0, str(Path(__file__).parents[2] / "plugins" / name))
