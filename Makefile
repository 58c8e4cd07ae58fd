# Everything that is done with a checkout of Rivet. `make demo` and `make test` are all that a newcomer needs.
#
#   make demo     install, start the whole system, run an example pipeline, stop again
#   make test     the whole test suite
#   make lint     ruff, mypy, layers
#   make chaos    rounds of killing parts of a real system: ROUNDS=N SEED=S
#   make overlap  runs that take turns, and kills: TRIALS=N SEED=S
#   make siege    runs without end, and a kill every 5 s: RUNS=N SEED=S
#   make latency  how long cancelling, noticing a loss and recovering take: TIMES=N
#   make attacks  attacks on stages, as root and as an ordinary user: CASES=FILE
#   make artifact a large artifact up and down, the API killed on the way: SIZE=MB
#   make bench    the measurements of benchmarks/
#   make fuzz     a reader of strangers' bytes under atheris: TARGET=frames SECONDS=60
#   make docs     what docs/ says of modules, commands, settings, the API and metrics anew, from the code
#   make lock     requirements.lock anew, from setup.cfg
#   make clean    remove .venv and what tools left behind

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test lint chaos overlap siege latency attacks artifact bench fuzz docs lock clean needs

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The first Python that is new enough. Another one: make PYTHON=/path/to/python3.
PYTHON := $(shell for python in python3.11 python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { command -v "$$python"; break; }; done)

help:
	@sed -n 's/^#   //p' Makefile

install: needs $(STAMP)

needs:
	@command -v git >/dev/null || { echo "git is needed. On Debian: apt-get install git" >&2; exit 1; }

# No ensurepip is needed: pip of the system's Python installs into the environment. The lock names everything, so
# nothing is resolved: pip 23 meets `pydantic[email]` of a dependency with the newest release, not with the locked one.
$(STAMP): requirements.lock setup.cfg pyproject.toml
	@if [[ -z "$(PYTHON)" ]]; then \
		echo "Python 3.11 or newer is needed. On Debian 12: apt-get install python3" >&2; exit 1; fi
	@if ! "$(PYTHON)" -m pip --version >/dev/null 2>&1; then \
		echo "$(PYTHON) has no pip. On Debian: apt-get install python3-pip" >&2; exit 1; fi
	@if ! "$(PYTHON)" -c 'import pip, re, sys; \
		sys.exit(tuple(map(int, re.findall(r"\d+", pip.__version__)[:2])) < (22, 3))'; then \
		echo "pip of $(PYTHON) is older than 22.3; newer: $(PYTHON) -m pip install --user --upgrade pip" >&2; \
		exit 1; fi
	@echo "installing into $(VENV)"
	@"$(BIN)/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| "$(PYTHON)" -m venv --clear --without-pip $(VENV)
	@"$(PYTHON)" -m pip --python $(BIN)/python --disable-pip-version-check install --quiet \
		--no-warn-script-location --no-deps -r requirements.lock
	@"$(PYTHON)" -m pip --python $(BIN)/python --disable-pip-version-check install --quiet \
		--no-warn-script-location --no-deps --no-build-isolation -e .
	@touch $@

demo: install
	@$(BIN)/rivet demo

test: install
	@$(BIN)/python -m pytest -n 2 --dist loadfile

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

ROUNDS := 20
SEED :=
chaos: install
	@$(BIN)/python -m tests.chaos --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED))

TRIALS := 200
overlap: install
	@$(BIN)/python -m tests.chaos.overlap --trials $(TRIALS) $(if $(SEED),--seed $(SEED))

RUNS := 2000
siege: install
	@$(BIN)/python -m tests.chaos.siege --runs $(RUNS) $(if $(SEED),--seed $(SEED))

TIMES := 20
latency: install
	@$(BIN)/python -m tests.measure --times $(TIMES)

# The controls come first: what they let through must be seen. The last line counts the cases.
CASES :=
attacks: install
	@[[ -n "$(CASES)" ]] || $(BIN)/python -m tests.attacks.controls
	@$(BIN)/python -m tests.attacks $(if $(CASES),--cases $(CASES))

SIZE := 2000
artifact: install
	@$(BIN)/python -m tests.measure.artifact --size $(SIZE)

bench: install
	@$(BIN)/python -m benchmarks

TARGET := frames
SECONDS := 60
fuzz: install
	@$(BIN)/python -c 'import atheris' 2>/dev/null || "$(PYTHON)" -m pip --python $(BIN)/python \
		--disable-pip-version-check install --quiet 'atheris>=3,<4'
	@$(BIN)/python -m tests.fuzz $(TARGET) --seconds $(SECONDS)

docs: install
	@$(BIN)/python -m rivet.modules.reference docs/language.md
	@$(BIN)/python -m rivet.cli.reference docs/cli.md docs/configuration.md
	@$(BIN)/python -m rivet.app docs/api.md
	@$(BIN)/python -m rivet.telemetry.reference docs/operations.md

# Under the oldest Python that is supported (PYTHON=…), for what only that one needs is in the lock too.
lock: needs
	@rm -rf .lock && "$(PYTHON)" -m venv --without-pip .lock
	@"$(PYTHON)" -m pip --python .lock/bin/python install --quiet 'pip-tools>=7.5'
	@{ head -n 1 requirements.lock; .lock/bin/python -m piptools compile --quiet --extra dev --strip-extras \
		--all-build-deps --allow-unsafe --generate-hashes --no-emit-index-url --no-emit-trusted-host \
		--no-emit-find-links --no-annotate --no-header --output-file - setup.cfg 2>/dev/null; \
		} > requirements.lock.new
	@mv requirements.lock.new requirements.lock
	@rm -rf .lock

clean:
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
