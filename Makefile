# Everything installs what it needs: a clean clone, Python 3.11+ and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: serve test check format audit faults gateways clients model simulate chaos chaos-teeth bench lock clean

$(VENV)/.installed: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "entri needs Python 3.11 or later; set PYTHON=python3.12, say")'
	@$(PYTHON) -m venv $(VENV) || { echo "cannot make a virtual environment: install your system's python3-venv package" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

serve: $(VENV)/.installed  ## start the service (ARGS="--port 9090")
	@exec $(BIN)/entri serve $(ARGS)

test: $(VENV)/.installed  ## every test that belongs to each change
	$(BIN)/python -m pytest -n 3 --dist loadfile $(ARGS)

check: $(VENV)/.installed  ## what CI runs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

audit: $(VENV)/.installed  ## the GraphQL-over-HTTP audit suite of graphql-http (needs Node.js and npm)
	$(BIN)/python tests/graphql_http_audit/run.py

faults: $(VENV)/.installed  ## kill -9 at random points for as long as SECONDS says
	ENTRI_FAULT_SECONDS=$(or $(SECONDS),300) $(BIN)/python -m pytest tests/replay $(ARGS)

.venv-bench/.installed: requirements-bench.lock pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-bench.lock
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

model: $(VENV)/.installed  ## the revocation protocol's whole state space, and without each of its rules
	ENTRI_MODEL_FULL=1 $(BIN)/python -m pytest -n 2 --dist load tests/model/test_protocol.py $(ARGS)

simulate: $(VENV)/.installed  ## the revocation protocol's code under SEEDS=100000 seeds of faults
	$(BIN)/python -m tests.model.simulation --seeds 1-$(or $(SEEDS),100000) $(ARGS)

chaos: $(VENV)/.installed  ## revocation under faults until a million verifications are checked (MINUTES=60 at most)
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),60) $(ARGS)

chaos-teeth: $(VENV)/.installed  ## leave out one rule of the protocol after the other: each has to be noticed
	$(BIN)/python -m tests.chaos.teeth $(ARGS)

clients: $(VENV)/.installed  ## GraphQL clients from npm and PyPI, and a browser, each in its own environment (needs Node.js and npm)
	$(BIN)/python -m tests.clients $(ARGS)

gateways: $(VENV)/.installed  ## nginx and Caddy (and Envoy where it is) as the docs configure them; as root, installs them
	$(BIN)/python tests/gateways/install.py
	$(BIN)/python -m pytest tests/gateways/check_requests.py tests/gateways/check_failures.py $(ARGS)

bench: .venv-bench/.installed  ## measure everything and write bench/RESULTS.md (ARGS=--quick for a first look)
	.venv-bench/bin/python -m bench $(ARGS)

format: $(VENV)/.installed
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

lock: $(VENV)/.installed  ## renew the lock files
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade pyproject.toml --group dev -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade pyproject.toml --group bench -o requirements-bench.lock
	for folder in tests/clients/python-gql tests/clients/ariadne-codegen tests/clients/proofs-pypi; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade $$folder/requirements.in -o $$folder/requirements.lock; done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
