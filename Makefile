# What can be done with this tree? Bare `make` tells. Every target sets up what it needs by itself: a
# virtual environment in .venv and, where they are missing and may be installed, Debian's packages.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
.DEFAULT_GOAL := help
KIND ?= both
SEEDS ?= 1000
SECONDS = 600
.PHONY: help demo test check lint types imports format coverage sim chaos bench set-up fuse python clean

help: ## Print this help
	@echo "My Shared Spaces: folders that a group shares without a server."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) fuse ## Show it working: three nodes, one space, in under two minutes
	@$(BIN)/python -m tests.demo.demo

# Those with real nodes mostly wait, and run beside the others, which mostly compute.
test: check fuse ## Check, and run all tests
	@log=$$(mktemp); $(BIN)/pytest tests/scenarios >"$$log" 2>&1 & scenarios=$$!; \
	$(BIN)/pytest --ignore tests/scenarios; others=$$?; \
	wait $$scenarios; with_nodes=$$?; cat "$$log"; rm -f "$$log"; \
	exit $$((others || with_nodes))

check: lint types imports ## Lint, types and import contracts

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

coverage: $(READY) ## Whether the tests of records, tree and sync take every branch of these
	$(BIN)/coverage run -m pytest tests/records tests/sync tests/tree
	$(BIN)/coverage report

format: $(READY) ## Format the code, and mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

sim: $(READY) ## Simulate: SEEDS=n random histories, or one that failed again, with SEED=s
	@$(BIN)/python -m tests.sim.run --kind $(KIND) --seeds $(SEEDS) \
		$(if $(SEED),--seed $(SEED)) $(if $(FIRST),--first $(FIRST))

chaos: $(READY) fuse ## Real nodes at work under kills, stops and cuts, for SECONDS, from SEED=s
	@$(BIN)/python -m tests.scenarios.chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

bench: $(READY) fuse ## Measure, beside other programs that are installed; MEASURES="read fetch", OF=sharefs,sshfs
	@$(BIN)/python -m tests.bench.bench $(MEASURES) $(if $(OF),--of $(OF))

set-up: $(READY) fuse ## Only make the virtual environment, and install what is missing

clean: ## Remove the virtual environment and what tools have left
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage *.egg-info

# The environment is made anew whenever its description changes, so that it never holds more than that.
$(READY): pyproject.toml | python
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

# $(call package,CHECK,PACKAGE,WHY): install a Debian package if the shell command CHECK fails; where
# that is not possible, say what to do.
define package
	@if ! { $(1); } >/dev/null 2>&1; then \
		if [ "$$(id -u)" = 0 ]; then root=(); \
		elif sudo -n true 2>/dev/null; then root=(sudo -n); \
		else root=(no); fi; \
		if [ "$${root[0]}" = no ] || ! command -v apt-get >/dev/null; then \
			echo "$(2) is missing, $(3). Install it (on Debian: sudo apt install $(2))" \
				"and run make again." >&2; exit 1; \
		fi; \
		echo "Installing $(2), $(3) ..."; \
		log=$$(mktemp); \
		if ! { "$${root[@]}" apt-get update && "$${root[@]}" env DEBIAN_FRONTEND=noninteractive \
			apt-get install --yes --no-install-recommends $(2); } >"$$log" 2>&1 \
			|| ! { $(1); } >/dev/null 2>&1; then \
			tail -n 5 "$$log" >&2; \
			echo "$(2) could not be installed, $(3): see above, install it and run make again." >&2; \
			exit 1; \
		fi; \
		rm -f "$$log"; \
	fi
endef

python:
	$(call package,$(PYTHON) -c 'import ensurepip',python3-venv,which makes the virtual environment)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or later is needed: name one, as in make PYTHON=python3.11." >&2; exit 1; }

fuse:
	$(call package,command -v fusermount3,fuse3,which lets a user mount a filesystem)
	@[ -e /dev/fuse ] || { \
		echo "There is no /dev/fuse, so nothing can be mounted: run modprobe fuse as root, or start" \
			"the container with --device /dev/fuse --cap-add SYS_ADMIN." >&2; exit 1; }
