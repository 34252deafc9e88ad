"""Files of results, as JSON."""

import json
from pathlib import Path
from typing import Any

from .. import checkpoint


def write_json(path: Path, values: Any) -> None:
    """Writes a file whole or not at all; numbers that are not finite are refused."""
    text = json.dumps(values, indent=1, allow_nan=False)
    checkpoint.replace(path, (text + "\n").encode())
