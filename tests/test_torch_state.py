"""Saving, resuming and copying of `MetaOptimizer`, and tasks that fail."""

from __future__ import annotations

import copy
import io
import re
from pathlib import Path

import numpy as np
import pytest
from cases import smoothed
from torch_models import (
    assert_same_bits,
    batch,
    flat,
    learning,
    loss_of,
    one_task,
    smoothed_optimizer,
    torch,
    train,
    trainable,
    two_layers,
)

from aruba_fast import checkpoint


def through_dict(meta, path):
    del path
    file = io.BytesIO()
    torch.save(meta.state_dict(), file)
    file.seek(0)
    return lambda other: other.load_state_dict(torch.load(file, weights_only=True))


def through_file(meta, path):
    meta.save(path / "meta.safetensors")
    return lambda other: other.load(path / "meta.safetensors")


@pytest.mark.parametrize("way", [through_dict, through_file])
@pytest.mark.parametrize("name", ["mlp", "tied", "transposed"])
@pytest.mark.parametrize("isotropic", [False, True, "tensor"])
@pytest.mark.parametrize("waiting", [0, 2])
def test_resuming_changes_no_bit(way, name, isotropic, waiting, tmp_path):
    """Also in the middle of a round, into a model that was initialized otherwise."""
    model, kind, meta = learning(name, isotropic=isotropic)
    train(meta, model, kind)
    for k in range(waiting):
        one_task(meta, model, kind, weight=1.0 + k)
    load = way(meta, tmp_path)
    other_model, _, other = learning(name, seed=1, isotropic=isotropic)
    load(other)
    np.testing.assert_array_equal(flat(other.parameters), flat(meta.parameters))
    for m, g in ((model, meta), (other_model, other)):
        torch.manual_seed(7)
        train(g, m, kind)
    for one, two in zip(meta.learners, other.learners, strict=True):
        assert_same_bits(one, two)


def test_half_precision_resumes_from_its_masters():
    model, kind, meta = learning(dtype=torch.bfloat16)
    train(meta, model, kind)
    _, _, other = learning(seed=1, dtype=torch.bfloat16)
    other.load_state_dict(meta.state_dict())
    assert_same_bits(meta.learners[0], other.learners[0])
    before = meta.learners[0].phi.copy()
    meta.adopt()  # the parameters are phi rounded: nothing is lost
    np.testing.assert_array_equal(meta.learners[0].phi, before)


