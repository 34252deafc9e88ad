"""Characters as numbers, and windows of text for a model that predicts the next character."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _check
from .._check import Int64Array

# Stands in a text for every character that has no symbol (the control character "substitute").
OTHER_BYTE = 26

PADDING = 0
SYMBOLS = ("", "\N{SUBSTITUTE}", "\n", *map(chr, range(32, 127)))
"""The symbols by their numbers: 0 is padding, never a character; 1 stands for any character that
is none of the others; then the newline and the 95 printable characters of ASCII. 98 in all."""

_NUMBER = np.full(256, SYMBOLS.index(chr(OTHER_BYTE)), np.uint8)
_NUMBER[[ord(symbol) for symbol in SYMBOLS[2:]]] = np.arange(2, len(SYMBOLS), dtype=np.uint8)


class Sequences(NamedTuple):
    """Windows of a text; n of them, each of `length` positions.

    Attributes:
        x: Numbers of symbols, uint8 [n, length]. A window that is longer than what is left of the
            text is padded at its end with 0, which is no symbol.
        y: The symbol that follows each position of `x`, uint8 [n, length]; 0 where nothing is to
            be predicted: at padding, and where an earlier window has predicted already.
        lengths: Positions of each window that are no padding, int64 [n], at least 1.
    """

    x: NDArray[np.uint8]
    y: NDArray[np.uint8]
    lengths: Int64Array

    @property
    def n_predictions(self) -> int:
        """Number of characters that are to be predicted: the weight of this text in an average."""
        return int(np.count_nonzero(self.y))


def encode(text: ArrayLike) -> NDArray[np.uint8]:
    """Returns the numbers of the symbols of a text; see `SYMBOLS`.

    Args:
        text: ASCII, uint8 bytes [n_characters].

    Returns:
        uint8 [n_characters], from 1 to 97.

    Raises:
        TypeError: `text` is not of bytes.
    """
    return _NUMBER[_bytes("encode", text)]


def decode(symbols: ArrayLike) -> str:
    """Returns the text that numbers of symbols stand for.

    Args:
        symbols: Integers of any shape, from 0 to 97; padding is left out.

    Returns:
        The text, row after row.

    Raises:
        TypeError: `symbols` are no integers.
        ValueError: One of them is no symbol.

    Example:
        >>> import numpy as np
        >>> from aruba_fast.datasets import decode, encode
        >>> decode(encode(np.frombuffer(b"To be", np.uint8)))
        'To be'
    """
    numbers = _check.real_array("decode", "symbols", symbols)
    if numbers.dtype.kind not in "iu":
        raise TypeError(
            f"decode: `symbols` must hold integers: got {numbers.dtype}, expected an integer type"
        )
    if numbers.size and not (numbers.min() >= 0 and numbers.max() < len(SYMBOLS)):
        raise ValueError(
            f"decode: `symbols` must be numbers of symbols: got {numbers.min()} to "
            f"{numbers.max()}, expected 0 to {len(SYMBOLS) - 1}"
        )
    return "".join(SYMBOLS[number] for number in numbers.ravel().tolist())


def sequences(text: ArrayLike, length: int = 80, stride: int | None = None) -> Sequences:
    """Cuts a text into windows in which every character but the first is predicted exactly once.

    The windows start at 0, `stride`, 2 `stride`, ... In the first one the symbol after every
    position is to be predicted, in the others that after the last `stride` positions. So with the
    default stride windows are side by side, as a recurrent network is trained; with stride 1 each
    predicts one character, that at `lengths - 1`, from the `length` characters before it.

    Where a text ends within a window the window is padded at its END, and what a network says
    there must not be read: average the loss, and count the correct predictions, over `y != 0`.

    Args:
        text: ASCII, uint8 bytes [n_characters].
        length: Positions of a window, at least 1.
        stride: Positions between the starts of windows, from 1 to `length`, which None stands for.

    Returns:
        Sequences; none of a text of less than two characters.

    Raises:
        TypeError: `text` is not of bytes.
        ValueError: `length` or `stride` is out of range.

    Example:
        >>> import numpy as np
        >>> from aruba_fast.datasets import decode, sequences
        >>> windows = sequences(np.frombuffer(b"Who's there?", np.uint8), length=8)
        >>> [decode(row) for row in windows.x], [decode(row) for row in windows.y]
        (["Who's th", 'ere'], ["ho's the", 're?'])
        >>> windows.x[1], windows.lengths
        (array([72, 85, 72,  0,  0,  0,  0,  0], dtype=uint8), array([8, 3]))
    """
    length = _check.integer("sequences", "length", length, 1)
    stride = length if stride is None else _check.integer("sequences", "stride", stride, 1)
    if stride > length:
        raise ValueError(
            f"sequences: `stride` must not skip characters: got {stride}, "
            f"expected at most `length` = {length}"
        )
    symbols = _NUMBER[_bytes("sequences", text)]
    n_positions = len(symbols) - 1
    if n_positions < 1:
        empty = np.zeros((0, length), np.uint8)
        return Sequences(empty, empty.copy(), np.zeros(0, np.int64))
    n = 1 + -(-max(0, n_positions - length) // stride)
    starts = np.arange(n, dtype=np.int64) * stride
    padded = np.zeros(int(starts[-1]) + length + 1, np.uint8)
    padded[: len(symbols)] = symbols
    windows = np.lib.stride_tricks.sliding_window_view(padded, length + 1)[::stride]
    lengths = np.minimum(length, n_positions - starts)
    y = windows[:, 1:].copy()
    y[1:, : length - stride] = PADDING
    # The last character of the text is predicted, never predicted from.
    x = windows[:, :-1].copy()
    x[-1, lengths[-1] :] = PADDING
    return Sequences(x, y, lengths)


def _bytes(function: str, text: ArrayLike) -> NDArray[np.uint8]:
    result: NDArray[Any] = _check.array(function, "text", text)
    _check.dimension(function, "text", result, "[n_characters]")
    if result.dtype != np.uint8:
        raise TypeError(f"{function}: `text` must hold bytes: got {result.dtype}, expected uint8")
    return result
