"""The table of docs/install.md: Python, platform, and how the suite went from the wheel."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "docs/results/wheels.json"
PAGE = ROOT / "docs/install.md"
_PLACE = re.compile(r"(<!-- make wheels -->\n).*?(<!-- end -->)", re.DOTALL)


def _tag(one: dict[str, Any]) -> str:
    return one["tag"] if "tag" in one else one["file"].split("-")[2]


def table(result: dict[str, Any]) -> str:
    sizes = {_tag(one): one["bytes"] / 2**20 for one in result["wheels"]}
    lines = [
        "| CPython | platform | wheel | quick part of the suite | from `pip install` to rates |",
        "|---|---|---:|---|---:|",
    ]
    for row in result["pythons"]:
        lines.append(
            f"| {row['python']} ({row['from']}) | {row['platform']} | {sizes[row['tag']]:.1f} MiB "
            f"| {row['passed']} passed, {row.get('skipped', 0)} skipped, {row['suite_s']} s "
            f"| {row['newcomer_s']:.0f} s |"
        )
    return "\n".join(lines) + "\n"


def on_page(page: str, result: dict[str, Any]) -> str:
    """The page with the table of a result in its place."""
    return _PLACE.sub(lambda place: place[1] + table(result) + place[2], page)


def write(result: dict[str, Any], keep: bool) -> None:
    """Writes what came out, and its table; `keep` is for that of other Pythons than these."""
    if keep and RESULT.exists():
        before, new = json.loads(RESULT.read_text()), {row["tag"] for row in result["pythons"]}
        for part in ("wheels", "pythons"):
            result[part] += [one for one in before[part] if _tag(one) not in new]
    result["wheels"].sort(key=lambda one: (len(_tag(one)), _tag(one)))
    result["pythons"].sort(key=lambda one: (len(_tag(one)), _tag(one), one["from"]))
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    PAGE.write_text(on_page(PAGE.read_text(), result))
    print(table(result))
