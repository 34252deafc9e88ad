"""The gates on machine code catch what they are there for: every kind of fault, planted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ARCHITECTURE, VIRTUAL = "sm_90", "arch=compute_90"
REQUIRED = "ARUBA_CUDA_GATES" in os.environ  # set by `make cuda-gates`: nothing is skipped there
pytestmark = pytest.mark.slow  # a compiler run each; the sanitizers have nothing to see here

# What every planted fault is planted in. Signature and name are those of a step kernel.
GOOD = """
extern "C" __global__ void __launch_bounds__(256)
step(float* theta, const float* grad, float rate, long long n) {
  const long long i = 4 * (blockIdx.x * (long long)blockDim.x + threadIdx.x);
  if (i + 4 > n) return;
  float4 at = *reinterpret_cast<const float4*>(theta + i);
  const float4 slope = *reinterpret_cast<const float4*>(grad + i);
  at.x = __fmaf_rn(-rate, slope.x, at.x);
  at.y = at.y - rate * slope.y;
  at.z = at.z / slope.z;
  at.w = sqrtf(at.w) * slope.w;
  *reinterpret_cast<float4*>(theta + i) = at;
}
"""
SPILLS = """
extern "C" __global__ void __launch_bounds__(1024, 2) tasks(float* x) {
  float a[64];
#pragma unroll
  for (int i = 0; i < 64; ++i) a[i] = x[i * 1024 + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 64; ++i) x[i * 1024 + threadIdx.x] = a[i] * a[63 - i];
}
"""
INDEXED = """
extern "C" __global__ void tasks(float* x, int k) {
  float a[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) a[i] = x[i];
  a[k] = 1;
  x[threadIdx.x] = a[threadIdx.x & 7] + a[k ^ 1];
}
"""
NARROW = """
extern "C" __global__ void step(float* theta, const float* grad, float rate) {
  theta[threadIdx.x] -= rate * grad[threadIdx.x];
}
"""
WITH_FMA = """
extern "C" __global__ void sum_chunks(double* sums, const double* x) {
  sums[threadIdx.x] = __fma_rn(x[threadIdx.x], x[threadIdx.x], sums[threadIdx.x]);
}
"""
GENERIC = """
extern "C" __global__ void __launch_bounds__(32) tasks(float* x, int k) {
  __shared__ float a[32];
  a[threadIdx.x] = x[threadIdx.x];
  (k ? a : x)[threadIdx.x ^ 1] = 1;
  x[32 + threadIdx.x] = a[threadIdx.x];
}
"""
ATOMIC = 'extern "C" __global__ void tasks(float* x) { atomicAdd(x, 1.0F); }'
# A pointer into either memory: the compiler cannot know which.
ANYWHERE = """
extern "C" __global__ void tasks(float* x, float y) {
  __shared__ float s[32];
  (y > 0 ? x : s)[threadIdx.x] = y;
  x[0] = s[1];
}
"""
# One of the kernels whose time is memory's, so full of shared memory that five warps fit.
STARVED = """
extern "C" __global__ void __launch_bounds__(32) merge_chunks(float* x) {
  __shared__ float a[10240];
  for (int i = threadIdx.x; i < 10240; i += 32) a[i] = x[i];
  __syncwarp();
  for (int i = threadIdx.x; i < 10240; i += 32) x[i] = a[10239 - i];
}
"""
PRINTS = '#include <cstdio>\nextern "C" __global__ void tasks(int* x) { printf("%d", *x); }'


def provided(script, *arguments):
    """The compiler that tools/nvcc.sh finds or, where it is required, brings."""
    if not REQUIRED and shutil.which("nvcc") is None:
        pytest.skip("no nvcc: make cuda-gates brings one")
    return subprocess.run(
        [ROOT / script, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture(scope="module")
def compile_cuda(tmp_path_factory):
    nvcc = provided("tools/nvcc.sh")
    if not list(Path(sys.prefix).glob("lib/python*/site-packages/nvidia/cu*/bin/cuobjdump")):
        assert not REQUIRED, "make cuda-gates installs aruba_fast[gates]"
        pytest.skip("no cuobjdump: pip install aruba_fast[gates]")
    made = {}

    def compile_source(source, *flags):
        if (source, flags) not in made:
            folder = tmp_path_factory.mktemp("gate")
            (folder / "planted.cu").write_text(source)
            command = [nvcc, "-std=c++20", "-c", "planted.cu", "-o", "planted.o"]
            command += flags or ["--fmad=false"]
            if not any(flag.startswith("-gencode") for flag in flags):
                command += [f"-gencode={VIRTUAL},code=[{ARCHITECTURE},compute_90]"]
            subprocess.run(command, cwd=folder, check=True)
            made[source, flags] = folder / "planted.o"
        return made[source, flags]

    return compile_source


def gate(file, table, *arguments, architecture=ARCHITECTURE):
    command = [sys.executable, ROOT / "tools/cuda_gates.py", file, "--table", table, *arguments]
    command += ["--architectures", *architecture.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, done.stdout


@pytest.fixture
def table(tmp_path, compile_cuda):
    """The table of GOOD, as --update writes it."""
    path = tmp_path / "resources.txt"
    code, said = gate(compile_cuda(GOOD), path, "--update")
    assert code == 0, said
    return path


def test_what_is_good_passes(compile_cuda, table):
    code, said = gate(compile_cuda(GOOD), table)
    assert code == 0
    assert "1 kernels x 1 architectures" in said
    assert " step\n" in table.read_text()


@pytest.mark.parametrize(
    ("source", "flags", "message"),
    [
        (SPILLS, (), "loads and stores of local memory (spills)"),
        (SPILLS, (), "bytes of stack"),
        (INDEXED, (), "ld.local.f32 is not a plain operation"),
        (NARROW, (), "step: no load of 16 bytes"),
        (NARROW, (), "step: no store of 16 bytes"),
        (GOOD, ("--fmad=true",), "mul.f32 is not a plain operation"),
        (GOOD, ("--fmad=false", "--ftz=true"), "fma.rn.ftz.f32 is not a plain operation"),
        (GOOD, ("--fmad=false", "--prec-div=false"), "div.full.f32 is not a plain operation"),
        (GOOD, ("--fmad=false", "--prec-sqrt=false"), "sqrt.approx.f32 is not a plain operation"),
        (WITH_FMA, (), "sum_chunks: PTX for sm_90: 1 fma where the rules have none"),
        (NARROW, (), "step: no __launch_bounds__"),
        (GENERIC, (), "tasks: PTX for sm_90: st.u32 is not a plain operation"),
        (ATOMIC, (), "add.f32 is not a plain operation"),
        (ANYWHERE, (), "st.f32 is not a plain operation"),
        (PRINTS, (), "call.uni is not a plain operation"),
        (STARVED, (), "merge_chunks: 30.0 KiB on the way in an SM, where 48 are asked for"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 70 else "",
)
def test_a_planted_fault_is_caught(compile_cuda, tmp_path, source, flags, message):
    code, said = gate(compile_cuda(source, *flags), tmp_path / "table", "--update")
    assert code == 1
    assert message in said


def test_contraction_that_leaves_no_separate_operation_is_caught(compile_cuda, table):
    """An fma in place of two operations of the source: the count of the table grows."""
    source = GOOD.replace("at.y - rate * slope.y", "__fmaf_rn(-rate, slope.y, at.y)")
    code, said = gate(compile_cuda(source), table)
    assert code == 1
    assert "fma step: 2, the table says 1: grew" in said


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.replace(f"{registers(t)}/0", f"{registers(t) - 1}/0"), "grew"),
        (lambda t: t.replace(f"{registers(t)}/0", f"{registers(t) + 1}/0"), "shrank"),
        (lambda t: t.replace("  step\n", "  step2\n"), "step: not in the table"),
        (lambda t: t.replace("  step\n", "  step2\n"), "step2: in the table, but there is no such"),
        (lambda t: t.replace("by nvcc 13", "by nvcc 11"), "make cuda-gates CUDA_VERSION=11"),
    ],
    ids=["registers grew", "registers shrank", "new", "gone", "compiler"],
)
def test_a_table_that_differs_is_caught(compile_cuda, table, edit, message):
    before = table.read_text()
    table.write_text(edit(before))
    assert table.read_text() != before
    code, said = gate(compile_cuda(GOOD), table)
    assert code == 1
    assert message in said


def registers(table):
    return int(table.splitlines()[-1].split()[2].split("/")[0])


def test_shared_memory_that_grows_is_caught(compile_cuda, table):
    source = GOOD.replace(
        "  float4 at",
        "  __shared__ float a[64]; a[threadIdx.x & 63] = rate; __syncthreads();\n"
        "  rate = a[(threadIdx.x + 1) & 63]; float4 at",
        1,
    )
    code, said = gate(compile_cuda(source), table)
    assert code == 1
    assert f"the table says {registers(table.read_text())}/0: grew" in said


def test_a_missing_architecture_or_ptx_is_caught(compile_cuda, table):
    code, said = gate(compile_cuda(GOOD), table, architecture="sm_75 sm_90")
    assert code == 1
    assert "sm_75: missing" in said
    only_sass = f"-gencode={VIRTUAL},code={ARCHITECTURE}"
    code, said = gate(compile_cuda(GOOD, "--fmad=false", only_sass), table)
    assert code == 1
    assert "there is no PTX" in said


def test_the_yardsticks_move_16_bytes_an_access_all_on_the_way_at_once(compile_cuda):
    sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tools")]
    from gpu_yardstick import ARRAYS, SOURCE
    from machine_code import read

    for items in (4, 8):
        flags = (f"-DITEMS={items}", "-DSTREAMING=0", "--fmad=false")
        kernels = read([compile_cuda(SOURCE, *flags)]).sass[ARCHITECTURE]
        for kind, n_arrays in ARRAYS.items():
            counts = kernels[kind].sass
            wide = {
                what: sum(
                    n for name, n in counts.items() if name.startswith(what) and "128" in name
                )
                for what in ("LDG", "STG")
            }
            assert wide == {"LDG": items * (n_arrays - 1), "STG": items}
            assert kernels[kind].local == 0


def test_an_object_without_kernels_is_caught(compile_cuda, table):
    code, said = gate(compile_cuda("int host() { return 0; }"), table)
    assert code == 1
    assert "there is no kernel at all" in said


def test_the_compiler_comes_from_pypi_where_there_is_none(tmp_path):
    """tools/nvcc.sh without an nvcc on the machine: what it brings compiles and links."""
    if not (REQUIRED and os.environ.get("CI")):
        pytest.skip("installs 250 MB: run by CI, in make cuda-gates")
    bare = {"PATH": f"{sys.prefix}/bin:/usr/bin:/bin", "HOME": str(tmp_path), "CUDA_HOME": "/none"}
    nvcc = subprocess.run(
        [ROOT / "tools/nvcc.sh"], env=bare, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert nvcc.startswith(str(ROOT / ".venv"))
    (tmp_path / "main.cu").write_text("#include <cuda_bf16.h>\nint main() { return 0; }")
    subprocess.run(
        [nvcc, "-std=c++20", "main.cu", "-o", "main"], cwd=tmp_path, env=bare, check=True
    )
    subprocess.run([tmp_path / "main"], check=True)


@pytest.mark.parametrize("version", ["13.0.88", ""])
def test_the_compiler_is_the_version_asked_for(version):
    nvcc = provided("tools/nvcc.sh", *[version] * bool(version))
    said = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    got = re.search(r"V(\d+)\.(\d+)\.(\d+)", said)
    assert got is not None
    if version:
        assert got[0] == f"V{version}"
    else:
        assert (int(got[1]), int(got[2])) >= (12, 8), "the first that knows sm_120"
