# Every target sets up what it needs; on a fresh Debian machine start with `make run`.
SHELL := /bin/sh
# Without bytecode every start of a program, and every worker of pytest, compiles everything anew.
unexport PYTHONDONTWRITEBYTECODE
BIN := .venv/bin
PYTHON ?= python3
PYTEST := $(BIN)/python -m pytest
# What `make test` leaves to `make test-all`: what needs a program to be built first, or takes long.
BUILT := crictl or kubernetes or e2e or fuzz or oidc
LONG := deep or between
# What `make check` leaves to both: everything that starts a program.
REAL := browser or nats or containerd or system or $(BUILT)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List all targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: .venv/.ready ## Make .venv and get everything that running and testing needs
	@scripts/fetch-containerds
	@scripts/fetch-browser
	@scripts/fetch-page-tools
	@scripts/fetch-shells
	@scripts/fetch-history

.venv/.ready: pyproject.toml constraints.txt scripts/make-venv $(wildcard client/python/pyproject.toml)
	@PYTHON=$(PYTHON) scripts/make-venv

.PHONY: run
run: .venv/.ready ## Try it: three local nodes, a registry, a first task, then serve (ARGS=--once: end after it)
	@$(BIN)/python -m sandbox $(ARGS)

.PHONY: test
test: setup ## Run all tests that need nothing built: on nats-server, containerd, Chromium, whole programs
	@$(PYTEST) -q -n 5 --dist worksteal -m "not ($(BUILT) or $(LONG))" $(ARGS)

# A ring that takes long, or needs what `make setup` does not bring, is a target of its own here.
.PHONY: test-all
test-all: test test-long test-containerd test-oidc test-sim test-fuzz test-chaos test-crictl test-kubernetes ## Run what `make test` runs, and the rings below (but for e2e)

.PHONY: test-long
test-long: setup ## Run long searches of what decides, and every property with many examples (7 minutes)
	@IPS_TEST_SEARCH=long $(PYTEST) -q -n 2 -m "($(LONG) or hypothesis) and not ($(REAL) or sim or chaos)" $(ARGS)

.PHONY: test-containerd
test-containerd: setup ## Run the tests of the runtime on the release lines of containerd that `make test` leaves out (1 minute)
	@$(PYTEST) -q -n 4 -m "between and not crictl" $(ARGS)

.PHONY: test-oidc
test-oidc: setup ## Log in at a real OpenID Connect provider, npm's oidc-provider, in Chromium too (1 minute)
	@scripts/fetch-oidc-provider >/dev/null
	@$(PYTEST) -q -n 0 -m oidc tests/oidc $(ARGS)

.PHONY: test-sim
test-sim: .venv/.ready ## Run 1,200 histories of a simulated fleet (FROM=N: the last 200 from there), and find planted faults
	@first=$(or $(FROM),1000); echo "seeds 0 to 999, and 200 from $$first on"; \
	  SIM_FROM=$$first $(PYTEST) -q -n 2 --dist worksteal -m sim tests/simulator $(ARGS)

.PHONY: sim
sim: .venv/.ready ## Run histories of a simulated fleet (SEEDS=200 FROM=0 JOBS=2), or tell one in full (SEED=17)
	@$(BIN)/python -m sandbox.simulator $(if $(SEED),--seed $(SEED) $(ARGS),\
	  --seeds $(or $(SEEDS),200) --first $(or $(FROM),0) --jobs $(or $(JOBS),2) $(ARGS))

.PHONY: test-chaos
test-chaos: setup ## Harm a cluster of real processes for two minutes: nothing is lost, nothing doubled
	@$(PYTEST) -q -n 0 -m chaos tests/chaos $(ARGS)

.PHONY: chaos
chaos: setup ## The same for longer, in full (MINUTES=15 SEED=1; needs root for a full disk and containerds)
	@$(BIN)/python -m sandbox.chaos --minutes $(or $(MINUTES),15) --seed $(or $(SEED),1) $(ARGS)

.PHONY: test-fuzz
test-fuzz: setup ## Ask the API, and say on NATS, what nobody should: 500 requests, 5,000 messages (2 minutes)
	@scripts/fetch-schemathesis >/dev/null
	@$(PYTEST) -q -n 2 -m fuzz tests/fuzz $(ARGS)

