"""Objects that are copied, pickled, moved, saved, compared: nothing is lost, nothing shared."""

from __future__ import annotations

import copy
import io
import itertools
import pickle

import device
import numpy as np
import pytest
from cases import smoothed
from checkpoints import state

import aruba_fast as af


class Named(af.MetaLearner):
    """A user's learner, with attributes in its dictionary and in slots."""

    __slots__ = ("__private", "slot")
    kind = "of the class"

    def __init__(self, phi, name):
        super().__init__(phi, learning_rate=0.25)
        self.name, self.slot, self.notes = name, 3, {"a": [1, 2.5, None, True]}
        self.__private = "mine"

    def private(self):
        return self.__private


class NamedStatistics(af.TaskStatistics):
    pass


class NamedRule(af.OGD):
    pass


def learner():
    one = Named(np.linspace(0, 1, 5, dtype=np.float32), "somebody")
    one.update(run())
    one.kind = "of the instance"
    return one


def run():
    return af.TaskRun(np.full((2, 5), 0.5, np.float32), np.ones((2, 5), np.float32))


def statistics():
    sums = smoothed(np.zeros(5, np.float32)).statistics(run())
    one = NamedStatistics(sums.sums, sums.weight_sum, sums.n_tasks, sums.n_skipped)
    object.__setattr__(one, "name", "somebody")
    return one


def out_of_band(one):
    """As joblib, Ray and Dask hand objects over: arrays in buffers that are read-only."""
    buffers = []
    data = pickle.dumps(one, protocol=5, buffer_callback=buffers.append)
    frozen = [bytes(memoryview(b.raw())) for b in buffers]
    return pickle.loads(data, buffers=frozen)


def mapped(one, folder):
    """A file of joblib's, mapped into memory."""
    joblib = pytest.importorskip("joblib", reason="pip install joblib")
    joblib.dump(one, folder / "object")
    return joblib.load(folder / "object", mmap_mode="r")


def saved(one, folder):
    one.save(folder / "learner")
    return type(one).load(folder / "learner")


WAYS = {
    "copy": lambda one, _: copy.copy(one),
    "deepcopy": lambda one, _: copy.deepcopy(one),
    **{
        f"pickle {p}": lambda one, _, p=p: pickle.loads(pickle.dumps(one, protocol=p))
        for p in range(2, pickle.HIGHEST_PROTOCOL + 1)
    },
    "out of band": lambda one, _: out_of_band(one),
    "mapped": mapped,
    "to": lambda one, _: one.to("cpu"),
    "save and load": saved,
}
every_way = pytest.mark.parametrize("way", WAYS)


@every_way
def test_a_learner_stays_what_it_is(way, tmp_path):
    one = learner()
    twin = WAYS[way](one, tmp_path)
    assert type(twin) is Named
    assert state(twin) == state(one)
    assert (twin.name, twin.slot, twin.notes) == ("somebody", 3, {"a": [1, 2.5, None, True]})
    assert (twin.private(), twin.kind) == ("mine", "of the instance")
    before = state(twin)
    one.update(run())
    assert state(twin) == before
    twin.update(run())
    assert state(twin) == state(one)
    for array in (twin._arrays[name] for name in twin._arrays):
        assert type(array) is np.ndarray


@every_way
def test_statistics_stay_what_they_are(way, tmp_path):
    if way == "save and load":
        pytest.skip("statistics are not saved")
    one = statistics()
    twin = WAYS[way](one, tmp_path)
    assert type(twin) is NamedStatistics
    assert twin.name == "somebody"
    assert repr(twin + twin) == repr(one + one)
    assert not twin.sums.flags.writeable
    both = [smoothed(np.zeros(5, np.float32)) for _ in range(2)]
    for each, sums in zip(both, (one, twin), strict=True):
        each.apply(sums)
    assert state(both[0]) == state(both[1])


