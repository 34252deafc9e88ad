# Every target is complete on a fresh machine with python3, g++ and make: it installs what it needs
# into .venv (from PyPI) and, where a target needs more compilers, from Debian.
PYTHON ?= python3
export ARUBA_FAST_DATA ?= $(abspath ../shared/data)

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
BUILD := build/release
WERROR := $(if $(CI),ON,OFF)
SOURCES := pyproject.toml CMakeLists.txt $(wildcard README.md) \
  $(shell find cpp src python -name '*.cpp' -o -name '*.h' -o -name '*.py' -o -name '*.pyi' -o -name '*.npz')
CPP := $(shell find cpp src tests -name '*.cpp' -o -name '*.h')
STUB := python/aruba_fast/_core.pyi

.PHONY: demo test bench bench-check lint format stubs sanitize sanitize-address sanitize-thread \
  arm avx512 dist clean help

help:
	@echo "make demo | test | bench | lint | format | stubs | sanitize | arm | avx512 | dist | clean"

# ---- what the targets stand on -----------------------------------------------------------------

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV) || { tools/debian.sh python3-venv && $(PYTHON) -m venv $(VENV); }
	$(PIP) install scikit-build-core pybind11 cmake ninja
	touch $@

# Not editable: what is tested is what a user gets.
$(VENV)/.package: $(VENV)/.created $(SOURCES)
	$(PIP) install --no-build-isolation '.[cli]' -Cbuild-dir=$(BUILD) -Ccmake.define.ARUBA_WERROR=$(WERROR)
	touch $@

$(VENV)/.cli: $(VENV)/.package
	touch $@

# The extras of the installed package: pip takes them from its metadata and builds nothing again.
$(VENV)/.test $(VENV)/.lint $(VENV)/.bench: $(VENV)/.%: pyproject.toml | $(VENV)/.package
	$(PIP) install 'aruba_fast[$*]'
	touch $@

# ---- what a user runs --------------------------------------------------------------------------

demo: $(VENV)/.cli
	$(BIN)/aruba-fast demo $(ARGS)

test: $(VENV)/.package $(VENV)/.test
	$(BIN)/python -m pytest $(ARGS)

bench: $(VENV)/.package $(VENV)/.bench
	$(BIN)/python benchmarks/report.py $(ARGS)

# Every benchmark and every rival once, answers checked, nothing timed.
bench-check: $(VENV)/.package $(VENV)/.bench
	$(BIN)/python -m pytest benchmarks --benchmark-disable -q

# ---- what a developer runs ---------------------------------------------------------------------

lint: $(VENV)/.package $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/clang-format --dry-run -Werror $(CPP)
	tools/stubs.sh build/stubs/_core.pyi
	diff -u $(STUB) build/stubs/_core.pyi || { echo "The stub is out of date: make stubs"; exit 1; }
	$(BIN)/python -m mypy.stubtest aruba_fast._core --allowlist tools/stubtest.txt

format: $(VENV)/.package $(VENV)/.lint
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

stubs: $(VENV)/.package $(VENV)/.lint
	tools/stubs.sh $(STUB)

sanitize: sanitize-address sanitize-thread

sanitize-address sanitize-thread: sanitize-%: $(VENV)/.package $(VENV)/.test
	tools/sanitize.sh $* $(ARGS)

arm: $(VENV)/.created
	tools/arm.sh

avx512: $(VENV)/.package
	tools/avx512.sh $(BUILD)

# The archives as released: the wheel is built from the sdist, isolated, and tried in a bare venv.
dist: $(VENV)/.created
	tools/dist.sh

clean:
	rm -rf $(VENV) build dist
