# Everything runs in .venv, which is made from constraints.txt when it is missing or older than what it is made from.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
STBENCH := $(VENV)/bin/stbench
DEMO := runs/demo
# One thread per test process: the tensors are tiny, and there is a process per core.
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest

.PHONY: install demo test lint bench reliability detector clean

install: $(READY)  ## Make the environment: `source .venv/bin/activate` enters it.

demo: $(READY)  ## Train and evaluate two variants on a CPU, then report: about 5 minutes on 2 cores.
	$(STBENCH) run variant=latte1 dataset=shapes preset=demo seed=0 --out $(DEMO) --resume
	$(STBENCH) run variant=pseudo3d_unet dataset=shapes preset=demo seed=0 --out $(DEMO) --resume
	$(STBENCH) report $(DEMO) --out $(DEMO)-report

test: lint  ## Lint, type check, and the whole test suite.
	$(PYTEST) -n auto --dist worksteal -q

lint: $(READY)  ## Style, format, types and workflows.
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/zizmor --offline --pedantic .github/workflows

bench: $(READY)  ## Measure how fast stbench is here: about 30 minutes on 2 cores; figures go to results/reference/.
	$(VENV)/bin/python -m stbench.bench --out results/reference $(PARTS)

reliability: $(READY)  ## How often verdicts are wrong, and what they find: the tables of docs/verdicts.md, some minutes.
	$(VENV)/bin/python -m stbench.studies.reliability --draws 2000

detector: $(READY)  ## Train the built-in video classifier again and replace its shipped weights.
	$(VENV)/bin/python -m stbench.metrics.detectors.train_shapes3d --out stbench/metrics/detectors/shapes3d.safetensors
	$(VENV)/bin/python -m stbench.metrics.detectors.train_motion_head --out stbench/metrics/detectors/shapes3d_motions.safetensors

clean:  ## Remove the environment and what was built; runs are kept.
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "stbench needs Python 3.10 or newer: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
