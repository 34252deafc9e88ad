"""Tasks of a data frame, pandas', Polars' or Arrow's: its columns by their names, as numbers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _check, _narrow
from ._check import FloatArray
from ._keys import Labelled, like

if TYPE_CHECKING:
    from typing_extensions import Self

# Of ten features they stay in the second-level cache: twice as fast as whole columns.
ROWS_AT_ONCE = 1 << 16
# Types of which float32 holds every value; all others make float64.
_NARROW = ("Boolean", "Int8", "Int16", "UInt8", "UInt16", "Float16", "Float32")


def narwhals(function: str) -> Any:
    """Returns the library that reads frames of all libraries alike."""
    try:
        import narwhals
    except ImportError:
        raise ImportError(
            f"{function}: narwhals must be installed: got no module named 'narwhals', expected it "
            "from pip install 'aruba_fast[tables]'"
        ) from None
    return narwhals


@dataclass(frozen=True)
class Columns:
    """Which columns of a frame are what.

    Attributes:
        function: Name of the public function, for messages.
        argument: Its argument that has the frame.
        target: The column of labels.
        group: The column that tells the task.
        features: The columns of features.
        dtype: What features become.
        is_chosen: Whether the caller chose it, so that it may have no place for a number.
    """

    function: str
    argument: str
    target: Any
    group: Any
    features: tuple[Any, ...]
    dtype: np.dtype[Any]
    is_chosen: bool

    def empty(self, n_rows: int) -> tuple[NDArray[Any], FloatArray]:
        """Memory for the features and the labels of so many rows."""
        x = np.empty((n_rows, len(self.features)), self.dtype)
        return x, np.empty(n_rows, _narrow.of_parameters(self.dtype))

    def read(self, frame: Any, x: NDArray[Any], y: FloatArray, first_row: int = 0) -> None:
        """Fills `x` and `y` with the rows of a frame, which must all be there.

        Args:
            frame: As narwhals has it.
            x: [n_rows, n_features], written.
            y: [n_rows], written.
            first_row: Number of the frame's first row, for messages.
        """
        named = list(zip((*self.features, self.target), (*x.T, y), strict=True))
        for name, _ in named:
            if frame.get_column(name).null_count():
                lost = frame.get_column(name).is_null().to_numpy()
                raise self._missing(name, lost, "null", first_row)
        for begin in range(0, len(frame), ROWS_AT_ONCE):
            rows = slice(begin, begin + ROWS_AT_ONCE)
            block = frame[rows]
            for name, column in named:
                out = column[rows]
                given = block.get_column(name).to_numpy()
                with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                    if self.is_chosen:
                        given = given if given.dtype.kind in "biuf" else given.astype(np.float64)
                    out[:] = given
                lost = np.isnan(given if self.is_chosen else out)
                if lost.any():
                    raise self._missing(name, lost, "nan", first_row + begin)
                if self.is_chosen and (lost := _narrow.beyond(given, out)).any():
                    raise self._beyond(name, given, lost, out.dtype, first_row + begin)

    def _missing(self, name: Any, lost: NDArray[Any], what: str, first_row: int) -> ValueError:
        return ValueError(
            f"{self.function}: `{self.argument}` must have a number in every row of column "
            f"{name!r}: got {what} in row {int(lost.argmax()) + first_row}, "
            "expected no missing value: fill it, or leave these rows out"
        )

    def _beyond(
        self, name: Any, given: NDArray[Any], lost: NDArray[Any], dtype: Any, first_row: int
    ) -> ValueError:
        row = int(lost.argmax())
        return ValueError(
            f"{self.function}: `{self.argument}` must have numbers that {dtype} holds in column "
            f"{name!r}: got {given[row]} in row {row + first_row}, expected "
            f"{_narrow.holds(dtype)}, or another `dtype`"
        )


def columns_of(
    function: str,
    argument: str,
    frame: Any,
    target: Any,
    group: Any,
    features: Any,
    row_weights: Any = None,
    dtype: np.dtype[Any] | None = None,
) -> Columns:
    """Finds the columns by their names, and the type that holds them; reads no row.

    Args:
        function: Name of the public function, for messages.
        argument: Its argument that has the frame.
        frame: As narwhals has it.
        target: The column of labels.
        group: The column that tells the task.
        features: The columns of features; None for all others.
        row_weights: The column of weights, which is no feature then, if there is one.
        dtype: What features become; None for what holds every value of their columns' types.
    """
    known = frame.columns
    target = _column(function, "target", target, known)
    group = _column(function, "group", group, known)
    if features is None:
        own = (name for name in known if name not in (target, group, row_weights))
        # The numbers of rows, which pandas writes to Parquet beside its columns.
        chosen = tuple(name for name in own if not str(name).startswith("__index_level_"))
    else:
        if isinstance(features, (str, bytes)) or not isinstance(features, Iterable):
            raise TypeError(
                f"{function}: `features` must be a list of columns: got "
                f"{_check.shown(features)}, expected their names in a list, or None for all others"
            )
        chosen = tuple(_column(function, "features", name, known) for name in features)
    doubled = [name for name in chosen if chosen.count(name) > 1 or name == target]
    if doubled or not chosen:
        got = f"{doubled[0]!r} twice" if doubled else "none"
        got = "the target among them" if target in doubled else got
        raise ValueError(
            f"{function}: `features` must be different columns, not the target's: got {got}, "
            "expected at least one, each once"
        )
    types = frame.schema
    for name in (*chosen, target):
        if not (types[name].is_numeric() or str(types[name]) in _NARROW):
            raise TypeError(
                f"{function}: `{argument}` must have numbers in its features and its target: got "
                f"column {name!r} of {types[name]}, expected features=[...] without it, or numbers "
                "made of it, by pandas.get_dummies or scikit-learn's ColumnTransformer"
            )
    narrow = all(str(types[name]) in _NARROW for name in chosen)
    fitting = np.dtype(np.float32 if narrow else np.float64)
    made = fitting if dtype is None else dtype
    return Columns(function, argument, target, group, chosen, made, dtype is not None)


def _column(function: str, argument: str, name: Any, known: list[Any]) -> Any:
    """The frame's own name of a column: pandas' and NumPy's scalars are equal to it."""
    try:
        return known[known.index(name)]
    except Exception:  # there is none, or of an object's own comparison
        raise ValueError(
            f"{function}: `{argument}` must name a column: got {_check.shown(name)}, "
            f"expected {like(name, known)}"
        ) from None


