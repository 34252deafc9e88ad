"""Saving, resuming and copying of `MetaOptimizer`, and tasks that fail."""

from __future__ import annotations

import copy
import io
import pickle
import re

import numpy as np
import pytest
from torch_models import (
    assert_same_bits,
    batch,
    flat,
    learning,
    loss_of,
    one_task,
    torch,
    train,
    trainable,
)

import aruba_fast as af
from aruba_fast import checkpoint
from aruba_fast.torch import MetaOptimizer


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
        optimizer.step()  # nothing to do
    assert (meta.statistics().grad_sq == 0).all()


def two_layers(frozen, named=False):
    """Equal layers, one of which may be frozen; parameters that are named or not."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    for i in frozen:
        model[i].requires_grad_(False)
    given = model.named_parameters() if named else model.parameters()
    return model, MetaOptimizer(given, learning_rate=0.1)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda pair: pickle.loads(pickle.dumps(pair)),
    "copy": lambda pair: (pair[0], copy.copy(pair[1])),
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize(
    ("at_first", "later"), [([], [0]), ([], [1]), ([0], [1]), ([1], [0]), ([0], []), ([0, 1], [])]
)
def test_what_is_learned_was_decided_when_it_was_made(way, at_first, later):
    """Freezing a layer, or another one than before, takes nobody's phi to somebody else."""
    if len(at_first) == 2:
        at_first, later = [], [0, 1]
    model, meta = two_layers(at_first)
    for i in range(2):
        model[i].requires_grad_(i not in later)
    before = [p.detach().clone() for p in model.parameters()]
    copied, other = COPIES[way]((model, meta))
    theirs = {id(p): name for name, p in copied.named_parameters()}
    ours = {id(p): name for name, p in model.named_parameters()}
    assert [theirs[id(p)] for p in other.parameters] == [ours[id(p)] for p in meta.parameters]
    other.restore()
    for p, q in zip(copied.parameters(), before, strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("way", [through_dict, through_file])
@pytest.mark.parametrize("named", [False, True])
def test_another_layer_frozen_is_another_state(way, named, tmp_path):
    model, meta = two_layers([0], named)
    other_model, other = two_layers([1], named)
    before = flat(other_model.parameters())
    with pytest.raises(ValueError, match="is refused: its learned are"):
        way(meta, tmp_path)(other)
    np.testing.assert_array_equal(flat(other_model.parameters()), before)
    way(meta, tmp_path)(two_layers([0], named)[1])
    if named:  # the head alone, under the name that it has in a compiled model
        alone = [(f"_orig_mod.{n}", p) for n, p in model.named_parameters() if p.requires_grad]
        way(meta, tmp_path)(MetaOptimizer(alone, learning_rate=0.1))


@pytest.mark.parametrize("isotropic", [False, "tensor"])
def test_a_checkpoint_of_before_loads(isotropic, tmp_path):
    """It told the shapes of what is learned, and not which parameters these are."""
    model, kind, meta = learning(isotropic=isotropic)
    train(meta, model, kind)
    one_task(meta, model, kind)
    arrays, layout = meta._flat.export(), meta._layout()
    del layout["learned"]
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


def test_a_pickle_of_before_loads():
    model, kind, meta = learning()
    train(meta, model, kind)
    names = ("defaults", "state", "param_groups", "_flat")
    state = {name: getattr(meta, name) for name in names}
    state["param_groups"] = [dict(group) for group in meta.param_groups]
    other = MetaOptimizer.__new__(MetaOptimizer)
    other.__setstate__(state)
    assert_same_bits(other.learners[0], meta.learners[0])
    one_task(other, model, kind)


def test_a_copy_has_a_state_of_its_own():
    model, kind, meta = learning()
    one_task(meta, model, kind)
    other = copy.copy(meta)
    other.step()
    assert (meta.n_tasks, other.n_tasks) == (0, 1)
    assert meta.statistics().n_tasks == 1
    assert all(p is q for p, q in zip(meta.parameters, other.parameters, strict=True))


@pytest.mark.parametrize("way", COPIES)
def test_what_a_subclass_holds_goes_along(way):
    class Mine(MetaOptimizer):
        def __init__(self, params, note, **hyper):
            self.note, self._seen = note, []
            super().__init__(params, **hyper)

    globals()["Mine"], Mine.__qualname__ = Mine, "Mine"  # where pickle looks for it
    model, kind, _ = learning()
    meta = Mine(model.parameters(), "a note", learning_rate=0.1)
    one_task(meta, model, kind)
    _, other = COPIES[way]((model, meta))
    assert (type(other), other.note, other._seen) == (Mine, "a note", [])
    assert vars(other).keys() ^ vars(meta).keys() <= {"_warned_capturable_if_run_uncaptured"}


def test_what_cannot_be_written_to_is_copied():
    """Arrays as joblib, Ray and Dask hand them over: outside of the pickle, and read-only."""
    model, kind, meta = learning()
    train(meta, model, kind)
    one_task(meta, model, kind)
    buffers = []
    data = pickle.dumps((model, meta), protocol=5, buffer_callback=buffers.append)
    assert len(buffers) > 5
    model2, meta2 = pickle.loads(data, buffers=[bytes(b.raw()) for b in buffers])
    for m, g in ((model, meta), (model2, meta2)):
        torch.manual_seed(1)
        train(g, m, kind)
    assert_same_bits(meta.learners[0], meta2.learners[0])


INFERENCE = {
    "made": lambda meta: MetaOptimizer(meta.parameters, learning_rate=0.1),
    "copied": copy.copy,
    "loaded": lambda meta: meta.load_state_dict(meta.state_dict()),
    "at meta-test": lambda meta: meta.optimizer(coef=0.5),
    "restored": lambda meta: meta.restore(),
    "adopted": lambda meta: meta.adopt(),
}


@pytest.mark.parametrize("name", ["mlp", "transposed"])
@pytest.mark.parametrize("what", INFERENCE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inference_mode_leaves_nothing_behind(what, name, dtype):
    results = []
    for mode in (False, True):
        model, kind, meta = learning(name, dtype=dtype)
        with torch.inference_mode(mode):
            made = INFERENCE[what](meta)
        meta = made if isinstance(made, MetaOptimizer) else meta
        train(meta, model, kind)
        results.append(meta.learners[0])
    assert_same_bits(*results)


def test_a_model_loaded_in_inference_mode_cannot_learn():
    """PyTorch makes its parameters so; what was learned can be read."""
    _, _, meta = learning()
    with torch.inference_mode():
        other = copy.deepcopy(meta)
    assert_same_bits(other.learners[0], meta.learners[0])
    message = r"MetaOptimizer.task: `params\[0\]` must not be an inference tensor"
    with pytest.raises(ValueError, match=message), other.task():
        pass


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
        af.MetaLearner(np.zeros(75, np.float32)).save(path)
    else:
        path.unlink()
    before = meta.state_dict()["state"]
    message = "MetaOptimizer.load: `path` must be a checkpoint of this MetaOptimizer: got"
    expected = FileNotFoundError if damage == "missing" else ValueError
    with pytest.raises(expected, match=None if damage == "missing" else re.escape(message)):
        meta.load(path)
    for key, value in meta.state_dict()["state"].items():
        np.testing.assert_array_equal(value, before[key])
