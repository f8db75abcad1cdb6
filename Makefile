# Every target does its own set-up: Rust, Python 3.10 or newer and make are all it needs.
# PYTHON=python3.12  another interpreter for .venv      PROFILE=dev  another build of the core
# ARGS="-k kill"     more arguments for pytest or the demo      QUICK=1  short rounds of `bench`

VENV    := .venv
BIN     := $(VENV)/bin
# What measures has a release build; all else need not wait for one.
PROFILE ?= $(if $(filter bench soak,$(MAKECMDGOALS)),release,quick)
ARGS    ?=

RUST    := $(shell find src -name '*.rs') Cargo.toml Cargo.lock pyproject.toml
PYFILES := $(shell find python -name '*.py*' -not -path '*/__pycache__/*') README.md
TARGET  := $(or $(CARGO_TARGET_DIR),target)
WHEELS  := $(TARGET)/wheels
BUILD   := AFTERQUERY_PROFILE=$(PROFILE) $(BIN)/maturin
TOOLS   := --manifest-path bench/sink/Cargo.toml

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-rust test-python lint format bench bench-guard bench-classify chaos powerloss soak wheel docs workflows install clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: install ## A FastAPI app and three replicas, one of them killed on the way
	$(BIN)/afterquery demo $(ARGS)

# A file of tests at a time on each core: what a module sets up is set up once.
PYTEST := -n auto --dist loadfile -q

test: test-rust install ## What each change must pass: minutes. The core, and all quick tests on one Python
	$(BIN)/python -m pytest $(PYTEST) -m "not slow" $(ARGS)

test-all: test-rust test-python ## All tests, on the oldest and the newest Python here: what CI runs

test-rust: ## The core's tests; they need no Python
	cargo test --locked
	cargo test --locked $(TOOLS) --target-dir $(TARGET)/bench-tools

test-python: install $(WHEELS)/.built ## pytest on each Python
	$(BIN)/python tools/test_pythons.py $$(ls -t $(WHEELS)/*.whl | head -n 1) $(PYTEST) $(ARGS)

lint: install workflows ## Formatting, clippy, ruff, mypy, and the stubs against the built module
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --features python -- -D warnings
	cargo fmt --check $(TOOLS)
	cargo clippy --locked --all-targets $(TOOLS) --target-dir $(TARGET)/bench-tools -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/stubtest afterquery._core

format: $(VENV)/.deps ## Format Rust and Python
	cargo fmt
	cargo fmt $(TOOLS)
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: $(VENV)/.bench $(WHEELS)/.built ## All benchmarks beside their rivals, and docs/benchmarks.md: 15 minutes; QUICK=1: 2
	$(BIN)/python -m bench.run $(if $(QUICK),--quick) $(ARGS)

chaos: install ## Kills, stops, cuts, full disks, damage, and docs/reliability.md: 15 minutes
	PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

powerloss: install ## Power failures at each system call, recovered from, and docs/reliability.md: some minutes
	PYTHONPATH=tests $(BIN)/python -m powerloss $(ARGS)

soak: $(VENV)/.bench ## A million writes, one replica of three flapping, and docs/images/soak.png
	PYTHONPATH=.:tests $(BIN)/python -m chaos.soak --picture docs/images/soak.png $(ARGS)

bench-guard: $(VENV)/.deps ## Instructions of the hot path beside those in bench/guard.json
	$(BIN)/python -m bench.guard $(ARGS)

bench-classify: ## How long a statement takes to classify
	cargo bench --locked --bench classify $(ARGS)

wheel: $(VENV)/.wheel ## A manylinux2014 wheel and the source distribution, each installed into a clean environment
	rm -rf $(TARGET)/dist
	# A folder of its own: another linker would build all of $(TARGET) anew, there and back.
	PATH="$(CURDIR)/$(BIN):$$PATH" CARGO_TARGET_DIR=$(TARGET)/zig \
	    $(BIN)/maturin build --release --locked --zig --compatibility manylinux2014 --out $(TARGET)/dist
	$(BIN)/maturin sdist --out $(TARGET)/dist
	CARGO_TARGET_DIR=$(abspath $(TARGET)) $(BIN)/python tools/install_check.py $(TARGET)/dist

docs: $(VENV)/.docs ## The documentation as a site in target/site; a link that leads nowhere fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir $(TARGET)/site

workflows: ## actionlint over .github/workflows
	sh tools/actionlint/run.sh

install: $(VENV)/.core ## A development install with all extras in .venv

clean: ## Remove everything that was built
	cargo clean
	rm -rf .venv .venv-* .pytest_cache .mypy_cache .ruff_cache python/afterquery/_core*.so

$(VENV)/.bench: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	@touch $@

$(VENV)/.wheel: $(VENV)/.deps
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group wheel
	@touch $@

$(VENV)/.docs: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group docs
	@touch $@

$(VENV)/.deps: pyproject.toml
	test -x $(BIN)/python || "$${PYTHON:-$$(python3 tools/pythons.py newest)}" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev
	@touch $@

# Keyed by the profile, so that a `PROFILE=dev` build never passes for a release build.
$(VENV)/.core: $(VENV)/.deps $(VENV)/.profile-$(PROFILE) $(RUST)
	PIP_QUIET=1 $(BUILD) develop --profile $(PROFILE) --extras peer,fastapi,demo
	@touch $@

$(VENV)/.profile-$(PROFILE): | $(VENV)/.deps
	@rm -f $(VENV)/.profile-*
	@touch $@

$(WHEELS)/.built: $(VENV)/.deps $(VENV)/.profile-$(PROFILE) $(RUST) $(PYFILES)
	$(BUILD) build --interpreter $(BIN)/python --profile $(PROFILE) --out $(WHEELS)
	@touch $@
