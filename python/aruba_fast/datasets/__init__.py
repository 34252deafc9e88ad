"""Data of many people: tables, images by character and by writer, texts by role; few-shot episodes.

Only NumPy is needed for what is embedded and for `.npz` files; the extra `[data]` brings Pillow
for image files and `pooch` for downloads, `[tables]` what Parquet files need; all are imported when
they are used.
"""

from ._download import download, download_omniglot
from .episodes import Episode, Episodes
from .omniglot import Omniglot, load_omniglot
from .parquet import ParquetTasks
from .shakespeare import Shakespeare, load_shakespeare
from .tables import Table, load_table, load_wages
from .text import SYMBOLS, Sequences, decode, encode, sequences
from .writers import Writers, load_mnist_writers

__all__ = [
    "SYMBOLS",
    "Episode",
    "Episodes",
    "Omniglot",
    "ParquetTasks",
    "Sequences",
    "Shakespeare",
    "Table",
    "Writers",
    "decode",
    "download",
    "download_omniglot",
    "encode",
    "load_mnist_writers",
    "load_omniglot",
    "load_shakespeare",
    "load_table",
    "load_wages",
    "sequences",
]
