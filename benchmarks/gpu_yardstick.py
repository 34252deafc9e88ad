"""What the memory of a device gives: kernels that do nothing but move it, and its data sheet.

`cudaMemcpyAsync` is no yardstick: on large devices it reaches 70 % of the data sheet where a kernel
reaches 92. So the copy and the triad are kernels of this suite, in every variant of how much a
thread has on the way, and the fastest variant counts, for each size anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

THREADS = 256
# Each thread moves this many times 16 bytes, all loads before the first store; with the hint that
# nothing will be used again, or without.
VARIANTS = [(items, streaming) for items in (1, 2, 4, 8, 16) for streaming in (0, 1)]
SOURCE = """
#if STREAMING
#define LOAD(p) __ldcs(p)
#define STORE(p, v) __stcs(p, v)
#else
#define LOAD(p) (*(p))
#define STORE(p, v) (*(p) = (v))
#endif

extern "C" __global__ void __launch_bounds__(256)
copy(const float4* __restrict__ a, float4* __restrict__ out, long long n) {
  const long long first = blockIdx.x * (256LL * ITEMS) + threadIdx.x;
  float4 held[ITEMS];
#pragma unroll
  for (int i = 0; i < ITEMS; ++i)
    if (first + 256 * i < n) held[i] = LOAD(a + first + 256 * i);
#pragma unroll
  for (int i = 0; i < ITEMS; ++i)
    if (first + 256 * i < n) STORE(out + first + 256 * i, held[i]);
}

extern "C" __global__ void __launch_bounds__(256)
triad(const float4* __restrict__ a, const float4* __restrict__ b, float4* __restrict__ out,
      long long n) {
  const long long first = blockIdx.x * (256LL * ITEMS) + threadIdx.x;
  float4 x[ITEMS], y[ITEMS];
#pragma unroll
  for (int i = 0; i < ITEMS; ++i)
    if (first + 256 * i < n) {
      x[i] = LOAD(a + first + 256 * i);
      y[i] = LOAD(b + first + 256 * i);
    }
#pragma unroll
  for (int i = 0; i < ITEMS; ++i)
    if (first + 256 * i < n) {
      x[i].x += 0.5f * y[i].x;
      x[i].y += 0.5f * y[i].y;
      x[i].z += 0.5f * y[i].z;
      x[i].w += 0.5f * y[i].w;
      STORE(out + first + 256 * i, x[i]);
    }
}
"""
# Arrays that each kernel moves: those it reads, and the one it writes.
ARRAYS = {"copy": 2, "triad": 3}

# GB/s of NVIDIA's data sheets, by what the driver calls the device; the first that fits counts.
PEAKS = {
    "B200": 8000.0,
    "H200": 4800.0,
    "GH200 480GB": 4000.0,
    "H100 NVL": 3938.0,
    "H100 PCIe": 2000.0,
    "H100": 3350.0,
    "A100-PCIE-40GB": 1555.0,
    "A100-SXM4-40GB": 1555.0,
    "A100 80GB PCIe": 1935.0,
    "A100-SXM4-80GB": 2039.0,
    "V100": 900.0,
    "T4": 320.0,
    "L40S": 864.0,
    "L4": 300.0,
    "A10G": 600.0,
    "RTX 5090": 1792.0,
    "RTX 4090": 1008.0,
    "RTX 3090 Ti": 1008.0,
    "RTX 3090": 936.0,
}


def peak(name: str, clock_khz: int, bus_bits: int) -> float | None:
    """GB/s of the data sheet; of a device that is not listed, twice its memory clock; or None."""
    for known, speed in PEAKS.items():
        if known in name:
            return speed
    return 2e3 * clock_khz * bus_bits / 8 / 1e9 or None


class Kernels:
    """The yardsticks on a device.

    Args:
        cupy: CuPy.
        seconds: Times a number of calls of a function.
    """

    def __init__(self, cupy: Any, seconds: Callable[[Callable[[], object], int], float]) -> None:
        self._cupy, self._seconds = cupy, seconds
        self._functions: dict[tuple[str, int, int], Any] = {}

    def fastest(self, kind: str, n_bytes: int) -> Callable[[], object]:
        """The kernel that moves so many bytes, read and written together, in its best variant."""
        n = max(1, n_bytes // (16 * ARRAYS[kind]))
        arrays = [self._cupy.zeros(4 * n, np.float32) for _ in range(ARRAYS[kind])]
        runs = dict(self._variants(kind, arrays, n))
        for run in runs.values():
            run()
        times = {
            variant: min(self._seconds(run, 3) for _ in range(3)) for variant, run in runs.items()
        }
        return runs[min(times, key=lambda variant: times[variant])]

    def _variants(
        self, kind: str, arrays: list[Any], n: int
    ) -> Iterator[tuple[tuple[int, int], Callable[[], object]]]:
        for items, streaming in VARIANTS:
            function = self._function(kind, items, streaming)
            blocks = -(-n // (THREADS * items))
            given = (*arrays, np.int64(n))
            yield (
                (items, streaming),
                lambda function=function, blocks=blocks, given=given: function(
                    (blocks,), (THREADS,), given
                ),
            )

    def _function(self, kind: str, items: int, streaming: int) -> Any:
        key = (kind, items, streaming)
        if key not in self._functions:
            options = (f"-DITEMS={items}", f"-DSTREAMING={streaming}")
            module = self._cupy.RawModule(code=SOURCE, options=options)
            self._functions[key] = module.get_function(kind)
        return self._functions[key]
