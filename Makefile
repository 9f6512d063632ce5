# Everything runs in a virtual environment of its own; nothing needs to be prepared but Python 3.11 or later.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/reconciler-tests
SARIF := $(CACHE)/sarif-multitool/5.7.0
AZURITE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/reconciler-tests/azurite/3.37.0

.PHONY: help demo test test-backends test-slow test-kube soak check setup servers kube manifests lint types schemas golden coverage bench bench-compare figures clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1	/' | expand -t 20

demo: $(VENV)/.demo  ## The whole story on examples/acme, against a local emulator; STEP=drift tells one chapter
	@$(BIN)/python examples/demo.py $(STEP)

test: $(VENV)/.dev  ## All tests but those of the next three
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not backends and not slow and not kube" $(ARGS)

test-backends: $(VENV)/.dev  ## Tests of shared states on real servers; BACKENDS=1 tries every backend and many more places
	RECONCILER_TEST_BACKENDS=$(BACKENDS) $(BIN)/python -m pytest -n 2 --dist worksteal -m "backends and not kube" $(ARGS)

test-slow: $(VENV)/.dev  ## Tests that take seconds each: other servers, a browser, many runs
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow and not backends and not kube" $(ARGS)

test-kube: $(VENV)/.dev  ## Tests on a real API server of Kubernetes, which `make kube` builds
	$(BIN)/python -m pytest -n 2 --dist loadfile -m kube $(ARGS)

soak: $(VENV)/.dev  ## All tests, as hard as they can try: hours, where `make test` takes minutes
	RECONCILER_SOAK=$(or $(SOAK),1) $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

check: lint types test  ## Everything that CI checks

setup: $(VENV)/.dev  ## The virtual environment with all development tools

servers:  ## Install the servers, the browser and the validators that slow tests need (Debian, as root)
	@command -v jq >/dev/null || { apt-get update -q && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends jq; }
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && test -x /usr/sbin/pgbouncer || { apt-get update -q && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends postgresql pgbouncer; }
	@command -v chromium >/dev/null || { apt-get update -q && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends chromium fonts-dejavu-core; }
	@command -v promtool >/dev/null && command -v prometheus >/dev/null || { apt-get update -q && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends prometheus; }
	@test -d $(SARIF)/node_modules || ! command -v npm >/dev/null || { \
		npm install --silent --no-fund --no-audit --prefix $(SARIF) @microsoft/sarif-multitool@$(notdir $(SARIF)) && \
		chmod +x $(SARIF)/node_modules/@microsoft/*/Sarif.Multitool; }
	@test -d $(AZURITE)/node_modules/azurite || ! command -v npm >/dev/null || \
		npm install --silent --no-fund --no-audit --prefix $(AZURITE) azurite@$(notdir $(AZURITE))
	@test -x "$${GOBIN:-$$HOME/go/bin}/actionlint" || ! command -v go >/dev/null || \
		GOBIN="$${GOBIN:-$$HOME/go/bin}" go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.8

kube: $(VENV)/.dev  ## Install etcd, and build kube-apiserver and helm with go: minutes, once (Debian, as root)
	@command -v etcd >/dev/null || { apt-get update -q && \
		RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends etcd-server && \
		{ systemctl disable --now etcd 2>/dev/null || true; }; }
	@$(BIN)/python -m tests.servers.kube_programs

manifests: $(VENV)/.dev  ## Write deploy/kubernetes/ from the Helm chart, with the helm of `make kube`
	RECONCILER_GOLDEN=write $(BIN)/python -m pytest tests/test_deploy.py tests/kube/test_manifests.py -k "copy or plain_manifest"

lint: $(VENV)/.dev  ## Format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev  ## Static types
	$(BIN)/mypy

schemas: $(VENV)/.dev  ## Write schemas/ from the kinds
	$(BIN)/python -m reconciler.manifests.schema schemas

golden: $(VENV)/.dev  ## Rewrite the expected outputs of tests and what documentation is generated; review it like code
	RECONCILER_GOLDEN=write $(BIN)/python -m pytest tests/render tests/test_docs.py tests/test_deploy.py

coverage: $(VENV)/.dev  ## Write docs/coverage.md: who uses each endpoint of the API, and which test exercises it
	rm -rf $(VENV)/.coverage && mkdir $(VENV)/.coverage
	RECONCILER_COVERAGE=$(CURDIR)/$(VENV)/.coverage $(BIN)/python -m pytest -n 2 $$($(BIN)/python -m tests.coverage)
	$(BIN)/python -m tests.coverage $(VENV)/.coverage

bench: $(VENV)/.bench  ## Measure the promised figures; ARGS="--only sizes" measures some, --out FILE names the results
	$(BIN)/python -m tests.bench $(ARGS)

bench-compare: $(VENV)/.dev  ## Two results of bench side by side: make bench-compare A=FILE B=FILE
	$(BIN)/python -m tests.bench compare $(A) $(B)

figures: $(VENV)/.dev  ## Figures of readability by folder: long lines, comments, comprehensions, class sizes
	@$(BIN)/python -m tests.figures

clean:  ## Remove what was made here
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed, and none was found."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "This Python cannot make virtual environments: on Debian, apt-get install python3-venv."; exit 1; }
	@touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml
	@echo "Installing reconciler into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[emulator]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	@echo "Installing reconciler and its development tools into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.demo

# The peer that bench measures beside us is nice to have: without it the rest is measured all the same.
$(VENV)/.bench: $(VENV)/.dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]' || true
	@touch $@
