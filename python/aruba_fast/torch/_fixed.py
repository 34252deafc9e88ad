"""Optimizers whose parameter groups stay as they were made: what would be ignored is refused."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import torch


class NoSuchKeyError(KeyError):
    """A KeyError that prints its sentence as it is."""

    __str__ = Exception.__str__


class Group(dict[str, Any]):
    """A parameter group that can be read and not be written to.

    Args:
        values: The group.
        owner: Name of the optimizer's class.
        schedule: What to do instead of scheduling `lr`.
    """

    def __init__(self, values: dict[str, Any], owner: str, schedule: str) -> None:
        super().__init__(values)
        self._owner, self._schedule = owner, schedule

    def __missing__(self, key: str) -> NoReturn:
        if key != "lr":
            raise KeyError(key)
        raise NoSuchKeyError(
            f"{self._owner}: `param_groups` must not be scheduled: got a request for 'lr', which "
            f"is not there, because rates are learned; expected {self._schedule}"
        )

    def _refuse(self, *given: Any, **named: Any) -> NoReturn:
        key = repr(given[0]) if given and isinstance(given[0], str) else (list(named) or "a change")
        raise TypeError(
            f"{self._owner}: `param_groups` must stay as they were made: got {key} to be set, "
            f"expected a new MetaOptimizer for other hyperparameters, or {self._schedule}"
        )

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return Group, (dict(self), self._owner, self._schedule)


class Fixed(torch.optim.Optimizer):
    """The base of both optimizers: groups of known keys, and none that comes later."""

    _owner: str
    _schedule: str
    # Beside these, and "name", which is the user's own label: hyperparameters.
    _keys: tuple[str, ...] = ()
    param_groups: list[dict[str, Any]]

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        unordered = (torch.Tensor, torch.nn.Module, dict, set, frozenset, str)
        if isinstance(params, unordered) or not isinstance(params, Iterable):
            raise TypeError(
                f"{self._owner}: `params` must be parameters or groups of them: got "
                f"{type(params).__name__}, expected model.parameters() or [{{'params': ...}}, ...]"
            )
        given = list(params)
        if not given:
            raise ValueError(
                f"{self._owner}: `params` must not be empty: got no parameter (an iterator that "
                "was used up?), expected model.parameters()"
            )
        super().__init__(given, defaults)
        self._fix()

    def _fix(self) -> None:
        groups: list[dict[str, Any]] = [
            Group(group, self._owner, self._schedule) for group in self.param_groups
        ]
        self.param_groups = groups
        self._fixed = [(group, list(group["params"])) for group in groups]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group while the optimizer is made; later the meta-state is of fixed size.

        Args:
            param_group: Parameters and hyperparameters.

        Raises:
            ValueError: A key is unknown.
            RuntimeError: The optimizer exists already.
        """
        if hasattr(self, "_fixed"):
            raise RuntimeError(
                f"{self._owner}.add_param_group: groups must be given when the optimizer is made: "
                "got one more, expected a new MetaOptimizer"
            )
        own = param_group
        if isinstance(param_group, dict):
            self._check_keys(param_group)
            if isinstance(param_group["params"], Iterator):
                param_group["params"] = list(param_group["params"])
            # PyTorch writes the defaults into the group, and the next optimizer of the same
            # dictionary would take them for the caller's.
            own = dict(param_group)
        super().add_param_group(own)

    def _check_keys(self, group: dict[str, Any]) -> None:
        number = len(self.param_groups)
        if "params" not in group:
            raise ValueError(
                f"{self._owner}: `params[{number}]` must hold 'params': got {sorted(group)}, "
                "expected {'params': layer.parameters(), ...}"
            )
        for key in group:
            if key in ("params", "param_names", "name", *self._keys):
                continue
            near = difflib.get_close_matches(str(key), self._keys, n=1)
            meant = "learning_rate" if key == "lr" else near[0] if near else ""
            expected = repr(meant) if meant else "one of " + ", ".join(self._keys)
            raise ValueError(
                f"{self._owner}: `params[{number}]` must have known keys: got {key!r}, "
                f"expected {expected}"
            )

    def _require_groups(self, function: str) -> None:
        """Refuses groups or lists of parameters that somebody has exchanged."""
        same = len(self.param_groups) == len(self._fixed) and all(
            now is then
            and len(now["params"]) == len(params)
            and all(p is q for p, q in zip(now["params"], params, strict=True))
            for now, (then, params) in zip(self.param_groups, self._fixed, strict=True)
        )
        if not same:
            raise ValueError(
                f"{function}: `param_groups` must stay as they were made: got other groups or "
                "parameters, expected a new MetaOptimizer for them"
            )