.PHONY: fuzz
fuzz: setup ## The same with 20,000 requests and 1,000,000 messages (FUZZ_SEED=1; an hour)
	@scripts/fetch-schemathesis >/dev/null
	@FUZZ_REQUESTS=20000 FUZZ_MESSAGES=1000000 $(PYTEST) -q -n 2 --log-level INFO -rP -m fuzz tests/fuzz $(ARGS)

.PHONY: test-crictl
test-crictl: setup ## Run the tests of the driver crictl against a real one, which is built once (1 minute, the first time 3 more)
	@scripts/fetch-crictl
	@$(PYTEST) -q -n 3 -m crictl tests/containerd $(ARGS)

.PHONY: test-kubernetes
test-kubernetes: setup ## Run the tests against a real API server, which is built once (5 minutes, the first time 10 more)
	@scripts/fetch-kubernetes
	@$(PYTEST) -q -n 2 tests/kubernetes $(ARGS)

.PHONY: e2e
e2e: setup ## Run the tests on a whole real cluster, whose parts are built once (15 minutes; needs root)
	@scripts/fetch-kubernetes cluster
	@$(PYTEST) -q tests/e2e $(ARGS)

.PHONY: cluster
cluster: setup ## Run a whole real cluster to try deploy/ on, until Ctrl-C (ARGS=--nodes=3; needs root)
	@scripts/fetch-kubernetes cluster
	@$(BIN)/python -m sandbox.kubernetes $(ARGS)

.PHONY: check
check: .venv/.ready ## The fast gate: format, lint, types (the page's too), import contracts, fast tests
	@$(MAKE) --no-print-directory --jobs=2 check-format check-style check-types check-imports check-page
	@$(PYTEST) -q -n 2 -m "not ($(REAL) or $(LONG))" $(ARGS)

.PHONY: check-format check-style check-types check-imports check-page
check-format:
	@$(BIN)/ruff format --check --quiet .
check-style:
	@$(BIN)/ruff check --quiet .
check-types:
	@$(BIN)/mypy
check-imports:
	@$(BIN)/lint-imports
check-page:
	@scripts/check-page

.PHONY: bench
bench: setup ## Measure speed and memory (ARGS=fleet: only that; ARGS="fleet --write": into docs/benchmarks.md)
	@case "$(ARGS)" in ""|*jobs*|*watch*) scripts/fetch-kubernetes cluster;; esac
	@$(BIN)/python -m bench $(ARGS) $(if $(MINUTES),--minutes $(MINUTES))

.PHONY: fmt
fmt: .venv/.ready ## Format the code and mend what ruff can mend by itself
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: lint
lint: .venv/.ready ## Lint, types and import contracts only
	@$(MAKE) --no-print-directory --jobs=2 check-style check-types check-imports check-page

.PHONY: proto
proto: ## Generate the runtime's protobuf messages anew (after a change of a .proto)
	@scripts/generate-proto

.PHONY: build
build: .venv/.ready ## Build the distributions into dist/, and what the images are made of (CycloneDX)
	@$(BIN)/python -m build --outdir dist .
	@$(BIN)/python -m build --outdir dist client/python
	@for each in coordinator agent; do scripts/make-sbom requirements/$$each.txt dist/ips-$$each.cdx.json; done

.PHONY: audit
audit: ## Ask whether anything that the images are made of has a known hole (needs the internet)
	@scripts/audit-requirements

# ── images, Docker, Kubernetes ──

DOCKER ?= docker
KUBECTL ?= kubectl
TAG ?= 1.0.0
# What is applied: deploy, or deploy/overlays/single, …/k3s, …/microk8s, …/crio.
OVERLAY ?= deploy
# The namespace and the namePrefix that the overlay says.
NAMESPACE ?= ips-system
PREFIX ?=
OURS := --selector image-prewarm-service/installation=$(PREFIX)ips-coordinator

