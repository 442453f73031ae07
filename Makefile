PYTHON ?= python3
BIN := .venv/bin
# Small tensors gain nothing from more threads than one. Bytecode is kept: tests start many processes.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q
NUMERICAL := tests/golden tests/core/test_model.py tests/core/test_losses.py tests/core/test_distributions.py \
	tests/core/test_engine_updates.py tests/contracts/test_priors.py tests/contracts/test_observations.py \
	tests/contracts/test_gan_family.py tests/distributed/test_two_processes.py

.PHONY: demo test processors no-avx avx2 check docs lines papers clean

demo: .venv/.installed
	$(BIN)/ganvae run --plugin vae

# Each of two processes takes half of the files in their order, so that what the tests of a file share is made once, and
# takes over from the other at the end.
test: .venv/.installed-dev
	$(PYTEST) -n 2 --dist worksteal

# The numerical tests with the instruction sets of other processors. One process each, for `make --jobs`.
processors: no-avx avx2

avx2: .venv/.installed-dev
	ATEN_CPU_CAPABILITY=avx2 $(PYTEST) tests/golden

no-avx: .venv/.installed-dev
	ATEN_CPU_CAPABILITY=default $(PYTEST) $(NUMERICAL)

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/ganvae plugins catalogue --check

docs: .venv/.installed-dev
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --strict

# Code lines by package: no blank, comment or docstring lines.
lines:
	@$(PYTHON) benchmarks/code_lines.py

# make papers FIGURES="grid ring/default" OPTIONS="--jobs 4"; OPTIONS=--list tells what there is.
papers: .venv/.installed
	$(BIN)/python benchmarks/papers/run.py $(OPTIONS) $(FIGURES)

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; name one:  make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv .venv

# The pinned versions of constraints.txt hold for everything that is installed. pip would compile it on one core.
INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check --no-compile -c constraints.txt
COMPILE := $(BIN)/python -m compileall -qq -j 0 .venv/lib || true

.venv/.installed: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing into .venv: torch is large, so the first time takes some minutes …"
	@$(INSTALL) -e .
	@$(COMPILE)
	@touch $@

.venv/.installed-dev: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing into .venv, tools included: torch is large, so the first time takes some minutes …"
	@$(INSTALL) -e '.[dev]'
	@$(COMPILE)
	@touch $@ .venv/.installed

clean:
	rm -rf .venv site