class Framed(Labelled):
    """Tasks that can be made of a data frame."""

    @classmethod
    def _of_groups(cls, *_: Any) -> "Self":
        raise NotImplementedError

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        target: Any,
        group: Any,
        features: Iterable[Any] | None = None,
        row_weights: Any = None,
        dtype: DTypeLike | None = None,
        scale: float | None = None,
    ) -> "Self":
        """Makes one task of all rows of a data frame that share a value of a column.

        Needs narwhals, which reads the frames of all libraries: pip install 'aruba_fast[tables]'.

        Args:
            frame: A DataFrame of pandas or of Polars, or a table of Arrow; it is copied.
            target: Name of the column of labels.
            group: Name of the column that tells the task: numbers, strings, dates, categories.
            features: Names of the columns of features, numbers or booleans; None for all columns
                but `target`, `group` and `row_weights`, and but pandas' own index in a table of
                Arrow.
            row_weights: Name of the column that tells how often a row counts, numbers > 0; None for
                once.
            dtype: Type of the features: "float64", "float32", "float16", "bfloat16" or "uint8", to
                which they are rounded; a number beyond it is refused, and with "uint8" one that is
                not whole. None for the type that holds every value of the columns' types.
            scale: With uint8, what features are multiplied by, > 0: 1 for counts; see `Tasks`.

        Returns:
            Tasks in the order of the values of `group`, which are their `keys`, with rows in their
            order, and `feature_names`. Without `dtype`, of float32 where that holds every value of
            the features' types (bool, integers of 8 and 16 bits, float32), else of float64.

        Raises:
            TypeError: `frame` is no data frame, `features` no list, or a column not of numbers.
            ValueError: A name is not that of a column, or a row has a value or an id missing, or a
                number that `dtype` does not hold; the message has the column and the row. `dtype`
                or `scale` is none of those.
            ImportError: narwhals is not installed, or for "bfloat16" ml_dtypes.

        Example:
            >>> import pandas as pd, aruba_fast as af
            >>> frame = pd.DataFrame({"who": ["eve", "bob"], "age": [7, 9], "y": [0.5, 1.5]})
            >>> tasks = af.Tasks.from_frame(frame, target="y", group="who")
            >>> tasks["eve"].x, tasks.feature_names
            (array([[7.]]), ('age',))
        """
        name = "Tasks.from_frame"
        made, factor = _narrow.chosen(name, dtype, scale)
        nw = narwhals(name)
        try:
            data = nw.from_native(frame, eager_only=True)
        except Exception as error:  # narwhals', and those of the object's own code
            lazy = " of .collect()" if hasattr(frame, "collect") else ""
            raise TypeError(
                f"{name}: `frame` must be a data frame with a name for every column: got "
                f"{_check.shown(frame)} ({' '.join(str(error).split())}), expected "
                f"a DataFrame of pandas or Polars, or a table of Arrow{lazy}"
            ) from None
        if row_weights is not None:
            row_weights = _column(name, "row_weights", row_weights, data.columns)
        columns = columns_of(name, "frame", data, target, group, features, row_weights, made)
        x, y = columns.empty(len(data))
        columns.read(data, x, y)
        ids = data.get_column(columns.group).to_native()
        weights = None if row_weights is None else data.get_column(row_weights).to_numpy()
        return cls._of_groups(name, x, y, ids, columns.features, weights, factor)
