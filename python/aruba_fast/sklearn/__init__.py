"""Estimators for scikit-learn: people in a table, few rows each, a model for every one of them.

    model = PersonalizedRegressor().fit(X, y, groups=person)
    model.predict(X_new, groups=person_new)

Known people are predicted by their own parameters, others by the shared start. How much people
differ, and in what, is learned from all of them by `meta_fit`; there is nothing to tune.
"""

try:
    import sklearn as _sklearn  # noqa: F401
except ModuleNotFoundError:
    raise ImportError(
        "aruba_fast.sklearn: scikit-learn must be installed: got no module named 'sklearn', "
        "expected it from pip install 'aruba_fast[sklearn]'"
    ) from None

from ._classifier import PersonalizedClassifier
from ._regressor import PersonalizedRegressor

__all__ = ["PersonalizedClassifier", "PersonalizedRegressor"]
