# What a developer types. `make` alone lists it. Everything lives in .venv and target; nothing is installed elsewhere,
# except Debian packages that `make test` and `make bench` need, and those only when make runs as root.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# The interpreter that .venv is made from: 3.11 or later.
PYTHON ?= python3
# More arguments for pytest (`make test PYTEST='-k reload -x'`), for the benchmark and for the demo's server; and the
# fuzz targets to run if not all.
PYTEST ?=
# How many tests run at a time: most of them wait for servers, so more than there are processors, up to a point.
TEST_JOBS ?= $(shell jobs=$$(( 2 * $$(nproc) )); echo $$(( jobs < 16 ? jobs : 16 )))
FUZZ ?=
BENCH ?=
DEMO ?=
# The cases that `make bench` measures, with commas between them; all if it is empty.
CASE ?=

VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
export PYTHON
export VIRTUAL_ENV := $(VENV)
export PYO3_PYTHON := $(BIN)/python
export PATH := $(PATH):$(HOME)/.cargo/bin
unexport PYTHONPATH PYTHONHOME

RUST := Cargo.toml $(wildcard Cargo.lock) $(shell find crates -name '*.rs' -o -name Cargo.toml)

.PHONY: help
help: ## List what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.stamp-demo $(VENV)/.stamp-engine ## Build, migrate and serve the bundled Django project on http://127.0.0.1:8000
	@exec $(BIN)/python -m penstock.demo serve $(DEMO)

.PHONY: build
build: $(VENV)/.stamp-engine ## Build the engine and install Penstock into .venv, editable

.PHONY: test
test: system-test lint test-rust test-checks test-python ## Install what is missing and run every check and test

.PHONY: lint
lint: $(VENV)/.stamp-dev $(VENV)/.stamp-engine ## Formatting, clippy, ruff, mypy, and whether generated files are fresh
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || \
		{ echo "rustfmt or clippy is missing: rustup component add rustfmt clippy" >&2; exit 1; }
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets --no-default-features -- -D warnings
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy
	@$(BIN)/python tools/generate.py --check

.PHONY: test-rust
test-rust: $(BIN)/python ## Unit tests of the crates
	@tools/need libpython
	@# The unit tests of the engine link libpython, which need not be where the loader looks.
	@libdir=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))'); \
	LD_LIBRARY_PATH="$$libdir$${LD_LIBRARY_PATH:+:$$LD_LIBRARY_PATH}" cargo test --quiet --workspace --no-default-features

.PHONY: test-checks
test-checks: system-test $(VENV)/.stamp-dev $(VENV)/.stamp-engine ## Real servers whose engine checks its own assertions, for a minute
	@tools/watched checks

.PHONY: test-python
test-python: $(VENV)/.stamp-dev $(VENV)/.stamp-peers $(VENV)/.stamp-engine ## Tests of the Python side, and end to end
	$(BIN)/pytest -n $(TEST_JOBS) --dist worksteal $(PYTEST)

.PHONY: stress
stress: system-test $(VENV)/.stamp-dev $(VENV)/.stamp-engine ## The long runs: load, reloads and kills for minutes
	$(BIN)/pytest -m stress --timeout 1800 $(PYTEST)

.PHONY: fuzz
fuzz: ## Run every fuzz target under AddressSanitizer, FUZZ_SECONDS=60 each
	@tools/need cc:build-essential
	@tools/fuzz $(FUZZ)

.PHONY: asan
asan: system-test $(VENV)/.stamp-dev $(VENV)/.stamp-engine ## Run real servers whose engine is watched by AddressSanitizer
	@tools/watched address $(PYTEST)

.PHONY: bench
bench: $(VENV)/.stamp-dev ## Penstock and its peers side by side in every case, or in one: make bench CASE=hello
	@tools/need wrk nginx cc:build-essential python-headers libev libuv
	$(BIN)/python -m benchmarks.run $(if $(CASE),--cases $(CASE)) $(BENCH)

.PHONY: wheel
wheel: $(VENV)/.stamp-tools ## Build a release wheel into dist/
	$(BIN)/maturin build --release --out dist

.PHONY: generate
generate: $(VENV)/.stamp-engine ## Write the files that are made from the option table
	$(BIN)/python tools/generate.py

.PHONY: check
check: $(VENV)/.stamp-engine ## Whether the files that are made from the option table are fresh
	@$(BIN)/python tools/generate.py --check

.PHONY: format
format: $(VENV)/.stamp-dev ## Format the sources, mend what ruff can mend
	cargo fmt --all
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

.PHONY: clean
clean: ## Remove everything that was built or installed here
	rm -rf .venv target dist benchmarks/build .pytest_cache .mypy_cache .ruff_cache
	rm -f penstock/_engine*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: system-test
system-test:
	@tools/need nginx:nginx-light curl wrk strace zsh fish logrotate shellcheck runsv:runit systemd-socket-activate:systemd \
		cc:build-essential

# The pieces. A stamp is as old as the installation that it stands for, so nothing is built or installed twice.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Penstock needs Python 3.11 or later, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@command -v cargo >/dev/null || { echo "Penstock's engine is built with Rust: cargo is not in PATH." >&2; exit 1; }
	@tools/need venv cc:build-essential
	@echo "creating .venv"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.stamp-tools: pyproject.toml tools/requirements.py | $(BIN)/python
	@echo "installing the build tools"
	@$(BIN)/python tools/requirements.py build | $(PIP) install --requirement /dev/stdin
	@touch $@

$(VENV)/.stamp-demo: pyproject.toml tools/requirements.py | $(BIN)/python
	@echo "installing what the demo needs"
	@$(BIN)/python tools/requirements.py demo | $(PIP) install --requirement /dev/stdin
	@touch $@

$(VENV)/.stamp-dev: pyproject.toml tools/requirements.py | $(BIN)/python
	@echo "installing the development tools"
	@$(BIN)/python tools/requirements.py dev | $(PIP) install --requirement /dev/stdin
	@touch $@

# Never from a cache: a wheel that was made without these libraries reads no JSON and knows no regular expressions.
$(VENV)/.stamp-peers: pyproject.toml tools/requirements.py | $(BIN)/python
	@tools/need cc:build-essential python-headers pkg-config pcre2-config:libpcre2-dev jansson
	@echo "compiling the uWSGI that configurations are compared with"
	@$(BIN)/python tools/requirements.py peers | \
		$(PIP) install --force-reinstall --no-cache-dir --no-binary uwsgi --requirement /dev/stdin
	@touch $@

$(VENV)/.stamp-engine: $(RUST) pyproject.toml | $(VENV)/.stamp-tools
	@echo "building the engine (the first time takes a minute or two)"
	@$(BIN)/maturin develop --quiet --profile develop >$(VENV)/build.log 2>&1 || { cat $(VENV)/build.log >&2; exit 1; }
	@touch $@
