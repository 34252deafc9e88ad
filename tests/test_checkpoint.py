"""Checkpoints: resume bit for bit; whatever happens to the file or the disk, nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import dtypes, smoothed
from checkpoints import HYPERPARAMETERS, header_of, state, trained
from safetensors.numpy import load, save

import aruba_fast as af
from aruba_fast import checkpoint


@dtypes
@pytest.mark.parametrize("hyper", HYPERPARAMETERS, ids=str)
def test_resumes_bit_for_bit(dtype, hyper, tmp_path, rng):
    learner, tasks = trained(rng, dtype, hyper)
    learner.update(af.TaskRun(np.full((1, 5), np.nan, dtype), np.ones((1, 5), dtype)))
    learner.save(tmp_path / "learner.safetensors")
    resumed = af.MetaLearner.load(tmp_path / "learner.safetensors")
    assert state(resumed) == state(learner)
    assert resumed.n_skipped == 1
    for one in (learner, resumed):
        af.meta_train(tasks, one, loss="squared", round_size=2, n_passes=2, seed=1, weights="rows")
    assert state(resumed) == state(learner)


def test_the_same_state_is_the_same_file(tmp_path, rng):
    learner, _ = trained(rng)
    for name in ("a", "b"):
        learner.save(str(tmp_path / name))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_a_fresh_learner_can_be_saved(tmp_path):
    smoothed(np.ones(2), learning_rate=0.5).save(tmp_path / "x")
    assert state(af.MetaLearner.load(tmp_path / "x")) == state(
        smoothed(np.ones(2), learning_rate=0.5)
    )


def with_header(data, change):
    """The file with a changed JSON header, its length set right again."""
    header, body = header_of(data)
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def with_metadata(**changes):
    def change(header):
        own = json.loads(header["__metadata__"]["aruba_fast"])
        own.update(changes)
        header["__metadata__"]["aruba_fast"] = json.dumps(own)

    return lambda data: with_header(data, change)


def with_arrays(**changes):
    """The file with some arrays replaced (None: left out), everything else as it was."""

    def rewrite(data):
        metadata = header_of(data)[0]["__metadata__"]
        arrays = {k: v for k, v in (load(data) | changes).items() if v is not None}
        return save(arrays, metadata=metadata)

    return rewrite


def with_hyperparameter(name, value):
    def change(header):
        own = json.loads(header["__metadata__"]["aruba_fast"])
        own["hyperparameters"][name] = value
        header["__metadata__"]["aruba_fast"] = json.dumps(own)

    return lambda data: with_header(data, change)


DAMAGE = {
    "empty": (lambda _: b"", "damaged"),
    "truncated header": (lambda data: data[:40], "damaged"),
    "truncated length": (lambda data: data[:5], "damaged"),
    "truncated body": (lambda data: data[:-1], "damaged"),
    "longer body": (lambda data: data + b"\0" * 8, "damaged"),
    "absurd length": (lambda data: b"\xff" * 8 + data[8:], "damaged"),
    "not JSON": (lambda data: data[:8] + b"?" + data[9:], "damaged"),
    "text": (lambda _: b"phi = 1, 2, 3\n", "damaged"),
    "pickle": (lambda _: b"\x80\x04}q\x00." + bytes(32), "damaged"),
    "foreign": (lambda _: save({"weight": np.ones(3)}), "not written by aruba_fast"),
    "future version": (with_metadata(version=999), "version 999.*newer aruba_fast"),
    "version zero": (with_metadata(version=0), "version 0"),
    "version of a wrong type": (with_metadata(version="1"), "version '1'"),
    "another kind": (with_metadata(kind="Tasks"), "Tasks"),
    "no hyperparameters": (with_metadata(hyperparameters=None), "hyperparameters"),
    "missing array": (with_arrays(b=None), "expected"),
    "extra array": (with_arrays(extra=np.ones(2)), "extra"),
    "wrong size": (with_arrays(g=np.ones(4)), "`g`"),
    "wrong type": (with_arrays(b=np.ones(5, np.float32)), "`b`"),
    "wrong number of dimensions": (with_arrays(phi=np.ones((5, 1), np.float32)), "`phi`"),
    "no parameters": (
        with_arrays(**{n: np.ones(0) for n in ("phi_master", "phi", "b", "g", "rate", "rho")}),
        "`phi`",
    ),
    "nan": (with_arrays(b=np.array([1.0, 1.0, np.nan, 1.0, 1.0])), "`b`.*nan"),
    "negative": (with_arrays(g=-np.ones(5)), "`g`"),
    "overflow in units of eps^2": (
        lambda data: with_arrays(b=np.full(5, 1e300))(
            with_hyperparameter("learning_rate", 1e100)(data)
        ),
        "`b`.*1e\\+300",
    ),
    "negative count": (with_arrays(counts=np.array([-1, 0])), "`counts`"),
    "nan hyperparameter": (with_hyperparameter("zeta", float("nan")), "zeta"),
    "negative hyperparameter": (with_hyperparameter("learning_rate", -1.0), "learning_rate"),
    "wrong hyperparameter type": (with_hyperparameter("decay", "0"), "decay"),
    "unknown hyperparameter": (
        with_hyperparameter("momentum", 0.9),
        r"\['momentum'\] of aruba_fast [\d.]+, which aruba_fast [\d.]+ does not know: install",
    ),
    "attributes that are none": (with_hyperparameter("attributes", [1]), "attributes.*list"),
    "an attribute in the way": (with_hyperparameter("attributes", {"update": 1}), "'update'"),
    "a private attribute": (with_hyperparameter("attributes", {"_lock": 1}), "'_lock'"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused_with_its_reason(damage, good):
    path, data = good
    spoil, reason = DAMAGE[damage]
    spoiled = spoil(data)
    assert spoiled != data
    path.write_bytes(spoiled)
    with pytest.raises(ValueError, match=reason) as caught:
        af.MetaLearner.load(path)
    assert str(caught.value).startswith("MetaLearner.load: `path` must be a checkpoint")
    assert str(path) in str(caught.value)
    assert path.read_bytes() == spoiled


def test_truncations_are_refused(good):
    path, data = good
    for length in [*range(0, len(data), 5), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="damaged"):
            af.MetaLearner.load(path)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file(call, good, monkeypatch):
    path, data = good
    learner, _ = trained(np.random.default_rng(99))

    def fails(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fails)
    if call == "replace":  # pathlib looks it up as os.replace or holds its own reference
        monkeypatch.setattr(type(path), "replace", fails)
    before = state(learner)
    with pytest.raises(OSError, match="space"):
        learner.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == data
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert state(learner) == before
    learner.save(path)
    assert state(af.MetaLearner.load(path)) == before


FULL_DISK = """
import errno, resource, signal, sys
import numpy as np, aruba_fast as af
learner = af.MetaLearner(np.ones(100_000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    learner.save(sys.argv[1])
except OSError as error:
    assert error.errno == errno.EFBIG, error
    print("refused")
"""


def test_a_write_that_stops_halfway_keeps_the_old_file(good):
    """The system itself refuses after 10 kB: the same as a disk that is full, seen from outside."""
    path, data = good
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")
    assert path.read_bytes() == data
    assert [p.name for p in path.parent.iterdir()] == [path.name]


# The files of tests/data, as their versions wrote them, are never written again.
WRITTEN_BY = {
    "learner-1-plain": (
        "float32",
        {},
        [0.625, 0.3125, 2.25],
        [0.6365315318107605, 1.511414885520935, 0.6193235516548157],
        [1.9583333333333333, 7.614583333333333, 2.333333333333333],
    ),
    "learner-1-all": (
        "float64",
        {
            "learning_rate": 0.25,
            "zeta": 2.0,
            "p": 0.4,
            "decay": 0.125,
            "isotropic": True,
            "max_learning_rate": 0.75,
        },
        [0.625, 0.3125, 2.25],
        [0.4806710373727693],
        [0.6669693245581133, 6.323219324558114, 1.0419693245581132],
    ),
}


@pytest.mark.parametrize("name", WRITTEN_BY)
def test_files_of_every_version_load_for_ever(name):
    dtype, hyper, phi, rate, b = WRITTEN_BY[name]
    learner = af.MetaLearner.load(Path(__file__).parent / "data" / f"{name}.safetensors")
    assert (learner.n_tasks, learner.n_skipped) == (2, 1)
    assert learner.phi.dtype == dtype
    assert (learner.phi.tolist(), np.ravel(learner.learning_rate).tolist()) == (phi, rate)
    assert learner.b.tolist() == b
    like = smoothed(np.zeros(3, dtype), **hyper)
    for key in ("initial_learning_rate", "zeta", "p", "decay", "isotropic", "max_learning_rate"):
        assert getattr(learner, key) == getattr(like, key)
    learner.update(af.TaskRun(np.ones((1, 3), dtype), np.ones((1, 3), dtype)))
    assert np.isfinite(learner.phi).all()


@pytest.mark.parametrize(
    "missing", ["learning_rate", "zeta", "p", "decay", "isotropic", "max_learning_rate"]
)
def test_a_hyperparameter_that_the_file_is_too_old_for_has_its_default(missing, tmp_path):
    """What the next one will find in the files of today."""
    defaults = smoothed(np.zeros(2))
    defaults.save(tmp_path / "x")
    arrays, values, _ = checkpoint.read(tmp_path / "x")
    del values[missing]
    checkpoint.write(tmp_path / "x", arrays, values)
    assert state(af.MetaLearner.load(tmp_path / "x")) == state(defaults)
