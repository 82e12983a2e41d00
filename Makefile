# Musical style transfer with latent diffusion: from an empty folder to the report.
#
#   make report     set up, run the chapters, build runs/PROFILE/report/main.pdf (what is done already is not done again)
#   make lab        open the notebooks in JupyterLab
#   make explorer   the explorer, a panel to play recordings in other styles, as a page in the browser
#   make site       build runs/site/index.html: what all pairs of instruments sound like, and the notebooks, to be opened or hosted
#   make test       lint, every notebook with its smoke profile, and the tests
#   make test-long  the tests that take long: dozens of kills, tens of thousands of random inputs
#   make bench      measure speed and cost against named alternatives, for the report: on an idle machine
#   make release  open the test sets of the rulers, for the report (MST_CORPUS names the real recordings): once a release
#   make publish    bring a run to what is committed: outputs into nbs/, sample, figures, tables, numbers, README's table, report/main.pdf
#   make shipped    train what lies in data/pretrained/ again (NAMES="judge vocoder": only these), on the whole rendered corpus
#   make setup      only the set-up: Debian packages where it may, then .venv
#   make clean      delete runs and made data
#
# PROFILE=smoke is a test, quick (the default) takes minutes on two cores, full wants a GPU. With full, PRESET says which model is
# trained at full length: mst (the default) or report.

PROFILE ?= quick
PRESET ?= mst
PYTHON ?= python3
NAMES ?=
export PYTHON
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.DELETE_ON_ERROR:
.PHONY: help setup report lab explorer site test test-long bench release publish shipped clean

help:
	@sed -n 's/^#   //p' Makefile

setup: .venv/.ready
.venv/.ready: pyproject.toml constraints.txt tools/setup.sh
	@sh tools/setup.sh

report: setup
	@python tools/run_notebooks.py $(PROFILE) $(PRESET)
	@python report/collect.py $(PROFILE)
	@sh tools/latex.sh $(PROFILE)

# A file that is uploaded to the explorer travels in one message; by default, 10 MB is the most.
lab: setup
	jupyter lab nbs --config=tools/lab.json $$([ "$$(id -u)" != 0 ] || echo --allow-root)

explorer: setup
	cd tools && MST_PROFILE=$(PROFILE) voila explorer.ipynb

site: setup
	@python tools/gallery.py $(PROFILE)

# Two notebooks at once, then two files of tests, one thread each; pytest stands last, its summary
# is the result.
test: setup
	ruff check .
	rm -rf runs/smoke
	MST_PROFILE=smoke OMP_NUM_THREADS=1 nbdev_test --n_workers 2 --do_print --timing
	OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile --no-loadscope-reorder

test-long: setup
	pytest -m long

# What they find lies in report/benchmarks. The report reads it there, now if the notebooks have run, else with make report.
bench: setup
	for name in training curves dataset sampling gpu cost; do python benchmarks/$$name.py || exit 1; done
	[ ! -d runs/$(PROFILE) ] || { python report/collect.py $(PROFILE) && sh tools/latex.sh $(PROFILE); }

# 95 minutes with one thread on two busy cores; not measured on idle ones.
release: setup
	python benchmarks/rulers.py

publish: report
	@python tools/run_notebooks.py $(PROFILE) $(PRESET) all
	@python tools/sample.py
	@python tools/publish.py $(PROFILE)
	@nbdev_clean

shipped: setup
	python tools/train_shipped.py $(NAMES)

clean:
	rm -rf build dist runs report/build data/downloads data/samples data/takes data/processed_images* data/midi processed_images
