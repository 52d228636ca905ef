# Two commands do everything on a fresh machine: `make serve` and `make test`.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
export PYTHONUNBUFFERED := 1
# uv installs no bytecode. Where an image sets this variable, each process would compile its libraries again: 5 s of CPU
# time for PyTorch, 40 s for the tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup rest setup-dev setup-bench debian-packages serve test lint bench fuzz audit train clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# One at a time: `make serve` installs in the background what another target may want now. (`.lock` is uv's own.)
INSTALL = flock $(VENV)/.installing $(BIN)/python deploy/install.py
COMPILED = $(wildcard scheduler_env/*.py models/seed/*.pth)

# What the service imports: all of requirements.txt before the line that says "Later".
$(VENV)/.serving: requirements.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	sed '/^# Later/,$$d' requirements.txt > $(VENV)/first.txt
	$(INSTALL) -r $(VENV)/first.txt
	@touch $@

$(VENV)/.runtime: $(VENV)/.serving
	$(INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt requirements-otlp.txt $(VENV)/.runtime
	$(INSTALL) -r requirements-dev.txt
	@touch $@

# The kernel is compiled once per change of its sources, so that the first start is as quick as the second; a user's other
# checkouts of the same sources copy it from ~/.cache.
$(VENV)/.first: $(VENV)/.serving $(COMPILED)
	$(BIN)/python -m scheduler_env.warm_up --share --until first models/seed/*.pth
	@touch $@

$(VENV)/.kernel: $(VENV)/.runtime $(COMPILED)
	$(BIN)/python -m scheduler_env.warm_up --share models/seed/*.pth
	@touch $@

setup: $(VENV)/.kernel  ## Create .venv, install requirements.txt, compile the kernel

# Without Node or the registry the tests of the Vue example are skipped; the next `make test` tries again.
VUE := examples/vue
$(VUE)/node_modules/.stamp: $(VUE)/package-lock.json
	@npm ci --prefix $(VUE) --silent --no-audit --no-fund --fetch-retries 1 && touch $@ || \
	  echo "some tests will be skipped; this failed: npm ci --prefix $(VUE)"

debian-packages:
	@deploy/debian-packages.sh

setup-dev: setup $(VENV)/.dev $(VUE)/node_modules/.stamp debian-packages

$(VENV)/.bench: requirements-bench.txt $(VENV)/.dev
	$(INSTALL) -r requirements-bench.txt
	@touch $@

setup-bench: setup-dev $(VENV)/.bench

# The first answers need half of the kernel and no PyTorch. The rest is made while the service answers already.
serve: $(VENV)/.first  ## Serve on http://localhost:5001 with the shipped seed models
	@$(MAKE) --question setup 2>/dev/null || nice $(MAKE) rest > $(VENV)/setup.log 2>&1 &
	$(BIN)/python enhanced_flask.py $(ARGS)

rest:
	$(BIN)/python -m scheduler_env.warm_up --share --until serving
	$(MAKE) setup

# Three processes for two cores, a file's tests in one of them: a third of a test's time is waiting, for a service, a
# browser or a clock. In their order: the longest files are not the ones with the most tests.
test: setup-dev  ## Run every test
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.dev  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: setup-bench  ## Known vulnerabilities of requirements.txt, where a database can be reached
	$(BIN)/python deploy/audit.py

bench: setup-bench  ## Measure; the tables go to benchmarks/results/
	$(BIN)/python -m benchmarks.scheduling
	$(BIN)/python -m benchmarks.one_workpoint
	$(BIN)/python -m benchmarks.registry
	$(BIN)/python -m benchmarks.experiments
	$(BIN)/python -m benchmarks.experiments --live
	$(BIN)/python -m benchmarks.telemetry
	$(BIN)/python -m benchmarks.single_operations
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.faults
	$(BIN)/python -m benchmarks.attacks
	$(BIN)/python -m benchmarks.attacks --server workers
	$(BIN)/python -m benchmarks.endurance overload
	$(BIN)/python -m benchmarks.endurance soak

fuzz: setup-bench  ## schemathesis on the HTTP interface, atheris on the parsers, properties on many examples
	$(BIN)/python -m benchmarks.fuzzing
	$(BIN)/python -m tests.fuzz.parsers -max_total_time=120
	PROPERTY_TIMES=20 $(BIN)/python -m pytest -n auto -m hypothesis

train: setup  ## Train a model: make train ARGS="--config models/seed/ddqn_v2.json --out best_model_v2.pth"
	$(BIN)/python -m scheduler_env.training $(ARGS)

clean:  ## Remove caches (keeps .venv, models, logs and reports)
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
	rm -f $(VENV)/.first $(VENV)/.kernel
