"""Names of anybody's making as labels of a picture: literal, short, in letters that a font has."""

import unicodedata
from collections.abc import Iterable, Sequence

from matplotlib.font_manager import fontManager, get_font

FONT = "DejaVu Sans"
# Cells of a name. One that is longer keeps its beginning and, as a third of the cells, its end.
_LONGEST = 27


def labels(names: Sequence[str], fallback: str, longest: int = _LONGEST) -> list[str]:
    """Returns what stands for each name in a picture.

    Args:
        names: Any strings. A dollar is a dollar, not the begin of a formula.
        fallback: What a name is called, with its number, if no font has its letters: "feature".
        longest: Cells of a name: wide letters have two.

    Returns:
        As many distinct strings.
    """
    files = _files()
    known = {ord(" ")}.union(*(_letters(files[family]) for family in families(names)))
    found: list[str] = []
    for number, name in enumerate(names, start=1):
        text = _short(" ".join(name.split()), longest)
        if not text or not known.issuperset(map(ord, text)):
            text = f"{fallback} {number}"
        text = text.replace("$", r"\$")
        found.append(f"{text} {number}" if text in found else text)
    return found


def families(names: Iterable[str]) -> list[str]:
    """Returns the fonts to draw names with: ours, and those that have letters which it has not."""
    missing = {ord(letter) for name in names for letter in name if not letter.isspace()}
    files, found = _files(), [FONT]
    missing -= _letters(files[FONT])
    for family in sorted(files) if missing else ():
        if has := missing & _letters(files[family]):
            found.append(family)
            missing -= has
        if not missing:
            break
    return found


def _files() -> dict[str, str]:
    """The upright fonts that are installed, and a file of each; the last resort has boxes only."""
    return {
        font.name: font.fname
        for font in fontManager.ttflist
        if font.style == "normal" and "LastResort" not in font.name
    }


def _letters(file: str) -> set[int]:
    """The letters of a font; none of one that only has pictures of a fixed size."""
    try:
        font = get_font(file)
        return set(font.get_charmap()) if font.scalable else set()
    except (OSError, RuntimeError, ValueError):  # a damaged font is none
        return set()


def _short(name: str, longest: int) -> str:
    cells = [1 + (unicodedata.east_asian_width(letter) in "WF") for letter in name]
    if sum(cells) <= longest:
        return name
    end = longest // 3
    head = max(k for k in range(len(name)) if sum(cells[:k]) <= longest - 1 - end)
    tail = max(k for k in range(len(name)) if sum(cells[len(name) - k :]) <= end)
    return f"{name[:head].rstrip()}…{name[len(name) - tail :].lstrip()}"
