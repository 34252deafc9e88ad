"""What noise is worth: epsilon of a whole training, by dp_accounting."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import _check

_ACCOUNTANTS = ("rdp", "pld")
# What noise is looked for between; outside of it no training is either private or useful.
_LEAST, _GUESS, _CLOSE = 0.02, 1.0, 1e-4


@dataclass(frozen=True)
class Poisson:
    """Each person takes part in a round with one probability, independently of all others.

    Independence is what is accounted for. A machine with many people must draw each of them by
    itself; one that brings all of its people or none is not covered.

    Neighbours: data sets with and without one person.

    Args:
        rate: The probability, in (0, 1).

    Raises:
        TypeError: `rate` is no number.
        ValueError: It is out of range.

    Example:
        >>> from aruba_fast.privacy import Poisson
        >>> Poisson(rate=0.01)
        Poisson(rate=0.01)
    """

    rate: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", _check.fraction("Poisson", "rate", self.rate))


@dataclass(frozen=True)
class FixedSize:
    """A round has the same number of people always, drawn anew without replacement.

    Neighbours: data sets in which one person is replaced by another, so that a sum changes by
    twice a clip, and the noise counts for half as much.

    Args:
        n_sampled: People in a round, >= 1.
        n_people: People who are drawn from, >= `n_sampled`.

    Raises:
        TypeError: An argument is no integer.
        ValueError: An argument is out of range.

    Example:
        >>> from aruba_fast.privacy import FixedSize
        >>> FixedSize(n_sampled=100, n_people=10_000)
        FixedSize(n_sampled=100, n_people=10000)
    """

    n_sampled: int
    n_people: int

    def __post_init__(self) -> None:
        sampled = _check.integer("FixedSize", "n_sampled", self.n_sampled, 1)
        people = _check.integer("FixedSize", "n_people", self.n_people, sampled)
        object.__setattr__(self, "n_sampled", sampled)
        object.__setattr__(self, "n_people", people)


def epsilon(
    noise: float,
    n_rounds: int,
    delta: float,
    *,
    sampling: Poisson | FixedSize | None = None,
    accountant: str = "rdp",
) -> float:
    """Returns the epsilon of (epsilon, delta)-differential privacy after some releases.

    Args:
        noise: The noise of a release, as `TaskPrivacy.noise`.
        n_rounds: Number of releases, such as `Server.version`.
        delta: In (0, 1), well below one over the number of people.
        sampling: How the people of a round are drawn; None where all take part in every round.
        accountant: "rdp", Renyi differential privacy; or "pld", privacy loss distributions, which
            are tighter and slower, and do not know `FixedSize`.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, or cannot be accounted for.
        ImportError: dp_accounting is not installed.

    Example:
        >>> from aruba_fast.privacy import Poisson, epsilon
        >>> round(epsilon(1.1, 1000, 1e-6, sampling=Poisson(0.01)), 3)
        1.977
        >>> round(epsilon(1.1, 1000, 1e-6, sampling=Poisson(0.01), accountant="pld"), 3)
        1.753

    Source: `dp_accounting`; Mironov, Talwar and Zhang, 2019, and Wang, Balle and Kasiviswanathan,
    AISTATS 2019, for sampling in its RDP accountant.
    """
    name = "epsilon"
    z = _check.positive(name, "noise", noise)
    share = _check.fraction(name, "delta", delta)
    fresh, event = _accounted(name, n_rounds, sampling, accountant)
    return float(fresh().compose(event(z)).get_epsilon(share))


def noise_for(
    epsilon: float,
    n_rounds: int,
    delta: float,
    *,
    sampling: Poisson | FixedSize | None = None,
    accountant: str = "rdp",
) -> float:
    """Returns the least noise whose epsilon after some releases is at most a given one.

    Args:
        epsilon: The largest epsilon that is allowed, > 0.
        n_rounds: As `epsilon`.
        delta: As `epsilon`.
        sampling: As `epsilon`.
        accountant: As `epsilon`.

    Returns:
        The noise for `TaskPrivacy`, within 1e-4; at least 0.02, and by "pld" half of "rdp"'s.

    Raises:
        TypeError: As `epsilon`.
        ValueError: As `epsilon`.
        ImportError: As `epsilon`.

    Example:
        >>> from aruba_fast.privacy import Poisson, noise_for
        >>> round(noise_for(2.0, 1000, 1e-6, sampling=Poisson(0.01)), 2)
        1.09
    """
    name = "noise_for"
    wanted = _check.positive(name, "epsilon", epsilon)
    share = _check.fraction(name, "delta", delta)
    fresh, event = _accounted(name, n_rounds, sampling, accountant)
    least, guess = _LEAST, _GUESS
    if accountant == "pld":
        # Its time grows without bound as noise gets small: it starts from what the other finds.
        guess = noise_for(wanted, n_rounds, share, sampling=sampling)
        least = guess / 2.0
    dp = _dp_accounting(name)
    if fresh().compose(event(least)).get_epsilon(share) <= wanted:
        return least
    bracket = dp.LowerEndpointAndGuess(least, guess)
    found = dp.calibrate_dp_mechanism(fresh, event, wanted, share, bracket, tol=_CLOSE)
    return float(found)


def _accounted(
    function: str, n_rounds: int, sampling: object, accountant: str
) -> tuple[Callable[[], Any], Callable[[float], Any]]:
    """What makes an accountant, and what makes of noise the event that it accounts for."""
    rounds = _check.integer(function, "n_rounds", n_rounds, 1)
    kind = _check.one_of(function, "accountant", accountant, _ACCOUNTANTS)
    if not (sampling is None or isinstance(sampling, (Poisson, FixedSize))):
        raise TypeError(
            f"{function}: `sampling` must be Poisson, FixedSize or None: got "
            f"{_check.shown(sampling)}, expected one of these, as Poisson(rate=0.01)"
        )
    if kind == "pld" and isinstance(sampling, FixedSize):
        raise ValueError(
            f"{function}: `accountant` must know the sampling: got 'pld', which dp_accounting does "
            "not have for FixedSize, expected 'rdp', or Poisson sampling"
        )
    dp = _dp_accounting(function)

    def event(noise: float) -> Any:
        if isinstance(sampling, FixedSize):
            # Twice the clip lies between one person and another.
            gaussian = dp.GaussianDpEvent(noise / 2.0)
            one = dp.SampledWithoutReplacementDpEvent(
                sampling.n_people, sampling.n_sampled, gaussian
            )
        elif isinstance(sampling, Poisson):
            one = dp.PoissonSampledDpEvent(sampling.rate, dp.GaussianDpEvent(noise))
        else:
            # Gaussian mechanisms add up to one of them, exactly, and at no cost.
            return dp.GaussianDpEvent(noise / math.sqrt(rounds))
        return dp.SelfComposedDpEvent(one, rounds)

    relation = dp.NeighboringRelation
    neighbours = (
        relation.REPLACE_ONE if isinstance(sampling, FixedSize) else relation.ADD_OR_REMOVE_ONE
    )
    if kind == "pld":
        return lambda: dp.pld.PLDAccountant(neighbours), event
    return lambda: dp.rdp.RdpAccountant(neighboring_relation=neighbours), event


def _dp_accounting(function: str) -> Any:
    try:
        import dp_accounting
    except ModuleNotFoundError:
        raise ImportError(
            f"{function}: dp_accounting must be installed: got no module named 'dp_accounting', "
            "expected it from pip install 'aruba_fast[privacy]'"
        ) from None
    return dp_accounting
