"""The table of docs/benchmarks.md, made of the ratios that `make bench-guard` committed.

python benchmarks/guard_page.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs/results/guard.json"
PAGE = ROOT / "docs/benchmarks.md"
_PLACE = re.compile(r"(<!-- make bench-guard -->\n).*?(<!-- end -->)", re.DOTALL)


def table(known: dict[str, Any]) -> str:
    """A table for every kind of machine, the smallest ratio first."""
    parts = []
    for machine, figures in known.items():
        lines = [
            f"On `{machine}`:\n",
            "| work | rival | ours is faster by | spread of three races |",
            "|---|---|---:|---:|",
        ]
        for name, (ratio, spread) in sorted(figures["ratios"].items(), key=lambda item: item[1]):
            work, _, rival = name.replace("_", r"\_").partition(": ")
            lines.append(f"| {work} | {rival} | {ratio:.2f} × | {spread:.2f} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def on_page(page: str, known: dict[str, Any]) -> str:
    """The page with the tables of a file in their place."""
    return _PLACE.sub(lambda place: f"{place[1]}{table(known)}{place[2]}", page)


def write() -> None:
    """Puts what the file holds into the page."""
    PAGE.write_text(on_page(PAGE.read_text(encoding="utf-8"), json.loads(FILE.read_text())))


if __name__ == "__main__":
    write()
