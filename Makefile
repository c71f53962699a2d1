# Everything a checkout needs, from nothing but Python 3.11+ and make. `make` alone lists the targets.
#
# Overridable: PYTHON (which interpreter makes the environment), VENV (where it goes), TORCH (which
# torch, for example `make quickstart TORCH=torch`), JOBS (parallel test processes), DEV_EXTRAS.

PYTHON ?= python3
VENV ?= .venv
BENCH_VENV ?= .venv-bench
TORCH ?= torch==2.13.0
JOBS ?= 2
DEV_EXTRAS ?= dev,data,onnx
BENCH_PEERS ?=

export OMP_WAIT_POLICY ?= PASSIVE
# Without bytecode, every test worker and every process that a test starts compiles all files again.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export BENCH_PEERS

ifneq ($(words $(VENV) $(BENCH_VENV)),2)
$(error VENV and BENCH_VENV must be paths without spaces)
endif

BIN := $(VENV)/bin
SOURCES := $(wildcard src tests benchmarks docs)
PINS = $(@D)/constraints.txt
PIP_INSTALL = "$(@D)/bin/python" -m pip install --quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help quickstart test test-fast test-gpu lint docs bench-env lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

quickstart: $(VENV)/.base ## install, then train three small models, evaluate them, write a report
	@"$(BIN)/holdfast" quickstart

test: lint ## format, lint, types, and all tests
	@"$(BIN)/python" -m pytest -q -n $(JOBS) -m "not slow"
	@"$(BIN)/python" -m pytest -q -n $(JOBS) -m slow || [ $$? -eq 5 ]  # 5: there is none

test-fast: lint ## the same without the slow tests
	@"$(BIN)/python" -m pytest -q -n $(JOBS) -m "not slow"

test-gpu: $(VENV)/.dev ## the tests that need a CUDA device
	@"$(BIN)/python" -m pytest -q -m gpu

lint: $(VENV)/.dev
	@"$(BIN)/ruff" format --check $(SOURCES)
	@"$(BIN)/ruff" check $(SOURCES)
	@"$(BIN)/mypy"

docs: $(VENV)/.docs ## build the site, running its pages
	@"$(BIN)/python" -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench-env: $(BENCH_VENV)/.bench ## an environment of its own for the peers in benchmarks
	@echo "peers are in $(BENCH_VENV); BENCH_PEERS=FOLDER adds checkouts of those not on the index"

lock: ## remake constraints.txt from a fresh resolve
	@rm -rf .venv-lock
	@$(MAKE) --no-print-directory VENV=.venv-lock LOCKING=1 .venv-lock/.dev .venv-lock/.docs
	@{ echo "# Exact versions of a tested environment; remade by \`make lock\`."; \
	   .venv-lock/bin/python -m pip freeze --exclude-editable \
	   | sed -e 's/+[a-z0-9.]*$$//' | LC_ALL=C sort -f; } > constraints.new
	@mv constraints.new constraints.txt
	@rm -rf .venv-lock

clean: ## remove caches and build outputs; environments and runs stay
	@rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis docs/_build docs/auto_gallery docs/reference/api
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The torch of TORCH wins over the pin. All is installed in one step, so that what is already chosen
# is not replaced by a later resolve.
%/.base: pyproject.toml $(if $(LOCKING),,constraints.txt)
	@$(require)
	@[ -x "$(@D)/bin/python" ] || "$(PYTHON)" -m venv "$(@D)"
	@echo "installing holdfast into $(@D)"
	@$(PIP_INSTALL) "pip>=25.1"
	@$(if $(LOCKING),: >,grep -v '^torch==' constraints.txt >) "$(PINS)"
	@$(PIP_INSTALL) -c "$(PINS)" "$(TORCH)" -e .
	@touch "$@"

%/.dev: %/.base
	@echo "installing what tests need into $(@D)"
	@$(PIP_INSTALL) -c "$(PINS)" "$(TORCH)" -e ".[$(DEV_EXTRAS)]"
	@touch "$@"

%/.docs: %/.base
	@echo "installing what the site needs into $(@D)"
	@$(PIP_INSTALL) -c "$(PINS)" "$(TORCH)" -e ".[docs]"
	@touch "$@"

# torchattacks 3.5.1 asks for a requests of 2020, hence without its dependencies.
%/.bench: %/.base benchmarks/peers.txt
	@echo "installing the peers into $(@D)"
	@$(PIP_INSTALL) -c "$(PINS)" "$(TORCH)" -r benchmarks/peers.txt
	@$(PIP_INSTALL) --no-deps torchattacks==3.5.1
	@touch "$@"

.PRECIOUS: %/.base %/.dev %/.docs

define require
python="$(@D)/bin/python"; [ -x "$$python" ] || python="$(PYTHON)"; \
command -v "$$python" > /dev/null \
|| { echo "$$python is not found; name a Python 3.11 or newer: make PYTHON=/path/to/python" >&2; exit 2; }; \
"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
|| { echo "$$python is older than the Python 3.11 that holdfast needs; try make PYTHON=python3.12" >&2; exit 2; }; \
"$$python" -c 'import venv, ensurepip' 2> /dev/null \
|| { echo "$$python cannot make environments; install its venv package (Debian: apt install python3-venv)" >&2; exit 2; }
endef
