# galmass: `make` lists what there is. Every target sets up what it needs; a second call sets up nothing.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= $(firstword $(shell command -v python3.11 python3 2>/dev/null))
TORCH ?= torch==2.13.0
CORES ?= all
CONFIG ?=
OVERLAY := $(if $(CONFIG),--configfile $(CONFIG))
# one demo at a time in a folder; where there is no flock (macOS) nobody watches
ALONE := $(if $(shell command -v flock),mkdir -p .snakemake && flock --nonblock --conflict-exit-code 75 .snakemake/demo)
VENV := .venv
BENCH_VENV := .venv-bench
READY := $(VENV)/.ready
BENCH_READY := $(BENCH_VENV)/.ready
LINT_READY := $(VENV)/.ready-lint
BIN := $(VENV)/bin
# without a graphics card the `gpu` tokens of the default profile only stand in the way: one per core
TOKENS := $(if $(shell nvidia-smi -L 2>/dev/null),,--resources gpu=$(shell nproc 2>/dev/null || echo 1))
LICENCES := PYTHONPATH=workflow $(BIN)/python -m galmass.licences requirements.lock docs/licences.md
ENVS ?= $(wildcard envs/*.yaml)
RULES := PYTHONPATH=workflow $(BIN)/python -m galmass.figures.rules
DOCUMENT := PYTHONPATH=workflow $(BIN)/python -m galmass.configuration workflow/schemas/config.schema.yaml config/config.yaml config/README.md
export PYTHONNOUSERSITE := 1

.PHONY: help demo run test lint bench docs lock pins clean
help:
	@echo 'make demo         run the embedded default (CONFIG=overlay.yaml) and build results/report.html'
	@echo 'make test         all tests'
	@echo 'make lint         ruff, snakefmt, yamllint, snakemake --lint, documents up to date'
	@echo 'make bench AREA=  speed and accuracy against peers, one of: $(notdir $(basename $(wildcard tests/benchmarks/bench_*.py)))' | sed 's/bench_//g'
	@echo 'make docs         regenerate config/README.md from the schema, docs/licences.md from what is installed, docs/rules.svg from the rules'
	@echo 'make lock         resolve requirements*.in anew into requirements*.lock'
	@echo 'make pins         solve envs/*.yaml by conda into explicit pins of this platform (ENVS= for some)'
	@echo 'make clean        remove results, logs and virtual environments'

demo: $(READY)
	@$(ALONE) $(MAKE) --no-print-directory run || { [ $$? -ne 75 ] || echo "make demo, or what it started, is still running here: pgrep -af snakemake" >&2; exit 1; }
run:
	@# a run that was killed leaves its lock behind
	@said=$$($(BIN)/snakemake $(OVERLAY) --unlock 2>&1) || { echo "$$said" >&2; exit 1; }
	$(BIN)/snakemake $(OVERLAY) --cores $(CORES) $(TOKENS)
	@test -f results/report.html || $(BIN)/snakemake $(OVERLAY) --report results/report.html --quiet all
	@echo "Headline numbers: results/headlines.csv   report: $(CURDIR)/results/report.html"

# what needs no finished run of tests/workflow/tiny.yaml, beside the tests that do: half of the time each
APART := $(addprefix tests/workflow/test_,$(addsuffix .py,benchmarks downloads configuration_errors environments)) tests/unit
test: $(READY)
ifdef PYTEST
	$(BIN)/python -m pytest $(PYTEST)
else
	@mkdir -p .snakemake; $(BIN)/python -m pytest $(APART) > .snakemake/tests_apart.log 2>&1 & apart=$$!; \
	workflow=0; $(BIN)/python -m pytest tests/workflow $(addprefix --ignore=,$(filter tests/workflow/%,$(APART))) || workflow=$$?; \
	others=0; wait $$apart || others=$$?; cat .snakemake/tests_apart.log; exit $$(( workflow ? workflow : others ))
endif

lint: $(LINT_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/yamllint --strict .
	$(BIN)/snakemake --lint --quiet
	$(DOCUMENT) --check
	$(LICENCES) --check
	$(BIN)/snakemake --rulegraph dot 2>/dev/null | $(RULES) .snakemake/rules.svg && cmp .snakemake/rules.svg docs/rules.svg \
	  || { echo "docs/rules.svg shows other rules than the Snakefile: make docs" >&2; exit 1; }

bench: $(BENCH_READY)
	@test -f "tests/benchmarks/bench_$(AREA).py" || { echo "AREA='$(AREA)' has no benchmark; see make help" >&2; exit 2; }
	PYTHONPATH=workflow:tests/workflow $(BENCH_VENV)/bin/python tests/benchmarks/bench_$(AREA).py

docs: $(READY)
	$(DOCUMENT)
	$(LICENCES)
	$(BIN)/snakemake --rulegraph dot 2>/dev/null | $(RULES) docs/rules.svg

# a pin file holds what conda brings; a script beside it, which Snakemake runs after it, what pip brings
pins:
	@command -v conda >/dev/null || { echo "make pins needs conda on the path, and a channel that it reaches" >&2; exit 2; }
	@platform=$$(conda info --json | sed -n 's/.*"platform": *"\([^"]*\)".*/\1/p'); \
	for file in $(ENVS); do stem=$${file%.yaml}; made=.snakemake/pins/$$(basename $$stem); \
	  rm -rf $$made $$stem.*.pin.txt $$stem.post-deploy.sh; echo "== $$stem.$$platform.pin.txt"; \
	  conda env create --quiet --file $$file --prefix $$made; \
	  conda list --explicit --md5 --prefix $$made > $$stem.$$platform.pin.txt; \
	  $$made/bin/python -m pip list --format freeze | sed 's/+.*//' | tr '\n' ' ' | sed 's/^/python -m pip install --quiet --no-deps /' > $$stem.post-deploy.sh; \
	done

clean:
	rm -rf results logs benchmarks .snakemake $(VENV) $(BENCH_VENV)

$(READY): requirements.lock
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "Python 3.11 is needed, found '$(PYTHON)'; name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "== 1/4 virtual environment $(VENV)"
	$(PYTHON) -m venv --clear $(VENV)
	@echo "== 2/4 $(TORCH) (on its own: its wheel differs per machine)"
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	@echo "== 3/4 everything else, pinned by hash"
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements.lock
	@echo "== 4/4 check"
	$(BIN)/python -m pip check
	@touch $@

$(LINT_READY): $(READY) requirements-lint.lock
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements-lint.lock
	@touch $@

$(BENCH_READY): $(READY) requirements-bench.lock
	@echo "== peers of the benchmarks, over the product's packages, in $(BENCH_VENV)"
	$(PYTHON) -m venv --clear $(BENCH_VENV)
	$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' > $(BENCH_VENV)/lib/python3.11/site-packages/product.pth
	$(BENCH_VENV)/bin/python -m pip install --quiet --require-hashes --no-deps -r requirements-bench.lock
	@touch $@

lock: $(READY)
	$(BIN)/python -m venv --clear .snakemake/uv && .snakemake/uv/bin/python -m pip install --quiet uv
	echo "torch ; sys_platform == 'never'" > .snakemake/uv/no-torch.txt
	.snakemake/uv/bin/uv pip compile requirements.in --override .snakemake/uv/no-torch.txt --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate --quiet --output-file requirements.lock
	.snakemake/uv/bin/uv pip compile requirements-lint.in --no-deps --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --no-annotate --quiet --output-file requirements-lint.lock
	@# peers without what they ask for: torch and the rest are the product's
	.snakemake/uv/bin/uv pip compile requirements-bench.in --no-deps --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --no-annotate --quiet --output-file requirements-bench.lock
