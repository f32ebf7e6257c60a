# Everything a developer runs. Needs Python >= 3.11 and make; the rest is brought into .venv from the lock files.

PYTHON ?= python3
BIN := .venv/bin
export PYTHONPATH := .:gen
export GRPC_VERBOSITY ?= ERROR
unexport PYTHONDONTWRITEBYTECODE # the tests start a hundred processes; without this each compiles all sources anew

.DEFAULT_GOAL := help
.PHONY: help setup demo test up down bench faults differential drill lint format proto token lock images k8s subscriber

help: ## List the targets.
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target sentence; do printf '  %-12s %s\n' "$$target" "$$sentence"; done

setup: .venv/.dev proto ## Create .venv with everything that development needs and generate the code of the contracts.

demo: .venv/.demo proto ## Run the main job on real data through all five services and report it (SMOKE=1: one customer in ten).
	$(BIN)/python -m demo $(if $(SMOKE),--smoke)

test: .venv/.dev proto ## Run all tests against PostgreSQL and NATS servers started for them (ARGS='-k name' to choose).
	@$(BIN)/python -m compileall -q bench chassis clients demo deploy faults gen services # once, and not by all who begin with them at once
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

up: .venv/.demo proto ## Start the whole system on this machine and print its addresses (DEMO=1: with what `make demo` left).
	$(BIN)/python -m deploy.local up $(if $(DEMO),--demo)

down: .venv/.demo proto ## Stop what `make up` started; its data stays in .local/.
	$(BIN)/python -m deploy.local down

bench: .venv/.dev proto ## Measure the system beside the raw ceilings of this machine, into build/bench.json (ARGS='tagging --customers 100000' to choose).
	$(BIN)/python -m bench $(ARGS)

faults: .venv/.dev proto ## Kill and cut things on purpose and count what was lost or done twice (ARGS='kills gaps' to choose).
	$(BIN)/python -m faults $(ARGS)

differential: .venv/.dev proto ## Compare evaluators, histories and SDKs with plain references, on very many random cases.
	$(BIN)/python -m faults --result build/differential.json histories conditions sdks

drill: .venv/.dev proto ## Do what operators do when it matters: restore a lost PostgreSQL, replace every process under load.
	$(BIN)/python -m faults --result build/drill.json restore rolling

images: ## Build the images of the services and the gateway with docker, podman or buildah (VERSION=0.1.0 OPTIONS='--build-arg …').
	@deploy/images/build.sh $(VERSION)

k8s: .venv/.dev proto ## Render the overlays for Kubernetes into build/k8s and check them.
	$(BIN)/python -m deploy.k8s render
	$(BIN)/pytest --numprocesses 0 --quiet tests/k8s

token: .venv/.demo proto ## Print a token for the local stack (TENANT=acme SCOPES='identity.read identity.write').
	@$(BIN)/python -m deploy.local token $(if $(TENANT),--tenant '$(TENANT)') $(if $(SCOPES),--scopes '$(SCOPES)')

subscriber: .venv/.demo proto ## Let another system read events of the local stack (NAME=crm TENANT=acme EVENTS='identity.* tracking.*').
	@$(BIN)/python -m deploy.local subscriber --name '$(NAME)' $(if $(TENANT),--tenant '$(TENANT)') $(if $(EVENTS),--events $(EVENTS))

lint: .venv/.dev proto ## Check style, types, layers and contracts.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/python proto/check_breaking.py

format: .venv/.dev ## Rewrite the sources in the common style.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

proto: .venv/.demo ## Generate gen/ from proto/ where something changed.
	@$(BIN)/python proto/generate.py

# demo.lock holds what running the local stack needs, dev.lock everything; both pin the same versions, so .dev includes .demo.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

lock: .venv/.uv ## Resolve requirements/*.in anew into the lock files (ARGS=--upgrade for newer versions).
	$(COMPILE) $(ARGS) requirements/installer.in -o requirements/installer.lock
	$(COMPILE) $(ARGS) requirements/run.in -o requirements/run.lock
	$(COMPILE) $(ARGS) requirements/demo.in -c requirements/run.lock -o requirements/demo.lock
	$(COMPILE) $(ARGS) requirements/dev.in -c requirements/demo.lock -o requirements/dev.lock

.venv/.uv: requirements/installer.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say which: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/installer.lock
	@touch $@

.venv/.demo: .venv/.uv requirements/demo.lock
	$(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements/demo.lock
	@touch $@

.venv/.dev: .venv/.demo requirements/dev.lock
	$(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes requirements/dev.lock
	@touch $@
