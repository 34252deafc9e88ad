"""Copies and pickles of `MetaOptimizer`: which parameters are learned, memory of their own."""

from __future__ import annotations

import copy
import pickle

import pytest
from torch_models import assert_same_bits, learning, one_task, torch, train, two_layers

from aruba_fast.torch import MetaOptimizer

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
    "at meta-test": lambda meta: meta.rule(coef=0.5),
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
