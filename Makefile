# Every target is complete on a fresh machine with python3, g++ and make: it installs what it needs
# into .venv (from PyPI) and, where a target needs more compilers, from Debian. The CUDA targets do
# not need a GPU, but for `gpu`, `bench-gpu` and `gpu-day`; the compiler comes from PyPI where there is none.
PYTHON ?= python3
export ARUBA_FAST_DATA ?= $(abspath ../shared/data)

# What was compiled once is not compiled again, in whatever folder, where ccache is installed.
export CMAKE_CXX_COMPILER_LAUNCHER ?= $(shell command -v ccache)
export CMAKE_CUDA_COMPILER_LAUNCHER ?= $(CMAKE_CXX_COMPILER_LAUNCHER)
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
SITE := $(VENV)/lib/python*/site-packages
BUILD := build/release
WERROR := $(if $(CI),ON,OFF)
SOURCES := pyproject.toml CMakeLists.txt $(wildcard README.md cuda/*.h) \
  $(shell find cpp include cmake src python -name '*.cpp' -o -name '*.h' -o -name '*.py' -o -name '*.pyi' -o -name '*.npz' -o -name '*.in' -o -name '*.cmake')
CUDA_SOURCES := $(shell find cuda -type f)
EMULATOR := $(shell find tests/cuda -type f)
# The module that runs the CUDA kernels on the CPU, for the suite's device tests.
export ARUBA_CUDA_EMULATED_MODULE ?= $(abspath $(BUILD)/emulated)
CPP := $(shell find cpp cuda include src tests -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
# Several at a time where time is not measured.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses=8
# What `cuda-gates` compiles for and judges; CI takes the two ends. Empty: every architecture.
CUDA_ARCHITECTURES ?=
INSTALL = $(PIP) install --no-build-isolation '.[reproductions]' -Cbuild-dir=$(BUILD) \
  -Ccmake.define.ARUBA_WERROR=$(WERROR)
STUBS := python/aruba_fast

.PHONY: demo omniglot shakespeare test fuzz soak bench bench-check bench-guard league gpu bench-gpu gpu-day gpu-day-check cuda-gates \
  cuda-emulated lint format stubs docs docs-links sanitize sanitize-address sanitize-thread arm gcc11 musl macos avx512 consumer wheels arm-wheel clean help

help:
	@echo "make demo | omniglot | shakespeare | test | fuzz | soak | bench | league | lint | format | stubs | sanitize"
	@echo "make docs | docs-links | bench-guard | arm | gcc11 | musl | macos | avx512 | consumer | wheels | arm-wheel | clean"
	@echo "make gpu | bench-gpu | gpu-day (need a GPU) | cuda-gates | cuda-emulated | gpu-day-check"

# ---- what the targets stand on -----------------------------------------------------------------

# The gate's package has what JAX calls, for which jaxlib must be there before it.
$(VENV)/.created:
	$(PYTHON) -m venv $(VENV) || { tools/debian.sh python3-venv && $(PYTHON) -m venv $(VENV); }
	$(PIP) install scikit-build-core pybind11 cmake ninja $(if $(CI),'jaxlib>=0.10')
	touch $@

# Not editable: what is tested is what a user gets.
$(VENV)/.package: $(VENV)/.created $(SOURCES)
	$(INSTALL) -Ccmake.define.ARUBA_CUDA=OFF
	touch $@

# What JAX calls on a device is built where there is a jaxlib: for those who run it there.
$(VENV)/.jaxlib: $(VENV)/.created
	$(PIP) install 'jaxlib>=0.10'
	touch $@

# The same and the kernels for every GPU architecture, which takes minutes more.
$(VENV)/.cuda: $(VENV)/.package $(CUDA_SOURCES) | $(if $(filter gpu gpu-day,$(MAKECMDGOALS)),$(VENV)/.jaxlib)
	CUDACXX=$$(tools/nvcc.sh $(CUDA_VERSION)) && export CUDACXX && \
	  $(INSTALL) -Ccmake.define.ARUBA_CUDA=ON \
	  $(if $(CUDA_ARCHITECTURES),"-Ccmake.define.CMAKE_CUDA_ARCHITECTURES=$(CUDA_ARCHITECTURES)")
	touch $@

$(VENV)/.cli: $(VENV)/.package
	touch $@

# In pip's own build directory, so that the core is compiled once.
$(VENV)/.emulated: $(VENV)/.package $(CUDA_SOURCES) $(EMULATOR)
	$(BIN)/cmake -S . -B $(BUILD) -DARUBA_CUDA_EMULATED=ON --log-level=WARNING
	$(BIN)/cmake --build $(BUILD) --target _cuda_emulated
	touch $@

# The extras of the installed package: pip takes them from its metadata and builds nothing again.
EXTRAS := test test-frameworks lint bench league gates gpu wheels docs zig
# Nobody downloads PyTorch and JAX to test a NumPy library; the gate does.
TEST := $(VENV)/.test$(if $(CI),-frameworks)
$(EXTRAS:%=$(VENV)/.%): $(VENV)/.%: pyproject.toml | $(VENV)/.package
	$(PIP) install 'aruba_fast[$*]'
	touch $@

# JAX's plugin for CUDA, of the version that is there; without it its device tests are skipped.
$(VENV)/.jax-cuda: $(VENV)/.gpu
	$(PIP) install "jax[cuda13]==$$($(BIN)/python -c 'import jax; print(jax.__version__)')" || \
	  echo "pip has no CUDA plugin of JAX that fits here: tests of JAX on the device will be skipped"
	touch $@

# ---- what a user runs --------------------------------------------------------------------------

demo: $(VENV)/.cli
	$(BIN)/aruba-fast demo --figure demo.png $(ARGS)

# Half an hour on two cores; ARGS='--scale paper --device cuda' is Reptile's own setting.
omniglot: $(VENV)/.test-frameworks
	$(BIN)/aruba-fast omniglot --out build/omniglot $(ARGS)

shakespeare: $(VENV)/.test-frameworks
	$(BIN)/aruba-fast shakespeare --out build/shakespeare $(ARGS)

# Status 5 is pytest's for no test at all: ARGS may name tests of one kind only.
test: $(VENV)/.package $(TEST) $(VENV)/.emulated
	$(PYTEST) -m "not timing" $(ARGS); status=$$?; [ $$status -eq 0 ] || [ $$status -eq 5 ] || exit $$status; \
	  $(BIN)/python -m pytest -m timing $(ARGS) || [ $$?,$$status = 5,0 ]

# Random calls of the whole API, a million of them or as many as ARGS='--calls N' or '--seconds N'
# say; a find prints the line that makes it again.
fuzz: $(VENV)/.package $(TEST) $(VENV)/.emulated
	PYTHONPATH=tests $(BIN)/python -m fuzz $(ARGS)

# Valid calls of all entries for ten minutes, or ARGS='--seconds N': memory stays within 1 %.
soak: $(VENV)/.package $(TEST) $(VENV)/.emulated
	PYTHONPATH=tests $(BIN)/python -m fuzz.soak $(ARGS)

bench: $(VENV)/.package $(VENV)/.bench
	$(BIN)/python benchmarks/report.py $(ARGS)

# Who predicts best for people that training has not seen, on seventeen real tables; resumable.
league: $(VENV)/.package $(VENV)/.league
	PYTHONPATH=benchmarks $(BIN)/python -m league $(ARGS)

# Every benchmark and every rival once, answers checked, nothing timed.
bench-check: $(VENV)/.package $(VENV)/.bench
	$(PYTEST) benchmarks tests/test_bench_guard.py --benchmark-disable -q

# Ten headline ratios and the instructions of small calls beside those committed for such a machine.
bench-guard: $(VENV)/.package $(VENV)/.bench
	tools/debian.sh valgrind
	$(BIN)/python benchmarks/guard.py $(ARGS)

# ---- CUDA --------------------------------------------------------------------------------------

# The suite's device tests on the device, and under compute-sanitizer where there is one.
gpu: $(VENV)/.cuda $(VENV)/.gpu $(VENV)/.jax-cuda
	tools/gpu.sh $(ARGS)

bench-gpu: $(VENV)/.cuda $(VENV)/.gpu
	$(BIN)/python benchmarks/gpu_report.py --json build/gpu.json --plot build/gpu.png $(ARGS)

# A quarter of an hour with a GPU: bits, then speeds, most valuable first, in one file; resumable.
gpu-day: $(VENV)/.cuda $(VENV)/.gpu $(VENV)/.jax-cuda
	$(BIN)/python tools/gpu_day.py $(ARGS)

# The same, tiny, through the CPU execution of the kernels: answers are checked, nothing is timed.
gpu-day-check: $(VENV)/.package $(VENV)/.bench $(VENV)/.emulated
	rm -f build/gpu-day-dry*
	$(BIN)/python tools/gpu_day.py --dry-run --json build/gpu-day-dry.json

# The machine code of every kernel for the architectures, and that the gates can fail.
cuda-gates: CUDA_VERSION := 13.0.88
cuda-gates: $(VENV)/.cuda $(VENV)/.gates
	$(BIN)/python tools/cuda_gates.py $(SITE)/aruba_fast/_cuda.*.so $(ARGS) \
	  $(if $(CUDA_ARCHITECTURES),--architectures $(patsubst %,sm_%,$(subst -real,,$(subst ;, ,$(CUDA_ARCHITECTURES)))))
	ARUBA_CUDA_GATES=1 ARUBA_CUDA_ARCHITECTURES='$(CUDA_ARCHITECTURES)' $(PYTEST) -q tests/test_cuda_gates.py tests/test_no_driver.py tests/test_wheels.py
	rm $(VENV)/.package $(VENV)/.cuda  # the suite runs without the real _cuda: installed anew

# The kernels' C++ tests on the CPU: plain, under ASan + UBSan, under TSan, which is the race check,
# and with planted faults, each of which must be found.
cuda-emulated: export PATH := $(abspath $(BIN)):$(PATH)
cuda-emulated: $(VENV)/.created
	cmake --preset dev -G Ninja --log-level=WARNING
	cmake --build build/dev
	ctest --test-dir build/dev -R '^cuda' -j 2 --no-tests=error --output-on-failure

# ---- what a developer runs ---------------------------------------------------------------------

lint: $(VENV)/.package $(VENV)/.lint $(VENV)/.emulated
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/clang-format --dry-run -Werror $(CPP)
	tools/stubs.sh build/stubs
	for name in _core _cuda; do diff -u $(STUBS)/$$name.pyi build/stubs/$$name.pyi || \
	  { echo "The stub is out of date: make stubs"; exit 1; }; done
	tools/stubs.sh --test

format: $(VENV)/.package $(VENV)/.lint
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

stubs: $(VENV)/.package $(VENV)/.lint $(VENV)/.emulated
	tools/stubs.sh $(STUBS)

sanitize: sanitize-address sanitize-thread

sanitize-address sanitize-thread: sanitize-%: $(VENV)/.package $(VENV)/.test $(VENV)/.emulated
	tools/sanitize.sh $* $(ARGS)

# The site, into build/docs/html: warnings are errors, and so are links within it that lead nowhere.
# What is generated lies beside links to the pages, so that docs/ holds what is written by hand.
docs: $(VENV)/.package $(VENV)/.docs
	tools/docs.sh html
	ARUBA_SITE=$(abspath build/docs/html) $(BIN)/python -m pytest -q tests/test_site.py

# Links to other sites, which are not always there.
docs-links: $(VENV)/.package $(VENV)/.docs
	tools/docs.sh linkcheck

arm: $(VENV)/.created
	tools/arm.sh

gcc11: $(VENV)/.created
	tools/gcc11.sh

# The core by Clang for another C library, run here, and for another system, linked. Five minutes each.
musl macos: $(VENV)/.package $(VENV)/.zig
	tools/zig.sh $@

avx512: $(VENV)/.package
	tools/avx512.sh $(BUILD)

# The C++ package as a stranger uses it, by g++ and clang++, static and shared.
consumer: $(VENV)/.package
	tools/consumer.sh

# The archives of a release: sdist, and from it a wheel for every CPython at hand, CPU and CUDA inside;
# each is tried in an empty environment without a compiler. Half an hour; ARGS='--only cp312' is one.
wheels: CUDA_VERSION := 13.0.88
wheels: $(VENV)/.package $(VENV)/.wheels
	tools/newer_python.sh
	CUDACXX=$$(tools/nvcc.sh $(CUDA_VERSION)) && export CUDACXX && $(BIN)/python tools/wheels.py $(ARGS)

# The wheel for AArch64 (CPU), cross-compiled from the sdist; Debian's Python uses it under qemu.
arm-wheel: $(VENV)/.package $(VENV)/.wheels
	tools/arm_wheel.sh

clean:
	rm -rf $(VENV) build dist
