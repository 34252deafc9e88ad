"""How every method of the demo is drawn."""

from typing import Any

from .methods import (
    ALONE,
    ARUBA,
    ARUBA_PLUS,
    ISOTROPIC,
    MIXED,
    MIXED_FULL,
    NO_ADAPTATION,
    PROXIMAL,
    REPTILE,
    TWO_RATES,
)

# Colour, line style, marker and width; what is ours in blue, the rivals warm, the controls grey.
LOOK: dict[str, tuple[str, Any, str, float]] = {
    NO_ADAPTATION: ("#8a909c", (0, (1, 1.5)), "", 2.0),
    ALONE: ("#8a909c", "-", "s", 1.6),
    REPTILE: ("#e07b39", "-", "^", 1.8),
    TWO_RATES: ("#b5472f", (0, (4, 1.5)), "", 1.8),
    MIXED: ("#c08a2b", "-", "P", 1.8),
    MIXED_FULL: ("#8a5a1c", (0, (4, 1.5)), "X", 1.8),
    ISOTROPIC: ("#7fb8d6", "-", "v", 1.8),
    ARUBA: ("#2f7fc1", "-", "o", 2.0),
    ARUBA_PLUS: ("#0b3c7d", "-", "D", 2.0),
    PROXIMAL: ("#3b2a8c", "-", "*", 2.2),
}