def test_a_state_dict_is_a_snapshot():
    model, kind, meta = learning()
    state = meta.state_dict()
    before = {key: value.clone() for key, value in state["state"].items()}
    train(meta, model, kind)
    for key, value in before.items():
        torch.testing.assert_close(state["state"][key], value, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("waiting", [0, 2])
def test_a_deep_copy_goes_its_own_way(waiting):
    model, kind, meta = learning()
    train(meta, model, kind)
    for _ in range(waiting):
        one_task(meta, model, kind)
    model2, meta2 = copy.deepcopy((model, meta))
    assert [p is q for p, q in zip(meta2.parameters, model2.parameters(), strict=True)] == [
        True
    ] * 4
    before = meta.state_dict()["state"]
    torch.manual_seed(3)
    train(meta2, model2, kind)
    for key, value in meta.state_dict()["state"].items():
        np.testing.assert_array_equal(value, before[key])
    torch.manual_seed(3)
    train(meta, model, kind)
    assert_same_bits(meta.learners[0], meta2.learners[0])


def test_an_exception_drops_the_task_and_nothing_else():
    model, kind, meta = learning()
    train(meta, model, kind)
    one_task(meta, model, kind)
    before, parameters = meta.state_dict()["state"], flat(trainable(model))

    def fail():
        with meta.task() as optimizer:
            loss_of(model, *batch(kind)).backward()
            optimizer.step()
            assert (flat(trainable(model)) != parameters).any()
            raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        fail()
    np.testing.assert_array_equal(flat(trainable(model)), parameters)
    for key, value in meta.state_dict()["state"].items():
        np.testing.assert_array_equal(value, before[key])
    one_task(meta, model, kind)
    assert meta.statistics().n_tasks == 2


@pytest.mark.parametrize("isotropic", [False, "tensor"])
def test_a_task_that_is_not_finite_is_skipped_whole(isotropic):
    """In every tensor, though only one of them got the bad gradient."""
    results = []
    for bad in (False, True):
        model, kind, meta = learning(isotropic=isotropic)
        one_task(meta, model, kind)
        if bad:
            with meta.task() as optimizer:
                for p in model.parameters():
                    p.grad = torch.ones_like(p)
                model[0].bias.grad[2] = torch.nan
                optimizer.step()
        one_task(meta, model, kind)
        meta.step(0.5)
        assert (meta.n_tasks, meta.n_skipped) == (2, int(bad))
        results.append(meta)
    for one, two in zip(*(m.learners for m in results), strict=True):
        np.testing.assert_array_equal(one.phi, two.phi)
        np.testing.assert_array_equal(one.b, two.b)
    assert np.isfinite(flat(results[1].parameters)).all()


def test_gradients_of_before_do_not_enter_a_task():
    model, kind, meta = learning()
    loss_of(model, *batch(kind)).backward()
    with meta.task() as optimizer:
        assert all(p.grad is None for p in model.parameters())
        with pytest.warns(UserWarning, match=r"TaskOptimizer.step: a parameter must have a gradie"):
            optimizer.step()  # nothing to do
    assert (meta.statistics().grad_sq == 0).all()


@pytest.mark.parametrize("way", [through_dict, through_file])
@pytest.mark.parametrize("named", [False, True])
def test_another_layer_frozen_is_another_state(way, named, tmp_path):
    model, meta = two_layers([0], named)
    other_model, other = two_layers([1], named)
    before = flat(other_model.parameters())
    with pytest.raises(ValueError, match="is refused: its parameters are "):
        way(meta, tmp_path)(other)
    np.testing.assert_array_equal(flat(other_model.parameters()), before)
    way(meta, tmp_path)(two_layers([0], named)[1])
    if named:  # the head alone, under the name that it has in a compiled model
        alone = [(f"_orig_mod.{n}", p) for n, p in model.named_parameters() if p.requires_grad]
        way(meta, tmp_path)(smoothed_optimizer(alone, learning_rate=0.1))


@pytest.mark.parametrize("isotropic", [False, "tensor"])
def test_a_checkpoint_of_before_loads(isotropic, tmp_path):
    """It told the shapes of what is learned, and not which parameters; more rules may have come."""
    model, kind, meta = learning(isotropic=isotropic)
    train(meta, model, kind)
    one_task(meta, model, kind)
    arrays, layout = meta._flat.export(), meta._layout()
    del layout["parameters"]
    for _, hyper in layout["blocks"]:
        del hyper["max_learning_rate"]
    checkpoint.write(tmp_path / "old.safetensors", arrays, layout, "MetaOptimizer")
    state = {"state": meta.state_dict()["state"], "layout": layout}
    for load in (
        lambda m: m.load(tmp_path / "old.safetensors"),
        lambda m: m.load_state_dict(state),
    ):
        _, _, other = learning(seed=1, isotropic=isotropic)
        load(other)
        for name, values in arrays.items():
            np.testing.assert_array_equal(other._flat.export()[name], values)


@pytest.mark.parametrize("name", ["optimizer-1.safetensors", "optimizer-1.pt"])
def test_files_of_every_version_load_for_ever(name):
    """As the first version wrote them: two tasks of two steps on (w - target)^2 / 4."""
    path = Path(__file__).parent / "data" / name
    weight = torch.nn.Parameter(torch.zeros(2))
    meta = smoothed_optimizer([weight], learning_rate=0.5, decay=0.25)
    if path.suffix == ".pt":
        meta.load_state_dict(torch.load(path, weights_only=True))
    else:
        meta.load(path)
    assert weight.tolist() == [0.875, 1.75]
    assert meta.n_tasks == 2


def test_a_state_of_a_newer_version_is_refused():
    _, _, meta = learning()
    state = meta.state_dict()
    assert state["version"] == 1
    with pytest.raises(ValueError, match=r"has format version 2, .*install a newer aruba_fast"):
        meta.load_state_dict(state | {"version": 2})


@pytest.mark.parametrize("damage", ["truncated", "flipped", "learner", "missing"])
def test_a_damaged_file_changes_nothing(damage, tmp_path):
    model, kind, meta = learning()
    train(meta, model, kind)
    path = tmp_path / "meta.safetensors"
    meta.save(path)
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(data[:-9])
    elif damage == "flipped":
        data[-100] ^= 1
        path.write_bytes(data)
    elif damage == "learner":
        smoothed(np.zeros(75, np.float32)).save(path)
    else:
        path.unlink()
    before = meta.state_dict()["state"]
    message = "MetaOptimizer.load: `path` must be a checkpoint of this MetaOptimizer: got"
    expected = FileNotFoundError if damage == "missing" else ValueError
    with pytest.raises(expected, match=None if damage == "missing" else re.escape(message)):
        meta.load(path)
    for key, value in meta.state_dict()["state"].items():
        np.testing.assert_array_equal(value, before[key])
