"""The library as a guest in a process: forks, Python threads, limits on threads, import."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import threadpoolctl
import workload
from cases import smoothed

import aruba_fast as af


def run_python(code, *arguments, timeout=120, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def some_work():
    """Everything parallel, small enough to repeat."""
    with np.errstate(all="ignore"):
        rng = np.random.default_rng(3)
        tasks = workload.tasks_for("logistic", rng, 9, np.float32, n_tasks=400)
        learner = smoothed(np.zeros(9, np.float32))
        history = af.meta_train(tasks, learner, loss="logistic", round_size=100, n_passes=2)
        run = af.run_tasks(tasks, learner.phi, learner.rule(coef=0.1), loss="logistic")
        theta = np.ones(200_000, np.float32)
        af.step(theta, np.full(200_000, 0.3, np.float32), 0.1)
        return workload.fingerprint(
            history.loss, learner.phi, learner.b, learner.g, run.theta_hat, run.grad_sq, theta
        )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:.*fork.*:RuntimeWarning")
def test_fork_after_use(threads):
    """The child's OpenMP has lost its threads: it must run, serially, with the same bits."""
    threads(2)
    expected = some_work()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # no pytest in here: only the work, the answer, and the end
        signal.alarm(60)
        answer = f"{some_work()} {af.get_num_threads()}"
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    _, status = os.waitpid(child, 0)
    answer = os.read(read, 200).decode()
    os.close(read)
    assert status == 0, "the child hung or crashed"
    assert answer == f"{expected} 1"
    assert some_work() == expected
    assert af.get_num_threads() == 2


USED_ELSEWHERE = """
import ctypes, os, signal, sys
import numpy as np
if sys.argv[1] == "before":
    import aruba_fast as af
# Another library's region of two threads, in the OpenMP runtime that is ours too.
runtime = ctypes.CDLL("libgomp.so.1")
nothing = ctypes.cast(ctypes.CDLL(None).abs, ctypes.c_void_p)
runtime.GOMP_parallel(nothing, None, 2, 0)
child = os.fork()
if child == 0:
    signal.alarm(30)
    import aruba_fast as af
    theta = np.zeros(1 << 20, np.float32)
    af.step(theta, np.ones(1 << 20, np.float32), 0.5)
    assert (theta == -0.5).all() and af.get_num_threads() == 1
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="names GNU's OpenMP runtime")
@pytest.mark.parametrize("imported", ["before", "after"])
def test_fork_after_another_library_used_the_runtime(imported):
    """Imported before the fork, but not used; or in the child, where the threads are gone too."""
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        pytest.skip("no libgomp")
    assert run_python(USED_ELSEWHERE, imported, ARUBA_NUM_THREADS="") == "0\n"


def test_eight_python_threads_at_once(threads):
    threads(2)
    expected = some_work()
    gate = threading.Barrier(8)

    def at_once(_):
        gate.wait()
        return [some_work() for _ in range(3)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(at_once, range(8)))
    assert {value for values in found for value in values} == {expected}


def test_the_interpreter_is_released_during_native_work():
    """Another Python thread advances while a long task runs."""
    tasks = af.Tasks(np.ones((200_000, 8)), np.ones(200_000), [0, 200_000])
    worker = threading.Thread(
        target=af.run_tasks,
        args=(tasks, np.zeros(8), af.OGD(1e-3)),
        kwargs={"loss": "logistic", "n_epochs": 20},
    )
    worker.start()
    ticks = 0
    while worker.is_alive():
        time.sleep(0.001)
        ticks += 1
    assert ticks > 20


@pytest.mark.skipif(not af.info()["openmp"], reason="built without OpenMP")
def test_threadpoolctl_governs_the_threads():
    for limit in (1, 2):
        with threadpoolctl.threadpool_limits(limit, user_api="openmp"):
            assert af.get_num_threads() <= limit
            assert af.info()["threads"] <= limit
    libraries = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "openmp"]
    assert libraries


def test_environment_variables_set_the_threads():
    code = "import aruba_fast as af; print(af.get_num_threads())"
    assert run_python(code, ARUBA_NUM_THREADS="3") == "3\n"
    assert run_python(code, OMP_NUM_THREADS="1", ARUBA_NUM_THREADS="") == "1\n"


@pytest.mark.parametrize(
    "n", ["2.5", "abc", "-3", "0", "100000", "4097", "1e3", "3 4", "99999999999", "+"]
)
def test_a_number_of_threads_that_is_none_is_refused_once(n):
    code = """
