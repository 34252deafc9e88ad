"""The real _cuda without a driver: it imports, and every entry says what is missing."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SENTENCE = re.compile(
    r"^[\w.]+: a CUDA device must be usable: got .+, expected an NVIDIA driver and GPU$"
)

# CuPy's own arrays, over host memory: no driver is asked for one.
PRELUDE = """
import json, os, sys
import numpy as np
import aruba_fast as af
os.environ["CUPY_CUDA_ARRAY_INTERFACE_EXPORT_VERSION"] = "2"
import cupy

def device_array(*shape, dtype=np.float32):
    values = np.ones(shape, dtype)
    memory = cupy.cuda.UnownedMemory(values.ctypes.data, values.nbytes, values, device_id=0)
    return cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(memory, 0))

def error_of(call):
    try:
        call()
    except Exception as error:
        return [type(error).__name__, str(error), isinstance(error, RuntimeError)]
    return ["nothing", "", False]
"""
ENTRIES = """
from aruba_fast import _core, _cuda
a, table, n = device_array(4), device_array(2, 4), device_array(2, dtype=np.int64)
data = (table, device_array(2), n, n, None, None)
hyper = dict(learning_rate=1.0, zeta=1.0, p=1.0, decay=0.0, isotropic=False, max_learning_rate=None,
             average_task=True, tight=False)
state = lambda: _cuda.MetaState(dict(phi_master=a), **hyper)
entries = {
    "require_device": lambda: _cuda.require_device("step"),
    **{name: lambda step=getattr(_cuda, name), n=n: step(a, a, None, a, a, *[0.1] * (n - 1))
       for name, n in _core.step_rules().items()},
    "add_round": lambda: _cuda.add_round(table, table, a, None, (table, a, n)),
    "merge_statistics": lambda: _cuda.merge_statistics((table, a, n), (table, a, n)),
    "MetaState": state,
    "check_labels": lambda: _cuda.check_labels("run_tasks", a, "squared", 1),
    "run_tasks": lambda: _cuda.run_tasks(
        data, a, ("ogd", 0.1), ("squared", 1, 1, None), (table, table, None, a)),
    # Cannot be reached without a MetaState, which there is none of.
    "meta_train": lambda: _cuda.meta_train(
        data, n, state(), ("squared", 1, 1, None), (1, False, None, None), (a, n)),
}
print(json.dumps({
    "offered": [k for k in dir(_cuda) if not k.startswith("_")],
    "info": _cuda.info(),
    "errors": {name: error_of(call) for name, call in entries.items()},
    "maps": open("/proc/self/maps").read(),
}))
"""
PUBLIC = """
a, table = device_array(4), device_array(2, 4)
calls = {
    "step": lambda: af.step(a, device_array(4), 0.1),
    "a list": lambda: af.step([a], [device_array(4)], 0.1),
    "aruba_step": lambda: af.aruba_step(a, a, a, device_array(4), coef=0.1),
    "adagrad_step": lambda: af.adagrad_step(a, a, device_array(4), learning_rate=0.1, delta=1.0),
    "MetaLearner": lambda: af.MetaLearner(a),
    "Tasks": lambda: af.Tasks(device_array(3, 2, 4), device_array(3, 2)),
}
print(json.dumps({name: error_of(call) for name, call in calls.items()}))
"""


@pytest.fixture(scope="module", autouse=True)
def _without_driver():
    if importlib.util.find_spec("aruba_fast._cuda") is None:
        assert "ARUBA_CUDA_GATES" not in os.environ, "make cuda-gates builds aruba_fast with CUDA"
        pytest.skip("this aruba_fast was built without CUDA: make cuda-gates builds and tests it")
    cupy = pytest.importorskip("cupy", reason="pip install aruba_fast[cuda13]")
    try:
        if cupy.cuda.runtime.getDeviceCount():
            pytest.skip("this machine has a driver and a device")
    except cupy.cuda.runtime.CUDARuntimeError:
        pass


def run(code):
    clean = {k: v for k, v in os.environ.items() if k != "ARUBA_TEST_DEVICE"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found():
    return run(PRELUDE + ENTRIES)


def test_every_entry_says_what_is_missing(found):
    # Nobody has a stream, an array for a plan, or a program of JAX that calls the entries.
    of_streams = {"Mark", "RelaxedCapture", "hold", "is_capturing", "wait_for"}
    tried = {*found["errors"], "info", "StepPlan", "entries"} | of_streams
    assert set(found["offered"]) == tried, "an entry that is not tried here"
    for name, (kind, message, is_runtime_error) in found["errors"].items():
        assert kind == "CudaError", (name, kind, message)
        assert is_runtime_error
        assert SENTENCE.match(message), (name, message)


def test_info_tells_without_raising(found):
    assert found["info"]["built"] is True
    assert found["info"]["devices"] == 0
    assert "driver" in found["info"]["problem"]


def test_the_runtime_is_linked_statically(found):
    assert "aruba_fast/_cuda" in found["maps"]
    ours = [line.split()[-1] for line in found["maps"].splitlines() if "cudart" in line]
    assert not [path for path in ours if "cupy" not in path], ours


def test_device_arrays_are_refused_with_the_reason():
    for name, (kind, message, _) in run(PRELUDE + PUBLIC).items():
        assert kind == "CudaError", (name, kind, message)
        assert "an NVIDIA driver" in message, (name, message)


def test_importing_the_package_loads_nothing_of_cuda():
    show = "json.dumps([*sys.modules, open('/proc/self/maps').read()])"
    *modules, maps = run(f"import json, sys, aruba_fast; print({show})")
    assert "aruba_fast._cuda" not in modules
    assert "cupy" not in modules
    assert not re.search(r"_cuda\.|libcuda|cudart|nvrtc", maps)


@pytest.mark.parametrize(
    "command", [["tools/gpu.sh"], [sys.executable, "benchmarks/gpu_report.py"]]
)
def test_what_needs_a_device_fails_with_the_reason(command):
    """`make gpu` and `make bench-gpu`."""
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no CUDA device can be used: cudaErrorInsufficientDriver" in done.stderr
