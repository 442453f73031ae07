"""The benchmarks are scripts, which find each other in their own folder."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in ("papers", ""):
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / folder))
