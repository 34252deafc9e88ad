"""What is compared: how weights move in the tasks of training, and how in those of the test."""

import copy
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from aruba_fast.torch import MetaOptimizer

from ..methods import NamedMethod
from ..networks import adam

if TYPE_CHECKING:
    from typing_extensions import Self

ISOTROPIC, ARUBA, ADAM = "isotropic", "aruba", "adam"
# How a test moves, other than at a fixed rate: not at all, at the learned rates, by ARUBA++; ADAM.
BEFORE, LEARNED, PLUS = "before", "learned", "aruba++"


class Method(NamedMethod):
    """One way to train; an experiment's own class says which rates it compares.

    Attributes:
        scheme: What moves phi, for people: FedAvg, Reptile.
        rates: The fixed rates of training that are told as a grid.
        test_rates: Those of the tests.
        usual: The rate that somebody takes who tries one.
        default: Names of the methods of the table.
    """

    kinds = (ARUBA, ISOTROPIC)
    scheme: ClassVar[str]
    rates: ClassVar[tuple[float, ...]]
    test_rates: ClassVar[tuple[float, ...]]
    usual: ClassVar[float]
    default: ClassVar[tuple[str, ...]]

    @classmethod
    def planned(cls, names: str | None) -> "list[Self]":
        """The methods of a list with commas, each once; all of the table if it is None."""
        given = cls.default if names is None else names.split(",")
        return [cls.of(name) for name in dict.fromkeys(name.strip() for name in given)]

    @property
    def title(self) -> str:
        """The name for people."""
        if self.rate is not None:
            return f"{self.scheme}, {'Adam' if self.kind == ADAM else 'rate'} {self.rate:g}"
        return f"{self.scheme} + {'isotropic ' * (self.kind == ISOTROPIC)}ARUBA"

    @property
    def row(self) -> str:
        """The name in a table of this scheme."""
        if self.rate is not None:
            return f"{'Adam' if self.kind == ADAM else 'at'} {self.rate:g}"
        return "isotropic" if self.kind == ISOTROPIC else "ARUBA"

    def meta(self, parameters: Any) -> MetaOptimizer:
        """The meta-learner; where rates are not learned, it moves the initialization alone."""
        if self.rate is not None:
            return MetaOptimizer(parameters, learning_rate=self.rate, zeta=1.0)
        return MetaOptimizer(parameters, isotropic=self.kind == ISOTROPIC)

    def inner(self, parameters: list[torch.Tensor]) -> torch.optim.Optimizer | None:
        """The optimizer within a task of training; None for learned rates."""
        if self.rate is None:
            return None
        if self.kind == ADAM:
            return adam(parameters, self.rate)
        return torch.optim.SGD(parameters, lr=self.rate)

    @classmethod
    def fixed_ways(cls) -> tuple[str, ...]:
        """The names of the fixed rates of the tests."""
        return tuple(f"{rate:g}" for rate in cls.test_rates)

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """All ways to test, and not to move at all."""
        return (BEFORE, *cls.fixed_ways(), *cls.fixed[1:], LEARNED, PLUS)

    @property
    def ways(self) -> tuple[str, ...]:
        """The names of all ways to test what it has trained."""
        if self.kind == ADAM:
            return (*self.fixed_ways(), ADAM)
        return self.fixed_ways() if self.rate is not None else (*self.fixed_ways(), LEARNED, PLUS)

    @property
    def own_way(self) -> str:
        """How its user would test: as it was trained, or by ARUBA++."""
        if self.rate is None:
            return PLUS
        return ADAM if self.kind == ADAM else f"{self.rate:g}"

    def adapting(
        self, meta: MetaOptimizer, inner: torch.optim.Optimizer | None, way: str
    ) -> torch.optim.Optimizer:
        """Loads phi, and returns what moves a test away from it.

        Args:
            meta: Has learned phi and the rates.
            inner: The optimizer of the training, whose state Adam begins every test with.
            way: A fixed rate as text, "adam", "learned" or "aruba++".
        """
        if way == LEARNED:
            return meta.rule(coef=None)
        if way == PLUS:
            return meta.rule()
        meta.restore()
        if way != ADAM:
            return torch.optim.SGD(meta.parameters, lr=float(way))
        assert inner is not None
        assert self.rate is not None
        made = adam(meta.parameters, self.rate)
        made.load_state_dict(copy.deepcopy(inner.state_dict()))
        return made
