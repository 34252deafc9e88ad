"""Other optimizers within a task: a gradient that moves a weight is squared once, or it is said."""

from __future__ import annotations

import numpy as np
import pytest
from cases import smoothed
from torch_models import assert_same_bits, batch, flat, flat_gradients, learning, loss_of, torch

import aruba_fast as af


@pytest.mark.parametrize("inner", [None, "plain", "fused"])
def test_a_scaler_skips_a_step_with_infinities(inner):
    model, kind, meta = learning()
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    other = inner and torch.optim.SGD(model.parameters(), lr=0.1, fused=inner == "fused")
    squares = np.zeros(meta.learners[0].phi.size)
    with meta.task(optimizer=other) as optimizer:
        for k in range(3):
            optimizer.zero_grad()
            before = flat(model.parameters())
            scaler.scale(loss_of(model, *batch(kind))).backward()
            if k == 1:
                model[0].weight.grad[0, 0] = torch.inf
            else:
                squares += np.square(flat_gradients(model) / np.float64(scaler.get_scale()))
            scaler.step(optimizer)
            scaler.update()
            assert (flat(model.parameters()) == before).all() == (k == 1)
    np.testing.assert_allclose(meta.statistics().grad_sq, squares, rtol=1e-5)


@pytest.mark.parametrize("kind_of", ["adam", "lbfgs", "half"])
def test_any_other_optimizer_takes_the_steps(kind_of):
    """Reptile with it: its own iterates, and the gradients that it used."""
    model, kind, meta = learning(
        dtype=torch.bfloat16 if kind_of == "half" else None, learning_rate=1.0
    )
    inner = {
        "adam": lambda: torch.optim.Adam(model.parameters(), lr=0.01),
        "half": lambda: torch.optim.SGD(model.parameters(), lr=0.5),
        "lbfgs": lambda: torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3),
    }[kind_of]()
    phi = meta.learners[0].phi.copy()
    grad_sq = np.zeros_like(phi)
    x, y = batch(kind, model[0].weight.dtype)

    def closure():
        inner.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        grad = flat_gradients(model)
        # theta and rate of no importance: the sum of squares in the kernel's own arithmetic
        af.step(np.zeros_like(grad), grad, 0.0, grad_sq=grad_sq)
        return loss

    with meta.task(weight=2.0, optimizer=inner) as optimizer:
        assert optimizer is inner
        for _ in range(2):
            inner.step(closure)
        theta_hat = flat(model.parameters())
    assert (theta_hat != phi).any()
    np.testing.assert_array_equal(flat(model.parameters()), phi)
    learner = smoothed(phi)
    learner.update(af.TaskRun(theta_hat[None], grad_sq[None]), weights=[2.0])
    meta.step()
    assert_same_bits(meta.learners[0], learner)
    from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

    for hooks in (_global_optimizer_pre_hooks, _global_optimizer_post_hooks):
        assert not hooks


class Sam(torch.optim.Optimizer):
    """Sharpness-aware minimization as its users have it: two calls, or one with a closure.

    Source: Foret, Kleiner, Mobahi, Neyshabur, ICLR 2021; the interface of github.com/davda54/sam.
    """

    def __init__(self, params, base=torch.optim.SGD, lr=0.1, rho=0.05):
        super().__init__(params, {"rho": rho, "lr": lr})
        self.base_optimizer = base(self.param_groups, lr=lr)
        self.param_groups = self.base_optimizer.param_groups

    def _all(self):
        return [p for group in self.param_groups for p in group["params"]]

    @torch.no_grad()
    def first_step(self):
        for p in self._all():
            self.state[p]["old"] = p.clone()
            p.add_(p.grad, alpha=0.05)
        self.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for p in self._all():
            p.copy_(self.state[p]["old"])
        self.base_optimizer.step()
        self.zero_grad()

    def step(self, closure=None):
        self.first_step()
        with torch.enable_grad():
            closure()
        self.second_step()


class OwnUpdate(Sam):
    """A second step that no other optimizer does."""

    @torch.no_grad()
    def second_step(self):
        for p in self._all():
            p.copy_(self.state[p]["old"]).add_(p.grad, alpha=-0.1)
        self.zero_grad()


class Calls(torch.optim.SGD):
    """Does something of its own and leaves the step to its base, which has hooks as well."""

    def step(self, closure=None):
        return super().step(closure)


class Wrapper(torch.optim.Optimizer):
    """Accelerate's and Lookahead's way: groups of another optimizer, whose step is called."""

    def __init__(self, optimizer):
        self.optimizer, self.param_groups = optimizer, optimizer.param_groups

    def step(self, closure=None):
        return self.optimizer.step(closure)


class Duck:
    """Not PyTorch's, but around one of them."""

    def __init__(self, optimizer):
        self.optimizer, self.param_groups = optimizer, optimizer.param_groups

    def step(self):
        self.optimizer.step()


def sgd(params, **how):
    return torch.optim.SGD(params, lr=0.1, **how)


def plain(optimizer, closure):
    closure()
    optimizer.step()


def with_closure(optimizer, closure):
    optimizer.step(closure)


def with_named_closure(optimizer, closure):
    optimizer.step(closure=closure)


