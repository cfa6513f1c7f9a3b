# make demo    train, quantise, generate C, run it on an emulated chip, write the report (WORDS="lumos,nox" for your own words)
# make test    everything that continuous integration checks
# make lint    formatting, lint and types alone
# make docs    regenerate the pages that are made from the code
# make lock    resolve the newest versions of all dependencies into constraints.txt
# make clean   remove what these commands made, runs/ excepted

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := audio,speech,train,compile,emulate,wasm,dev
JOBS ?= 2

.PHONY: demo test lint docs lock clean

demo: $(STAMP)
	$(BIN)/jerboa demo $(if $(WORDS),--words "$(WORDS)")

test: lint
	$(BIN)/python -m pytest -n $(JOBS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python -m jerboa.documentation > docs/supported-operators.md.new
	mv docs/supported-operators.md.new docs/supported-operators.md

# Build dependencies come from constraints.txt too, which needs the build to run inside the environment.
$(STAMP): pyproject.toml constraints.txt
	@python=; for name in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	    if "$$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	        python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "Jerboa needs Python 3.11 or newer with its venv module (on Debian and Ubuntu: apt install python3-venv)." >&2; \
	    echo "None was found; name one with: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$($$python --version); the first time downloads PyTorch and a C compiler."; \
	"$$python" -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt setuptools
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[$(EXTRAS)]'
	@touch $@

lock: $(STAMP)
	rm -rf build/lock
	$(BIN)/python -m venv build/lock
	build/lock/bin/python -m pip install --disable-pip-version-check -U setuptools
	build/lock/bin/python -m pip install --disable-pip-version-check --no-build-isolation -e '.[$(EXTRAS)]'
	build/lock/bin/python -m pip freeze --all --exclude-editable --exclude pip | sed 's/+.*//' > build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/lock

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
