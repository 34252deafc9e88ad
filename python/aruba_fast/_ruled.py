"""What a meta-learner hands out: its first rate, the rules for tasks, and a diagnosis."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from . import _arrays, _check, _core, _divergence
from ._chunks import Chunks
from ._diagnosis import Diagnosis, diagnosis
from ._first_rate import first_rate
from ._saved import Saved
from ._state import AUTO, tasks_held
from .proximal import Proximal
from .rules import OGD, ArubaPlusPlus
from .run import check_loss, check_type
from .tasks import Tasks

# What `meta_train` runs tasks with.
TRAINING_RULES = ("descent", "proximal")


class Ruled(Saved):
    """A meta-learner that tasks can be run by."""

    def first_rate(
        self, tasks: Tasks | Iterable[Tasks], *, loss: str, rule: str = "descent"
    ) -> float:
        """Finds the first learning rate from the rows of tasks, and starts with it if it may.

            rate = mean_i |d_i| / max_i c_i |x_i|^2

        so that a step on no single row goes beyond the least of its loss: c is the most that the
        loss bends along its score, 1 for squared and Huber, 1/4 for logistic, 1/2 for softmax, and
        max(e^(x . phi), y, 1) for Poisson; d is the way that a score has to go, y - x . phi for the
        absolute loss, and 1 for the others and where there is none. ARUBA moves the rate from
        there; twice or half of it learn the same. For the proximal rule it is

            rate = n_features mean_i |d_i| / mean_i c_i |x_i|^2

        where a row holds a parameter, in the mean, as much as the start does.

        Args:
            tasks: Tasks to be trained on, or an iterable of `Tasks`, as in `meta_train`. Rows that
                are not finite are left out; rows on a CUDA device are read back.
            loss: Name of the loss, as in `run_tasks`.
            rule: What tasks will be trained with, as in `meta_train`.

        Returns:
            The rate, of the type of the parameters. A learner made with `learning_rate="auto"` that
            has not learned anything now starts with it; any other one is not changed.

        Raises:
            TypeError: `tasks` is not Tasks of this learner's type.
            ValueError: Sizes do not fit, the loss or rule is unknown, or labels lie outside their
                domain.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> tasks = af.Tasks([[[3.0, 4.0], [1.0, 0.0]]], [[1.0, 2.0]])
            >>> af.MetaLearner(np.zeros(2)).first_rate(tasks, loss="squared")
            0.04
        """
        name = "MetaLearner.first_rate"
        _check.one_of(name, "rule", rule, TRAINING_RULES)
        phi = self._arrays["phi"]

        def check(function: str, chunk: Tasks) -> None:
            check_type(function, chunk, "self", phi.dtype)
            check_loss(function, chunk, loss, "self", len(phi))

        if not isinstance(tasks, Chunks):  # of meta_train, which has its own check
            tasks = Chunks(name, tasks)
            tasks.require(check)
        with self._lock:
            found = first_rate(tasks, loss, self.phi, proximal=rule == "proximal")
            rate = 1.0 if found is None else found
            if not self._hyper.knows_rate and not self.n_tasks:
                self._start(rate)
        return rate

    def _start(self, rate: float) -> None:
        """The first rate, once it is known; the lock is held."""
        phi = self._arrays["phi"]
        hyper = replace(self._hyper, learning_rate=rate)
        first = hyper.first_rate(phi.dtype)
        self._state.start(rate, _arrays.moved(np.full(len(phi), first), phi))
        self._hyper = hyper

    def rule(self, coef: float | str | None = "auto") -> OGD | ArubaPlusPlus:
        """Returns the within-task rule as learned so far; later updates do not change it.

        Args:
            coef: "auto" for ARUBA++, the rule for new tasks, with the number of tasks that b and g
                hold, four times that for the tight bound: rates start at `learning_rate`, and a
                task's own squared gradients count as those of an average one, or of four. A float
                >= 0 for another weight of them. None for OGD at `learning_rate`, which tasks are
                trained with.

        Returns:
            `ArubaPlusPlus(b, g, coef)` or `OGD(learning_rate)`. For ARUBA++, b and g are those with
            their prior; an isotropic learner hands out their means over the coordinates, and b is
            lowered where its rate would exceed `max_learning_rate`. A learner that has not learned
            anything knows no b and g without a unit, and hands out OGD.

        Raises:
            TypeError: `coef` is not a real number.
            ValueError: `coef` is negative or not finite, or the first rate is not known yet.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> af.MetaLearner(np.zeros(2), learning_rate=0.5, isotropic=True).rule()
            OGD(learning_rate=0.5)
        """
        name = "MetaLearner.rule"
        if coef is not None:
            coef = _check.auto(name, "coef", coef, _check.non_negative)
        self._require_rate(name)
        return self._rule(coef)

    def _rule(self, coef: float | str | None, whole: Any = None) -> OGD | ArubaPlusPlus:
        """As `rule`; `whole`: what b and g of tensors, and last of all, sum to, and their sizes."""
        if coef is None:
            return OGD._of(learning_rate=self.learning_rate)
        b, g, counts = self._read("b", "g", "counts")  # of one moment
        # Read of a device only where it has to be: a graph that is captured cannot wait.
        smoothed, held = not self._hyper.average_task, 0.0
        share = 1.0  # of b
        if coef == AUTO or not smoothed:
            n_tasks, n_skipped = (int(count) for count in _arrays.host(counts))
            held = tasks_held(n_tasks, self.decay)
            if not smoothed:
                share = _core.restraint(n_tasks, n_skipped) ** 2
        if coef == AUTO and not held:
            return OGD._of(learning_rate=self.learning_rate)
        if not smoothed or self.isotropic:
            # In host memory: sums that are made on a device would be other bits.
            host = [_arrays.host(v) for v in (b, g)]
            if smoothed:
                means = [v.mean() for v in host] if whole is None else whole[0][-1] / whole[1][-1]
                host = [np.full(len(b), mean) for mean in means]
            elif not _core.add_prior(
                host[0], host[1], self._hyper.table(len(b)), held, self.isotropic, whole
            ):
                return OGD._of(learning_rate=self.learning_rate)
            b, g = (_arrays.moved(v, like) for v, like in zip(host, (b, g), strict=True))
        unit_b, unit_g = self._hyper.unit_of_b, self._hyper.unit_of_g
        with _arrays.beside(b):
            b, g = share * unit_b * unit_b * b, unit_g * unit_g * g
        if self.max_learning_rate is not None:
            with _arrays.beside(b):
                b = np.minimum(b, self.max_learning_rate * self.max_learning_rate * g)
        weight = self._hyper.own_weight * held if isinstance(coef, str) else coef
        return ArubaPlusPlus._of(b=_arrays.frozen(b), g=_arrays.frozen(g), coef=weight)

    def proximal(self) -> Proximal:
        """Returns the proximal rule at the rates learned so far; later updates do not change it.

        It goes as far as b and g of `meta_train(rule="proximal")` say: `coef` is one for the tight
        bound, and sqrt(2) where b has half of the squared distances.

        Returns:
            `Proximal(learning_rate, coef)`.

        Raises:
            ValueError: The first rate is not known yet.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> af.MetaLearner(np.zeros(2), learning_rate=0.5, bound="tight").proximal()
            Proximal(learning_rate=float64[2] in [0.5, 0.5], coef=1)
        """
        self._require_rate("MetaLearner.proximal")
        rate = self.learning_rate
        rate = rate if isinstance(rate, float) else _arrays.host(rate)
        return Proximal(rate, self._hyper.proximal_coef)

    def _require_rate(self, function: str) -> None:
        if not self._hyper.knows_rate and not self.n_tasks:
            raise ValueError(
                f"{function}: the first learning rate must be known: got 'auto' and no task, "
                "expected learner.first_rate(tasks, loss=...) before, or a number for "
                "`learning_rate`; meta_train finds it by itself"
            )

    def diagnose(self) -> Diagnosis:
        """Returns the learned rates in words, and what looks wrong; `print` shows a table.

        A learner on a CUDA device is waited for.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> af.MetaLearner(np.zeros(2), learning_rate=0.5).diagnose().rates
            (0.5, 0.5, 0.5)
        """
        names = ("g", "rate", "rho", "counts")
        copies = dict(zip(names, map(_arrays.host, self._read(*names)), strict=True))
        return diagnosis([(copies, self._hyper)], diverged=_divergence.was_said(self))
