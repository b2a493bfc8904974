# The developer's interface: `make` lists what there is.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON ?= python3
IMAGE ?= fulfillment-worker
ARGS ?=
FAULTS ?= 100
SEED ?= 1
ENTRIES ?= 1000000
SEEDS ?= 1000
FOR ?= 3600
PROCESSES ?= 1000
TEST_PROCESSES ?= 4
HEALTHY ?= 60s
ROUNDS ?= 10
bin := .venv/bin
stamp := .venv/.installed
export PYTHON IMAGE

.PHONY: help setup demo test system-packages lint unit coverage chaos simulate hunt fuzz fuzz-decode replacements prove-books dist matrix matrix-docs bench bench-peers bench-more bench-docs prove-alerts prove-scaling panels monitoring kubernetes check-kubernetes format image prove-image lock lock-peers

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(stamp) ## Make .venv with the locked requirements and this project

$(stamp): pyproject.toml requirements/dev.txt scripts/setup
	@echo "Installing the locked requirements into .venv"
	@scripts/setup
	@touch $@

demo: setup ## Orders, a worker, an embedded server and a live view; ARGS="--orders 500" ends by itself
	@exec $(bin)/fulfillment-worker demo $(ARGS)

test: setup system-packages lint check-kubernetes coverage ## Everything that CI checks

system-packages:
	@scripts/install-system-packages

lint: setup ## Style, types and the direction of imports
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports

unit: setup ## The fast tests; ARGS go to pytest
	$(bin)/python -m pytest tests/unit $(ARGS)

coverage: setup ## All tests, with branch coverage; ARGS go to pytest
	$(bin)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --cov --cov-branch --cov-report=term $(ARGS)

chaos: setup system-packages ## FAULTS=100 faults by SEED=1 on a fleet under load, and an audit; ARGS="--json"
	@$(bin)/python -m proofs.chaos --faults $(FAULTS) --seed $(SEED) $(ARGS)

simulate: setup ## SEEDS=1000 simulated worlds on all cores, or the one of SEED=1234; ARGS="--trace" tells its story
	@$(bin)/python -m tests.simulation $(if $(filter command environment,$(firstword $(origin SEED))),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

hunt: setup ## Plant bugs in the worker one by one, and see within how many worlds each is found
	@$(bin)/python -m tests.simulation.hunt $(ARGS)

fuzz: setup system-packages ## ENTRIES=1000000 hostile entries by SEED=1 through a worker
	@$(bin)/python -m proofs.fuzz $(ENTRIES) $(SEED)

fuzz-decode: setup ## FOR=3600 seconds of atheris against decode; installs it in an environment of its own
	@build/fuzz/bin/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear build/fuzz
	@build/fuzz/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/fuzz.txt
	@PYTHONPATH=src build/fuzz/bin/python -m proofs.fuzz.decode $(FOR)

replacements: setup system-packages ## PROCESSES=1000 replaced one after another, scraped throughout
	@$(bin)/python -m proofs.replacements $(PROCESSES)

bench: setup system-packages ## How fast, how soon and how cheap, within 3 minutes; the figures go to .benchmarks/results
	@$(bin)/python -m benchmarks.suite

bench-peers: setup system-packages ## The same against other workers over Redis, within 30 minutes
	@$(bin)/python -m benchmarks.peers.install
	@$(bin)/python -m benchmarks.peers.compare
	@$(bin)/python -m benchmarks.peers.latency

bench-more: setup system-packages ## Processes, memory, scrapes, thousands at once, many queues, limits, dead letters, idle fleets, backlogs, recovery, watching, a hostile crowd, a durable Redis, large orders, a Redis far away
	@for name in processes memory scrape many queues limits letters idle backlog recovery watching crowd durable large far; do \
		echo "== benchmarks.$$name"; $(bin)/python -m benchmarks.$$name; done

bench-docs: setup ## Write the last figures into docs/performance.md, and draw the last make bench-peers
	@$(bin)/python -m benchmarks.report
	@$(bin)/python -m benchmarks.plot

prove-alerts: setup system-packages ## The fault that each alert is for, by real notifications; then HEALTHY=60s without any
	@$(bin)/python -m proofs.monitoring --healthy $(HEALTHY) $(ARGS)

panels: setup system-packages ## Draw docs/dashboards/ anew from a real run of five minutes
	@$(bin)/python -m proofs.panels build/panels-answers.json
	@build/panels/bin/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear build/panels
	@build/panels/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/panels.txt
	@build/panels/bin/python proofs/panels/draw.py build/panels-answers.json docs/dashboards

prove-scaling: setup system-packages ## ROUNDS=10 times from no worker to eight and back, by the scaler's own queries
	@$(bin)/python -m proofs.kubernetes $(ROUNDS)

kubernetes: setup ## Rewrite what deploy/kubernetes derives from its settings.env
	@$(bin)/python -m proofs.kubernetes.derive

check-kubernetes: setup system-packages ## Render deploy/kubernetes, and check it against the schemas of Kubernetes and of the operators
	@build/kubernetes/bin/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear build/kubernetes
	@build/kubernetes/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/kubernetes.txt
	@build/kubernetes/bin/python -m proofs.kubernetes.check

prove-books: setup system-packages ## 60 s of faults by SEED=1, with orders_unaccounted scraped each second
	@$(bin)/python -m proofs.monitoring.books 60 $(SEED)

monitoring: setup ## Rewrite what is checked in under monitoring/, and the rules in deploy/kubernetes
	@$(bin)/fulfillment-worker monitoring monitoring
	@$(bin)/python -m proofs.monitoring.rule_tests
	@$(bin)/python -m proofs.kubernetes.derive

format: setup ## Put the code into the project's style
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

dist: ## Build the wheel, the sdist and a bill of materials into dist/, and run the demo from the wheel
	@scripts/dist

matrix: ## The two commands on new Debians with other Pythons, servers and Prometheus (as root on Debian); ARGS="sid"
	@scripts/matrix $(ARGS)

matrix-docs: ## Write the last table of make matrix into docs/platforms.md
	@scripts/matrix-docs

image: ## Build the container image with docker, podman or buildah (BUILDER, IMAGE, BUILD_FLAGS)
	@scripts/image

prove-image: ## Build the image from an empty Debian and run orders through it, in a Docker Engine where there is one
	@scripts/prove-image

lock: ## Rewrite requirements/*.txt; ARGS="--upgrade" takes newer versions
	@scripts/lock $(ARGS)

lock-peers: ## Rewrite benchmarks/peers/locks/: the newest of the workers that make bench-peers measures
	@scripts/lock-peers