def two_calls(optimizer, closure):
    closure()
    optimizer.first_step()
    closure()
    optimizer.second_step()


def one_call_of_sam(optimizer, closure):
    closure()
    optimizer.step(closure)


# Makes the optimizer, takes a step, and says which of the gradients of the step count.
STEPS = {
    "plain": (sgd, plain, [0]),
    "foreach": (lambda p: sgd(p, foreach=True), plain, [0]),
    "fused": (lambda p: sgd(p, fused=True), plain, [0]),
    "adamw": (lambda p: torch.optim.AdamW(p, weight_decay=0.5), plain, [0]),
    "closure": (sgd, with_closure, [0]),
    "named closure": (sgd, with_named_closure, [0]),
    "sam, two calls": (Sam, two_calls, [1]),
    "sam, one call": (Sam, one_call_of_sam, [1]),
    "its base": (lambda p: Sam(p).base_optimizer, plain, [0]),
    "super": (Calls, plain, [0]),
    "super, closure": (Calls, with_closure, [0]),
    "wrapper": (lambda p: Wrapper(sgd(p)), plain, [0]),
    "wrapper, closure": (lambda p: Wrapper(sgd(p)), with_closure, [0]),
    "duck": (lambda p: Duck(sgd(p)), plain, [0]),
}


@pytest.mark.parametrize("name", STEPS)
def test_what_a_step_used_is_squared_once(name):
    make, take, counted = STEPS[name]
    model, kind, meta = learning()
    optimizer = make(list(model.parameters()))
    sgd([torch.nn.Parameter(torch.ones(1))])  # PyTorch gives a class its hooks with the first one
    x, y = batch(kind)
    squares = np.zeros(meta.learners[0].phi.size)
    with meta.task(optimizer=optimizer):
        for _ in range(2):
            seen = []

            def closure(seen=seen):
                model.zero_grad()
                loss = loss_of(model, x, y)
                loss.backward()
                seen.append(flat_gradients(model).astype(np.float64))
                return loss

            take(optimizer, closure)
            squares += sum(seen[i] ** 2 for i in counted)
    np.testing.assert_allclose(meta.statistics().grad_sq, squares, rtol=1e-5)
    meta.step()
    assert (meta.learners[0].rho > 0).any()


def _own_update(model, meta, closure):
    optimizer = OwnUpdate(model.parameters())
    with meta.task(optimizer=optimizer):
        two_calls(optimizer, closure)


def _second_optimizer_of_a_default_task(model, meta, closure):
    optimizer = sgd(model.parameters())
    with meta.task():
        plain(optimizer, closure)


def _by_hand(model, meta, closure):
    optimizer = sgd(model[0].parameters())
    with meta.task(optimizer=optimizer):
        plain(optimizer, closure)
        with torch.no_grad():
            model[2].bias.add_(1.0)


@pytest.mark.parametrize(
    ("run", "which"), [(_own_update, 0), (_second_optimizer_of_a_default_task, 0), (_by_hand, 3)]
)
def test_weights_that_moved_without_a_gradient_are_no_task(run, which):
    model, kind, meta = learning()
    phi = flat(model.parameters())
    x, y = batch(kind)
    message = rf"MetaOptimizer.task: gradients must be seen: got `params\[{which}\]` moved without"
    with pytest.raises(RuntimeError, match=message):
        run(model, meta, lambda: loss_of(model, x, y).backward())
    assert meta.statistics().n_tasks == 0
    np.testing.assert_array_equal(flat(model.parameters()), phi)


def test_what_did_not_move_needs_no_gradient():
    """A part of the model, steps without any gradient, gradients that are zero under momentum."""
    model, kind, meta = learning()
    with meta.task(optimizer=sgd(model[0].parameters())) as optimizer:
        loss_of(model, *batch(kind)).backward()
        optimizer.step()
    told = pytest.warns(UserWarning, match=r"MetaOptimizer.task: a parameter must have a gradient")
    with meta.task(optimizer=optimizer), told:
        optimizer.step()
    adam = torch.optim.Adam(model.parameters())
    for scale in (1.0, 0.0):
        with meta.task(optimizer=adam):
            (scale * loss_of(model, *batch(kind))).backward()
            adam.step()
    assert meta.statistics().n_tasks == 4


def test_a_step_that_failed_drops_the_task():
    """Whether its gradient has moved anything nobody knows."""
    model, kind, meta = learning()

    class Fails(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            raise FloatingPointError

    optimizer = Fails(model.parameters(), lr=0.1)

    def run():
        with meta.task(optimizer=optimizer):
            loss_of(model, *batch(kind)).backward()
            with pytest.raises(FloatingPointError):
                optimizer.step()

    with pytest.raises(RuntimeError, match=r"MetaOptimizer.task: no step may fail within a task"):
        run()
    assert meta.statistics().n_tasks == 0


@pytest.mark.parametrize("no_optimizer", ["adam", torch.optim.SGD, 3, None])
def test_an_optimizer_is_one(no_optimizer):
    _, _, meta = learning()
    no_optimizer = meta.rule() if no_optimizer is None else no_optimizer
    told = pytest.raises(TypeError, match=r"MetaOptimizer.task: `optimizer` must be an optimizer")
    with told, meta.task(optimizer=no_optimizer):
        pass
