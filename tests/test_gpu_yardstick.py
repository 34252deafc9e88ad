"""The yardsticks of the GPU benchmarks: what their kernels move, and the data sheets."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import gpu_yardstick
from gpu_yardstick import ARRAYS, SOURCE, THREADS, VARIANTS, Kernels, peak

# What the kernels need of CUDA, for threads that run one after another: none waits for another.
SHIM = """
#define __global__
#define __launch_bounds__(n)
#define __restrict__
struct float4 { float x, y, z, w; };
struct Index { long long x; };
static Index blockIdx, threadIdx;
static float4 __ldcs(const float4* p) { return *p; }
static void __stcs(float4* p, float4 v) { *p = v; }
"""
RUN = """
extern "C" void run(int kind, const float4* a, const float4* b, float4* out, long long n,
                    int blocks) {
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x)
    for (threadIdx.x = 0; threadIdx.x < 256; ++threadIdx.x)
      kind ? triad(a, b, out, n) : copy(a, out, n);
}
"""


@pytest.fixture(scope="module", params=VARIANTS, ids=str)
def kernels(request, tmp_path_factory):
    """Both kernels of a variant, compiled for the CPU."""
    compiler = shutil.which("g++") or pytest.skip("no g++")
    items, streaming = request.param
    file = tmp_path_factory.mktemp("yardstick") / "kernels.so"
    command = [compiler, "-x", "c++", "-", "-shared", "-fPIC", "-w", "-o", file]
    flags = [f"-DITEMS={items}", f"-DSTREAMING={streaming}"]
    subprocess.run([*command, *flags], input=SHIM + SOURCE + RUN, text=True, check=True)
    return items, ctypes.CDLL(str(file)).run


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("n", [1, 255, 257, 4096, 5001])
def test_each_number_is_moved_once_and_none_beyond_the_end(kernels, kind, n, rng):
    items, run = kernels
    a, b = rng.standard_normal((2, 4 * n), np.float32)
    out = np.full(4 * n + 4, np.float32(7))
    pointers = [ctypes.c_void_p(x.ctypes.data) for x in (a, b, out)]
    blocks = -(-n // (THREADS * items))
    run(list(ARRAYS).index(kind), *pointers, ctypes.c_longlong(n), blocks)
    expected = a if kind == "copy" else a + np.float32(0.5) * b
    np.testing.assert_array_equal(out[:-4], expected)
    assert (out[-4:] == 7).all()


class Cupy:
    """Counts what is launched."""

    zeros = staticmethod(np.zeros)

    def __init__(self):
        self.launched = []

    def RawModule(self, code, options):  # noqa: N802
        assert code is SOURCE
        launched = self.launched

        class Module:
            def get_function(self, kind):
                return lambda grid, block, given: launched.append(
                    (kind, options, grid, block, given)
                )

        return Module()


@pytest.mark.parametrize("kind", ARRAYS)
def test_the_fastest_variant_moves_as_many_bytes_as_asked(kind):
    cupy, n_bytes = Cupy(), 48_000_000

    def seconds(run, calls):
        assert calls
        run()
        return 1.0 if "-DITEMS=8" in cupy.launched[-1][1] else 2.0

    run = Kernels(cupy, seconds).fastest(kind, n_bytes)
    cupy.launched.clear()
    run()
    ((got, options, (blocks,), block, given),) = cupy.launched
    assert (got, options[0], block) == (kind, "-DITEMS=8", (THREADS,))
    *arrays, n = given
    assert sum(a.nbytes for a in arrays) == 16 * n * len(arrays) == n_bytes
    assert (blocks - 1) * THREADS * 8 < n <= blocks * THREADS * 8


@pytest.mark.parametrize(
    ("name", "speed"),
    [
        ("NVIDIA H200", 4800.0),
        ("NVIDIA H100 80GB HBM3", 3350.0),
        ("NVIDIA H100 PCIe", 2000.0),
        ("NVIDIA L40S", 864.0),
        ("NVIDIA L4", 300.0),
        ("NVIDIA GeForce RTX 4090", 1008.0),
        ("NVIDIA Unheard-of", 4917.0),
    ],
)
def test_the_data_sheet_is_that_of_the_device(name, speed):
    assert peak(name, 3_201_000, 6144) == pytest.approx(speed, rel=1e-3)
    assert peak("Unknown", 0, 0) is None
    assert all(gpu_yardstick.PEAKS.values())
