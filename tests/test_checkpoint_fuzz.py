"""Random files: the reader refuses or loads and never crashes; ARUBA_FUZZ_SECONDS sets how long."""

from __future__ import annotations

import json
import os
import time
import warnings

import numpy as np
from checkpoints import header_of, state
from safetensors.numpy import load

import aruba_fast as af
from aruba_fast import checkpoint

FUZZ_SECONDS = float(os.environ.get("ARUBA_FUZZ_SECONDS", "2"))


def load_or_value_error(path, data):
    path.write_bytes(data)
    try:
        return af.MetaLearner.load(path)
    except ValueError as error:
        if not str(error).startswith("MetaLearner.load:"):
            raise
        return None


def test_random_bytes_never_crash_the_reader(tmp_path):
    """Bytes of no structure, then bytes behind a plausible header length."""
    rng, path, count = np.random.default_rng(0), tmp_path / "x", 0
    until = time.monotonic() + FUZZ_SECONDS
    while time.monotonic() < until:
        data = rng.bytes(int(rng.integers(0, 300)))
        if count % 2:
            data = int(rng.integers(0, 80)).to_bytes(8, "little") + b'{"' + data
        assert load_or_value_error(path, data) is None
        count += 1
    assert count > 100


def test_random_mutations_are_refused_or_change_nothing(good):
    """Flipped, removed, repeated bytes of a valid file: no changed number is ever taken for one."""
    path, data = good
    expected, rng, refused = state(af.MetaLearner.load(path)), np.random.default_rng(1), 0
    until = time.monotonic() + FUZZ_SECONDS / 4
    while time.monotonic() < until:
        spoiled = bytearray(data)
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(spoiled)))
            kind = rng.integers(3)
            if kind == 0:
                spoiled[at] ^= 1 << int(rng.integers(8))
            elif kind == 1:
                del spoiled[at : at + int(rng.integers(1, 9))]
            else:
                spoiled[at:at] = spoiled[at : at + int(rng.integers(1, 9))]
        learner = load_or_value_error(path, bytes(spoiled))
        refused += learner is None
        assert learner is None or state(learner) == expected
    assert refused > 50


def test_well_formed_files_of_nonsense_are_refused_or_load_a_working_learner(good):
    """Random values behind a valid checksum: what loads must then learn, and stay finite."""
    path, data = good
    rng, loaded, refused = np.random.default_rng(2), 0, 0
    metadata = json.loads(header_of(data)[0]["__metadata__"]["aruba_fast"])
    values = (0.0, -1.0, 1e-300, 1e300, 0.5, 3.0, np.nan, np.inf, 2**40)
    until = time.monotonic() + FUZZ_SECONDS / 4
    # Every file is synced, which a busy disk takes its time for.
    while time.monotonic() < until or loaded + refused < 100:
        arrays, hyper = load(data), dict(metadata["hyperparameters"])
        for _ in range(int(rng.integers(1, 3))):
            name, value = rng.choice(sorted(arrays)), values[rng.integers(len(values))]
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                arrays[name][rng.integers(len(arrays[name]))] = np.asarray(value).astype(
                    arrays[name].dtype
                )
            if rng.random() < 0.2:
                hyper[rng.choice(["learning_rate", "zeta", "p", "decay"])] = value
        checkpoint.write(path, arrays, hyper)
        learner = load_or_value_error(path, path.read_bytes())
        loaded, refused = loaded + (learner is not None), refused + (learner is None)
        if learner is not None:
            n_tasks, ones = learner.n_tasks, np.ones((2, 5), learner.phi.dtype)
            learner.update(af.TaskRun(ones, ones), meta_step=0.5)
            assert learner.n_tasks == n_tasks + 2
            assert np.isfinite([learner.phi, learner.b, learner.g, learner.learning_rate]).all()
    assert loaded > 10
    assert refused > 10
