# Everything that sets up, runs and measures. On a fresh Debian machine, `make demo` and `make test` need nothing else
# than root or sudo. Nothing is written outside the clone, the user's cache and kvmctl's own state directory.

.DEFAULT_GOAL := help
.PHONY: help demo test lab metal bench faults bench-migrate lint docs clean

PYTHON := .venv/bin/python
# One more than there are processors: most tests of real hosts wait.
WORKERS = $(shell expr $$(nproc) + 1)

help: ## Say what there is to make.
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

demo: ## Boot a real guest from a YAML file, look at it, stop and delete it. Under two minutes.
	@.ci/packages demo
	@/usr/bin/python3 -m tests.lab.demo

test: ## Run all tests; TESTS="tests/spec -k disk" chooses.
	@.ci/packages test
	@.ci/environment
	@$(PYTHON) -m pytest --numprocesses $(WORKERS) --maxprocesses 4 --dist loadscope --max-worker-restart 0 $(TESTS)

lab: ## Open a shell on one of two KVM hosts made for you, with kvmctl and a guest at hand. Needs root.
	@.ci/packages test
	@.ci/environment
	@$(PYTHON) -m tests.lab

metal: ## Open a shell on a host with real KVM, NUMA and an IOMMU, emulated for you. Needs root.
	@.ci/packages test
	@.ci/environment
	@$(PYTHON) -m tests.metal

bench: ## Measure kvmctl against virsh and bare Python. Needs root.
	@.ci/packages test
	@.ci/environment
	@$(PYTHON) -m tests.bench

bench-migrate: ## Measure migrations by kvmctl against virsh, and forecasts against facts. Needs root; half an hour.
	@.ci/packages test
	@.ci/environment
	@$(PYTHON) -m tests.bench.migrate --grid

faults: ## Break migrations in every way there is, and say what became of each. Needs root.
	@.ci/packages test
	@.ci/environment
	@$(PYTHON) -m tests.lab.faults

lint: ## Check style and types.
	@.ci/environment
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

docs: ## Make the man pages, completions and schema again.
	@.ci/environment
	@$(PYTHON) -m kvmctl.reflect

clean: ## Remove what making left in the clone.
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find kvmctl tests -name __pycache__ -type d -prune -exec rm -rf {} +
