"""
Which features are personal
===========================

Some of what determines a wage is the same for everybody, and some of it is a person's own. A model
that may give every person coefficients of their own has to find out which is which. We fit one to
six years of 595 people, predict their wages of the seventh, and draw how much people differ.
`People in a table <../people.html>`__ is the tutorial.
"""

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.linear_model import LinearRegression

from aruba_fast.datasets import load_wages
from aruba_fast.sklearn import PersonalizedRegressor

wages = load_wages()
x = pd.DataFrame(wages.x, columns=wages.feature_names)
table = x.assign(person=wages.task, log_wage=wages.y)
seen, future = table[table["year"] < 1982], table[table["year"] == 1982]


def columns(rows):
    return rows.drop(columns=["person", "log_wage"])


one_for_all = LinearRegression().fit(columns(seen), seen["log_wage"])
model = PersonalizedRegressor()
model.fit(columns(seen), seen["log_wage"], groups=seen["person"])

# %%
# Neither model has seen the wages of 1982. One regression for all explains less than half of their
# variance, one for each person most of it. The bars are in units of the target, for a standard
# deviation of the feature: they say how much the log wages of two people differ because the
# feature means something else for each of them. People differ most in the level of their wage, and
# in how it grows with their experience.

forecasts = {
    "one for all": one_for_all.predict(columns(future)),
    "for each person": model.predict(columns(future), groups=future["person"]),
}
figure, (top, bottom) = plt.subplots(2, 1, figsize=(7, 8), layout="constrained")
variance = future["log_wage"].var(ddof=0)
for name, forecast in forecasts.items():
    r2 = 1 - ((future["log_wage"] - forecast) ** 2).mean() / variance
    top.scatter(future["log_wage"], forecast, s=6, label=f"{name}: R² {r2:.2f}")
top.axline((6.5, 6.5), slope=1, color="grey", lw=1)
top.set(xlabel="log wage of 1982", ylabel="predicted from the years before")
top.legend()
model.plot_rates(bottom)
plt.show()