RULES = {
    "OGD": lambda: af.OGD(0.1),
    "OGD of an array": lambda: af.OGD([0.1, 0.5]),
    "OGD of float32": lambda: af.OGD(np.array([0.25, 0.5], np.float32)),
    "AdaGrad": lambda: af.AdaGrad(0.1, 1e-8),
    "ARUBA++": lambda: af.ArubaPlusPlus(1.0, 2.0, 0.5),
    "ARUBA++ of arrays": lambda: af.ArubaPlusPlus([1.0, 4.0], [1.0, 9.0], 0.1),
    "ARUBA++ of both": lambda: af.ArubaPlusPlus([1.0, 4.0], 2.0, 0.1),
    "EG": lambda: af.EG(0.1),
    "a subclass": lambda: NamedRule(0.1),
    "learned": lambda: learner().rule(coef=None),
    "learned, with coef": lambda: learner().rule(0.5),
}


@every_way
@pytest.mark.parametrize("name", RULES)
def test_rules_are_values(name, way, tmp_path):
    one = RULES[name]()
    twin = one if way in ("to", "save and load") else WAYS[way](one, tmp_path)
    assert twin == one == RULES[name]()
    assert hash(twin) == hash(one) == hash(RULES[name]())
    assert len({twin, one, RULES[name]()}) == 1
    assert {one: 1}[twin] == 1
    assert type(twin) is type(one)
    for value in vars(twin).values():
        assert isinstance(value, float) or not value.flags.writeable


def test_different_rules_are_different():
    more = [
        af.OGD(0.2), af.OGD([0.1, 0.25]), af.OGD([0.1]), af.OGD([0.1, 0.1]), af.OGD([0.1, 0.5, 1]),
        af.OGD(np.array([0.1, 0.5], np.float32)), af.AdaGrad(0.1, 1e-9), af.EG(0.2), 0.1, None,
        af.ArubaPlusPlus(1.0, 2.0, 0.25), af.ArubaPlusPlus([1.0, 1.0], 2.0, 0.5), np.ones(2),
    ]  # fmt: skip
    everything = [make() for make in RULES.values()] + more
    for one, other in itertools.combinations(everything, 2):
        if not (isinstance(one, np.ndarray) or isinstance(other, np.ndarray)):
            assert one != other


def test_equal_numbers_of_other_types_are_equal():
    pairs = [
        (af.OGD(1), af.OGD(1.0)),
        (af.OGD(0.0), af.OGD(-0.0)),
        (af.OGD([0.0, 0.5]), af.OGD(np.array([-0.0, 0.5], np.float32))),
        (af.OGD([1, 2]), af.OGD(np.array([1.0, 2.0]))),
        (af.ArubaPlusPlus(1, [2], 0), af.ArubaPlusPlus(1.0, np.array([2.0], "f4"), 0.0)),
    ]
    for one, other in pairs:
        assert one == other
        assert hash(one) == hash(other)


def test_rules_on_a_device_are_values_too():
    device.require()
    with device.installed():
        there = [af.OGD(device.array(np.array([0.1, v]))) for v in (0.5, 0.5, 0.25)]
        assert there[0] == there[1] != there[2]
        assert hash(there[0]) == hash(there[1])
        assert there[0] != af.OGD([0.1, 0.5])
        assert copy.deepcopy(there[0]) == there[0]


def test_what_a_file_cannot_hold_is_named(tmp_path):
    one = learner()
    one.log, one.pair = io.StringIO(), (1, 2)
    with pytest.warns(UserWarning, match=r"Named.save: the attributes log, pair are left out"):
        one.save(tmp_path / "x")
    again = Named.load(tmp_path / "x")
    assert again.name == "somebody"
    assert not hasattr(again, "log")
    assert state(again) == state(one)


def test_pickles_of_before_attributes_were_kept_load():
    one = smoothed(np.ones(3))
    hyper, arrays, *_ = one.__getstate__()
    for old in ((hyper, arrays), ({}, arrays), (hyper, arrays, {})):
        again = af.MetaLearner.__new__(af.MetaLearner)
        again.__setstate__(old)
        assert state(again) == state(one)
    with pytest.raises(ValueError, match=r"momentum.*this version does not know"):
        again.__setstate__(({**hyper, "momentum": 0.9}, arrays))


def test_arrays_of_the_other_byte_order_are_turned():
    one = learner()
    hyper, arrays, *later = one.__getstate__()
    swapped = {name: array.astype(array.dtype.newbyteorder("S")) for name, array in arrays.items()}
    again = Named.__new__(Named)
    again.__setstate__((hyper, swapped, *later))
    assert state(again) == state(one)
