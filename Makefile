# The workbench's commands. They need Python 3.11 or newer and make; everything else is installed into .venv.
#
#   make run            set up, start the embedded network, run all notebooks, leave a report in runs/latest
#   make lab            set up, open JupyterLab, in which notebooks/ and files/ are seen
#   make tour           run all notebooks and make docs/tour.md and its pictures of what they show
#   make test           set up, run the whole test suite
#   make check          style and types
#   make rebuild-check  rebuild the Motoko canisters and compare them with files/ (needs Node)
#   make bench          measure speed against what it is compared with; QUICK=1 for a rough look
#   make fuzz           send the embedded network 100,000 odd requests; CASES=1000 for fewer, SEED=2 for others
#   make clients        install from npm what tests use: clients of the network, a check of pages (needs Node)
#   make clean          remove what was made here: .venv, runs, the embedded network's state
#
# Options of `mainer-nb run` go into RUN, such as: make run RUN="--model qwen2.5-0.5b-instruct-q8_0"

.PHONY: run lab tour test check rebuild-check clients bench fuzz clean

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python tools/install.py
RUN ?=
TEST ?=

run: $(VENV)/installed
	@$(BIN)/mainer-nb run $(RUN)

lab: $(VENV)/installed
	@$(BIN)/mainer-nb lab

tour: $(VENV)/installed
	$(BIN)/python tools/tour.py

test: $(VENV)/installed-test
	$(BIN)/python -m pytest $(TEST)

check: $(VENV)/installed-tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed-bench
	$(BIN)/python bench/suite.py $(if $(QUICK),--quick --results build/bench)

fuzz: $(VENV)/installed-test
	$(BIN)/python tests/localnet/fuzz/run.py --cases $(or $(CASES),100000) --seed $(or $(SEED),1)

# Clients of the Internet Computer from npm, for the tests of the embedded network, and axe-core, for a test of the
# report; without npm these are skipped.
clients:
	@if command -v npm >/dev/null 2>&1; then \
		npm install --prefix tests/localnet/clients --no-package-lock --no-audit --no-fund; \
	else \
		echo "clients: skipped, since npm is not installed"; \
	fi

rebuild-check:
	@if command -v npm >/dev/null 2>&1; then \
		cd canisters && npm ci --no-audit --no-fund && npm run check; \
	elif [ -n "$$CI" ]; then \
		echo "rebuild-check: npm is not installed, but is needed here" >&2; exit 1; \
	else \
		echo "rebuild-check: skipped, since npm is not installed"; \
	fi

clean:
	@if [ -x $(BIN)/mainer-nb ]; then $(BIN)/mainer-nb net reset; fi
	rm -rf $(VENV) runs .localnet build

# What is needed to run: the package. What is needed to check: the tools. What is needed to test, beside them: the sources
# that the LLM canister is built from and the LLM canister itself, so that the tests need no network and wait for no compiler.
$(VENV)/installed: $(VENV)/created pyproject.toml
	@$(INSTALL) "the workbench into $(VENV)" -e .
	@touch $@

$(VENV)/installed-tools: $(VENV)/installed
	@$(INSTALL) "the tests' tools into $(VENV)" -e ".[test]"
	@touch $@

$(VENV)/installed-test: $(VENV)/installed-tools
	@$(BIN)/python -m mainer_nb.llm_build --fetch
	@$(BIN)/python -c "from mainer_nb import artifacts, progress; artifacts.llm_wasm(progress.auto())"
	@touch $@

# What is compared with: other clients, and llama.cpp natively, which is compiled here and wants a C++ compiler.
$(VENV)/installed-bench: $(VENV)/installed
	@$(INSTALL) "what is compared with into $(VENV)" -e ".[bench]"
	@touch $@

# PYTHON chooses another interpreter: make run PYTHON=/opt/python3.12/bin/python3
$(VENV)/created:
	@for python in "$(PYTHON)" python3 python3.13 python3.12 python3.11 python3.14 python; do \
		[ -n "$$python" ] || continue; \
		if "$$python" -c "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1; then \
			echo "using $$python: `$$python --version`"; \
			"$$python" -m venv $(VENV) && touch $@ && exit 0; \
			exit 1; \
		fi; \
	done; \
	echo "No Python 3.11 or newer with venv was found. Install one (on Debian with python3-venv)," >&2; \
	echo "or name one: make run PYTHON=/path/to/python3" >&2; \
	exit 1