.PHONY: docker-build
docker-build: ## Build the images ips-coordinator and ips-agent (TAG=1.0.0)
	@$(DOCKER) build -f Dockerfile.coordinator -t ips-coordinator:$(TAG) .
	@$(DOCKER) build -f Dockerfile.agent -t ips-agent:$(TAG) .

.PHONY: docker-run
docker-run: .env .tokens ## Run a coordinator with a NATS of its own in Docker: the API on 127.0.0.1:8080, NATS on 4222
	@$(DOCKER) run --detach --name ips-coordinator --read-only --volume ips-coordinator:/var/lib/ips \
	  --publish 127.0.0.1:8080:8080 --publish 4222:4222 --env 'IPS_NATS_LISTEN=[::]:4222' \
	  --env IPS_AUTH=tokens --env IPS_AUTH_TOKENS=/etc/ips/tokens --volume "$(CURDIR)/.tokens:/etc/ips/tokens:ro" \
	  ips-coordinator:$(TAG)
	@echo 'the token of the API is IPS_TOKEN in .env: set -a && . ./.env && ips tasks'
	@echo 'the token of an agent (IPS_NATS_TOKEN): $(DOCKER) exec ips-coordinator python3 -m coordinator join-token NODE'

.PHONY: docker-stop
docker-stop: ## End what docker-run started; its data stay in the volume ips-coordinator
	@$(DOCKER) stop --time 40 ips-coordinator && $(DOCKER) rm ips-coordinator

# The token of NATS, that of the API for its admin, and in .tokens what the API knows that one by.
.env .tokens: scripts/make-tokens
	@scripts/make-tokens

.PHONY: docker-compose-up
docker-compose-up: .env .tokens ## Run NATS, coordinator, an agent on this host's containerd, and Prometheus
	@TAG=$(TAG) $(DOCKER) compose build
	@TAG=$(TAG) COMPOSE='$(DOCKER) compose' scripts/make-node-token
	@TAG=$(TAG) $(DOCKER) compose up --detach

.PHONY: docker-compose-down
docker-compose-down: .env ## End them; volumes stay
	@$(DOCKER) compose down

.PHONY: k8s-deploy
k8s-deploy: ## Apply the service to the current cluster (OVERLAY=deploy/overlays/single) and wait for it
	@$(KUBECTL) get namespace $(NAMESPACE) >/dev/null 2>&1 || \
	  if [ $(NAMESPACE) = ips-system ]; then $(KUBECTL) apply -k deploy/namespace; \
	  else $(KUBECTL) create namespace $(NAMESPACE); fi
	@$(KUBECTL) apply -k deploy/roles
	@$(KUBECTL) apply -k $(OVERLAY)
	@$(KUBECTL) -n $(NAMESPACE) rollout status deployment $(OURS) --timeout=300s
	@$(KUBECTL) -n $(NAMESPACE) rollout status daemonset $(OURS) --timeout=300s

.PHONY: k8s-status
k8s-status: ## Show what runs of it, where, and why not
	@$(KUBECTL) -n $(NAMESPACE) get pods,pvc -o wide
	@$(KUBECTL) -n $(NAMESPACE) get events --field-selector type=Warning

.PHONY: k8s-logs
k8s-logs: ## Follow the logs of the coordinator and of all agents
	@$(KUBECTL) -n $(NAMESPACE) logs --follow --prefix --max-log-requests=1000 --tail=20 \
	  --selector 'app.kubernetes.io/name in (ips-coordinator,ips-agent)'

.PHONY: k8s-port-forward
k8s-port-forward: ## The API and the page on http://localhost:8080 (PORT=8080)
	@$(KUBECTL) -n $(NAMESPACE) port-forward service/$(PREFIX)ips-coordinator $(or $(PORT),8080):80

.PHONY: k8s-delete
k8s-delete: ## Remove everything of it from the cluster, stored tasks included; the namespace stays
	@$(KUBECTL) delete -k $(OVERLAY) --ignore-not-found
	@$(KUBECTL) -n $(NAMESPACE) delete pvc,configmap $(OURS)
	@$(KUBECTL) -n $(NAMESPACE) delete secret $(PREFIX)ips-nats --ignore-not-found

.PHONY: clean
clean: ## Remove everything that was made here
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
