"""
Which features are personal
===========================

Some of what determines a wage is the same for everybody, and some of it is a person's own. A model
that may give everybody their own coefficients has to find out which is which, and it can tell. We
fit one to seven years of 595 people and draw how much the coefficients of people differ.
"""

import matplotlib.pyplot as plt
import pandas as pd

from aruba_fast.datasets import load_wages
from aruba_fast.sklearn import PersonalizedRegressor

wages = load_wages()
table = pd.DataFrame(wages.x, columns=wages.feature_names)
model = PersonalizedRegressor()
model.fit(table, wages.y, groups=wages.task)

# %%
# The bars are in units of the target, for a standard deviation of the feature: how much the
# log wage of two people differs because the feature means something else to them. What people
# differ in most is where they stand at all, and how their wage grows with the years.

figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
model.plot_rates(axes)
plt.show()