import sys
for _ in range(2):
    try:
        import aruba_fast
    except ValueError as error:
        print(error)
"""
    sentence = (
        f"ARUBA_NUM_THREADS must be a whole number from 1 to 4096, or not be set: got '{n}'\n"
    )
    assert run_python(code, ARUBA_NUM_THREADS=n) == 2 * sentence


def test_numbers_of_threads_that_are_some():
    code = "import aruba_fast as af; print(af.get_num_threads())"
    for text in ("4096", " 7 ", "007"):
        assert run_python(code, ARUBA_NUM_THREADS=text) == f"{int(text)}\n"


def test_an_unknown_instruction_set_is_an_exception_not_the_end():
    """It is looked at where it can be refused: not within a parallel region."""
    code = """
try:
    import aruba_fast
except ValueError as error:
    print(error)
"""
    found = run_python(code, ARUBA_ISA="typo", ARUBA_NUM_THREADS="2")
    assert found.startswith(
        "ARUBA_ISA must name an instruction set of this processor: got typo, expected one of "
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_memory_does_not_grow_with_threads_that_have_nothing_to_do():
    """One task of 2e6 parameters: 16 MB each for theta, its sums, rates, dampings and results."""
    code = """
import resource, sys
import numpy as np, aruba_fast as af
af.set_num_threads(int(sys.argv[1]))
d = 2_000_000
tasks = af.Tasks(np.ones((1, d)) / d, np.ones(1), offsets=[0, 1])
rule, phi = af.OGD(0.1), np.zeros(d)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run = af.run_tasks(tasks, phi, rule, loss="squared")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
assert abs(run.loss[0] - 0.5) < 1e-12
"""
    for n in ("1", "8", "4096"):
        assert int(run_python(code, n)) < 6 * 16 + 20


def test_none_gives_the_default_back(threads):
    default = af.get_num_threads()
    threads(5)
    assert (af.get_num_threads(), af.info()["threads"]) == (5, 5)
    threads(None)
    assert af.get_num_threads() == default


def test_import_is_light_and_starts_no_threads():
    """Nothing heavier than NumPy, imported first; a sanitizer may have its own thread."""
    heavy = "scipy matplotlib torch jax cupy numba pandas safetensors tqdm rich typer ml_dtypes"
    code = (
        "import sys, os, numpy; tasks = '/proc/self/task'; "
        "count = lambda: len(os.listdir(tasks)) if os.path.isdir(tasks) else 1; before = count(); "
        "import aruba_fast; "
        f"print([m for m in {heavy.split()} if m in sys.modules], count() - before)"
    )
    assert run_python(code) == "[] 0\n"


@pytest.mark.timing
@pytest.mark.skipif("ARUBA_SANITIZED" in os.environ, reason="sanitizers take their own time")
def test_import_takes_hardly_longer_than_numpys():
    """Processor time, in turns, the best of nine: at most 1.2 of NumPy's, with that in it."""
    show = "import time; start = time.process_time(); import {}; print(time.process_time() - start)"
    modules = ("numpy", "numpy, aruba_fast")
    turns = [[float(run_python(show.format(m))) for m in modules] for _ in range(9)]
    numpys, ours = np.min(turns, axis=0)
    assert ours <= 1.2 * numpys


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_import_touches_no_cuda_library():
    code = (
        "import aruba_fast, sys; aruba_fast.MetaLearner; print(*sys.modules); "
        "print(open('/proc/self/maps').read())"
    )
    modules, maps = run_python(code).split("\n", 1)
    assert "aruba_fast._cuda" not in modules.split()
    assert "aruba_fast._core" in modules.split()
    assert [
        line for line in maps.splitlines() if re.search("libcuda|cudart|nvrtc|_cuda[.]", line)
    ] == []


def test_cupy_imports_beside_us_without_a_driver():
    pytest.importorskip("cupy", reason="pip install 'aruba_fast[cuda13]'")
    code = "import aruba_fast as af, cupy; print(af.info()['cuda']['problem'] is None)"
    assert run_python(code) in ("True\n", "False\n")


def test_version_and_info_agree():
    from importlib.metadata import version

    found = af.info()
    assert set(found) == {"version", "isa", "isas", "threads", "openmp", "compiler", "cuda"}
    assert found["version"] == af.__version__ == version("aruba_fast")
    assert found["isa"] in found["isas"]
    assert found["threads"] == af.get_num_threads() >= 1
