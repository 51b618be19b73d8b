# `make` tells the targets. Each sets up what it needs in .venv (Python 3.10 to 3.13, pinned versions) and then runs;
# what is set up already stays as it is until a lock file changes. Another Python: make PYTHON=/path/to/python3.12 demo
# .venv-addons is the older end of the supported range, for tensorflow-addons (Python 3.10 or 3.11).

PY := .venv/bin/python
ADDONS_PY := .venv-addons/bin/python
DEMO := build/demo
export PYTHON

.PHONY: help demo demo-addons test test-slow test-addons test-addons-slow fuzz lint clean distclean

help:
	@echo "make demo       draw pictures, then convert, train, evaluate, export, predict and report (3 minutes, 2 cores of Zen 4)"
	@echo "make test       run the tests, less the slow ones"
	@echo "make test-slow  run the slow tests"
	@echo "make fuzz       send drawn pictures and requests through everything that reads them, for 10 minutes"
	@echo "make lint       check style and types"
	@echo "make clean      remove build/ and caches"
	@echo "make distclean  remove the environments too"
	@echo "make demo-addons, test-addons, test-addons-slow"
	@echo "                the same with TensorFlow 2.15, Keras 2.15 and tensorflow-addons"

# A fresh run each time: what an earlier demo left under build/demo is removed first. The training says its error with
# one view, and the report shows what runs on which device.
demo: .venv/run-installed
demo-addons: PY := $(ADDONS_PY)
demo-addons: .venv-addons/run-installed
demo demo-addons:
	rm -rf $(DEMO)
	$(PY) -m demo.generate_images --out $(DEMO)/images
	$(PY) -m tfrecords.convert folder --train $(DEMO)/images/train --val $(DEMO)/images/val --out $(DEMO)/data
	$(PY) train.py --config configs/demo.yaml --run $(DEMO)/run
	$(PY) -m alexnet_tf.evaluate --run $(DEMO)/run --views 10
	$(PY) export.py --run $(DEMO)/run --out $(DEMO)/models/alexnet --examples 6
	$(PY) -m alexnet_tf.predict --model $(DEMO)/models/alexnet \
		$(DEMO)/images/unseen/star.jpg $(DEMO)/images/unseen/checkerboard.jpg $(DEMO)/images/unseen/ring.jpg
	$(PY) -m alexnet_tf.report --run $(DEMO)/run --out $(DEMO)/report

test: .venv/test-installed
	sh scripts/run_tests.sh $(PY)

test-slow: .venv/test-installed
	$(PY) -m pytest -m slow

test-addons: .venv-addons/test-installed
	sh scripts/run_tests.sh $(ADDONS_PY)

test-addons-slow: .venv-addons/test-installed
	$(ADDONS_PY) -m pytest -m slow

# Six tests of 100 s; others are drawn each time. A round that failed is drawn again by FUZZ_SEED, which is printed.
FUZZ_SECONDS ?= 100
FUZZ_SEED ?= $(shell date +%s)
fuzz: .venv/test-installed
	FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_SEED=$(FUZZ_SEED) $(PY) -m pytest -rP tests/fuzzing

lint: .venv/test-installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

clean:
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name .venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean
	rm -rf .venv .venv-addons

# The stamps come last, so that an interrupted installation is taken up again.
SCRIPTS := pyproject.toml scripts/find_python.sh scripts/install_packages.sh

.venv/run-installed: requirements/run.lock $(SCRIPTS)
	@sh scripts/install_packages.sh run .venv 13
	@touch $@

.venv/test-installed: requirements/test.lock .venv/run-installed
	@sh scripts/install_packages.sh test .venv 13
	@touch $@

.venv-addons/run-installed: requirements/addons.lock $(SCRIPTS)
	@sh scripts/install_packages.sh addons .venv-addons 11
	@touch $@

.venv-addons/test-installed: requirements/test-addons.lock .venv-addons/run-installed
	@sh scripts/install_packages.sh test-addons .venv-addons 11
	@touch $@
