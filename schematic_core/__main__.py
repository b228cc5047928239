"""``python -m schematic_core`` is the command ``schematic``."""

from __future__ import annotations

import sys

from schematic_core.cli import main

sys.exit(main())
