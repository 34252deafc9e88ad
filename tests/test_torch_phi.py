"""Parameters hold phi between tasks: who writes to them is told; a bad task changes nothing."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from torch_models import batch, flat, learning, loss_of, one_task, torch, train

from aruba_fast.torch import MetaOptimizer


def loaded(model):
    model.load_state_dict({k: v + 1 for k, v in model.state_dict().items()})


def through_data(model):
    model[2].bias.data.copy_(torch.ones(3))


def exchanged(model):
    model[2].bias.data = torch.ones(3)


def trained(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model, *batch("vector", model[0].weight.dtype)).backward()
    optimizer.step()


WRITES = [loaded, through_data, exchanged, trained]
writes = pytest.mark.parametrize("write", WRITES)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


def go_on(meta, use):
    if use == "task":
        with meta.task():
            pass
    elif use == "rule":
        meta.rule()
    else:
        meta.step()


@writes
@dtypes
@pytest.mark.parametrize("use", ["task", "rule"])
def test_weights_that_came_later_are_not_lost(write, dtype, use):
    """Before anything is learned that is an error; it names both ways out."""
    model, _, meta = learning(dtype=dtype)
    phi = flat(model.parameters())
    write(model)
    given = flat(model.parameters())
    message = rf"MetaOptimizer\.{use}: the parameters must hold phi .*`adopt\(\)`.*`restore\(\)`"
    with pytest.raises(ValueError, match=message):
        go_on(meta, use)
    np.testing.assert_array_equal(flat(model.parameters()), given)
    other_model, other = copy.deepcopy((model, meta))
    other.restore()
    go_on(other, use)
    np.testing.assert_array_equal(flat(other_model.parameters()), phi)
    meta.adopt()
    go_on(meta, use)
    np.testing.assert_array_equal(flat(model.parameters()), given)


# A step of the meta-state looks for what PyTorch knows of, which writes through `.data` are not.
USES = [
    (write, use)
    for write in WRITES
    for use in ("task", "rule", "step")
    if (write, use) != (through_data, "step")
]


@dtypes
@pytest.mark.parametrize(("write", "use"), USES)
def test_later_it_is_a_warning(write, dtype, use):
    """At the line of the caller."""
    model, kind, meta = learning(dtype=dtype)
    train(meta, model, kind)
    one_task(meta, model, kind)
    write(model)
    with pytest.warns(UserWarning, match=rf"MetaOptimizer\.{use}: the parameters must") as seen:
        go_on(meta, use)
    assert {w.filename for w in seen} == {__file__}


@dtypes
def test_no_alarm_without_a_reason(dtype):
    """What tasks, meta-test, loading and saving write, and a model of other types or strides."""
    model, kind, meta = learning(dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        meta.rule(coef=0.1)
        trained(model)
        train(meta, model, kind)
        state = copy.deepcopy(model.state_dict())
        other_model, other = copy.deepcopy((model, meta))
        one_task(other, other_model, kind)
        meta.load_state_dict(meta.state_dict())
        model.load_state_dict(state)
        one_task(meta, model, kind)
        meta.step()
        if dtype == torch.float32:
            model.to(torch.bfloat16)
            one_task(meta, model, kind)
        trained(model)
        meta.restore()
        one_task(meta, model, kind)


def transposed(model, _):
    model[0].weight.data = model[0].weight.data.t().contiguous()


def shorter(model, _):
    model[2].bias.data = torch.ones(1)


def complex_one(model, _):
    model[2].bias.data = torch.ones(3, dtype=torch.complex64)


def wider(model, _):
    model.double()


def elsewhere(model, meta):
    meta._where = [p.detach() for p in meta.parameters]  # as on a CUDA device
    model[2].bias.data = torch.ones(3)


# Steps of another optimizer follow the parameter elsewhere.
CHANGES = [
    (change, inner) for change in (transposed, shorter, complex_one, wider) for inner in (0, 1)
]


@pytest.mark.parametrize(("change", "inner"), [*CHANGES, (elsewhere, False)])
def test_a_parameter_that_changed_its_shape_is_no_task(change, inner):
    model, kind, meta = learning()
    train(meta, model, kind)
    one_task(meta, model, kind)
    phi, before = flat(model.parameters()), meta.state_dict()["state"]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1) if inner else None

    def run():
        with meta.task(optimizer=optimizer) as steps:
            loss_of(model, *batch(kind)).backward()
            steps.step()
            change(model, meta)

    with pytest.raises(ValueError, match=r"MetaOptimizer\.task: `params\[\d\]` must (stay|keep)"):
        run()
    np.testing.assert_array_equal(flat(model.parameters()), phi)
    for name, values in meta.state_dict()["state"].items():
        np.testing.assert_array_equal(values, before[name], err_msg=name)
    one_task(meta, model, kind)


@pytest.mark.parametrize("when", ["between steps", "at the end"])
@pytest.mark.parametrize("name", ["mlp", "bfloat16", "transposed"])
def test_what_is_written_within_a_task_is_part_of_it(when, name):
    """A projection, say; also where a master copy takes the steps."""
    half = torch.bfloat16 if name == "bfloat16" else None
    model, kind, meta = learning("mlp" if half else name, dtype=half)
    if name == "transposed":
        model.weight.data = model.weight.data.t().contiguous().t()
    with meta.task() as optimizer:
        loss_of(model, *batch(kind, half)).backward()
        for _ in range(2):
            optimizer.step()
            if when == "between steps":
                with torch.no_grad():
                    for p in model.parameters():
                        p.fill_(0.5)
        if when == "at the end":
            for p in model.parameters():
                p.data.fill_(0.5)
        last = flat(model.parameters())
    found = meta.statistics().theta_sum
    np.testing.assert_allclose(found, last, rtol=2**-8)


@pytest.mark.parametrize(
    "call",
    [
        lambda meta, state: meta.load_state_dict(state),
        lambda meta, _: meta.restore(),
        lambda meta, _: meta.step(),
        lambda meta, _: meta.adopt(),
        lambda meta, _: meta.rule(),
    ],
    ids=["load_state_dict", "restore", "step", "adopt", "rule"],
)
def test_a_parameter_of_another_shape_is_refused_by_all(call, request):
    model, kind, meta = learning()
    one_task(meta, model, kind)
    before, other = meta.state_dict()["state"], learning(seed=1)[2].state_dict()
    model[0].weight.data = torch.ones(2, 2)
    name = request.node.callspec.id
    with pytest.raises(ValueError, match=rf"MetaOptimizer\.{name}: `params\[0\]` must stay as it"):
        call(meta, other)
    for key, values in meta.state_dict()["state"].items():
        np.testing.assert_array_equal(values, before[key], err_msg=key)


def test_what_is_unfrozen_later_is_told():
    model, kind, _ = learning()
    model[0].requires_grad_(False)
    meta = MetaOptimizer(model.parameters(), learning_rate=0.1)
    one_task(meta, model, kind)
    model[0].requires_grad_(True)
    with pytest.warns(UserWarning, match="a parameter that was frozen when .* is left alone"):
        one_task(meta, model, kind)


def normalized():
    torch.manual_seed(0)
    layers = [torch.nn.Linear(5, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 3)]
    return torch.nn.Sequential(*layers)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_every_task_finds_the_buffers_of_before(named, fails):
    model = normalized()
    buffers = model.named_buffers() if named else model.buffers()
    meta = MetaOptimizer(model.parameters(), learning_rate=0.1, buffers=buffers)
    model[1].running_mean.fill_(7.0)  # what is there when a task begins, whoever wrote it

    def task():
        with meta.task() as optimizer:
            assert (model[1].running_mean == 7.0).all()
            loss_of(model, *batch("vector")).backward()
            optimizer.step()
            assert (model[1].running_mean != 7.0).all()
            meta.restore()
            assert (model[1].running_mean == 7.0).all()
            model(batch("vector")[0])
            if fails:
                raise KeyError

    for _ in range(2):
        if fails:
            with pytest.raises(KeyError):
                task()
        else:
            task()
        assert (model[1].running_mean == 7.0).all()
        assert model[1].num_batches_tracked == 0


@pytest.mark.parametrize("way", ["restore", "next", "task", "adopt", "step", "copy"])
def test_buffers_come_back_after_meta_test(way):
    model = normalized()
    meta = MetaOptimizer(model.parameters(), learning_rate=0.1, buffers=model.buffers())
    one_task(meta, model, "vector")
    before = model[1].running_var.clone()
    if way == "adopt":
        meta.step()
    meta.rule(coef=0.1)
    model(batch("vector")[0])
    adapted = model[1].running_var.clone()
    assert (adapted != before).any()
    if way == "copy":
        model, meta = copy.deepcopy((model, meta))
        meta.restore()
    elif way == "next":
        meta.rule()
    elif way == "task":
        with meta.task():
            assert torch.equal(model[1].running_var, before)
    else:
        getattr(meta, way)()
    assert torch.equal(model[1].running_var, adapted if way == "adopt" else before)


def test_buffers_are_left_alone_unless_given():
    model = normalized()
    meta = MetaOptimizer(model.parameters(), learning_rate=0.1)
    for n in (1, 2):
        one_task(meta, model, "vector")
        assert model[1].num_batches_tracked == n
