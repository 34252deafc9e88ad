"""Settings of the whole suite: hypothesis profiles, random generators, the number of threads."""

from __future__ import annotations

import gc
import os
import signal

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# A shell without job control starts its background jobs with Ctrl-C ignored, and children inherit
# that: the tests of Ctrl-C would wait forever.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A leak check that cannot be made ends a process with status 0, which a test would believe. Read
# at its start, the options of this process stay what they are.
if os.environ.get("ARUBA_SANITIZED") == "address" and "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["ASAN_OPTIONS"] += ":detect_leaks=0"
    os.environ.pop("LSAN_OPTIONS", None)  # its status would be that of every error

settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_collection_finish():
    """A million objects were imported by now: no collection of a test looks through them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def rng(request):
    """A generator of its own for every test, the same in every run."""
    return np.random.default_rng(list(request.node.name.encode()))


@pytest.fixture
def threads():
    """Sets the number of threads; the default comes back after the test."""
    import aruba_fast as af

    yield af.set_num_threads
    af.set_num_threads(None)


@pytest.fixture
def one_thread(threads):
    """PyTorch and the library on one: small networks only wait for others on a busy machine."""
    threads(1)
    try:
        import torch
    except ModuleNotFoundError:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def on_device():
    """A CUDA device to put arrays on, real or emulated: see device.py."""
    import device

    device.require()
    with device.installed():
        yield


@pytest.fixture
def good(tmp_path, rng):
    """A valid checkpoint: its path and its bytes."""
    from checkpoints import trained

    path = tmp_path / "learner.safetensors"
    trained(rng)[0].save(path)
    return path, path.read_bytes()
