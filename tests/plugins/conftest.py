"""The plugins are imported from where they lie, whether they are installed or not."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins" / "embtune_e5"))
