# Everything a person types while developing. `make` alone lists the targets; each one sets up what it needs.

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3.11
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
LABEL_VENV := $(VENV)/label
LABEL_BIN := $(LABEL_VENV)/bin
LABEL_STAMP := $(LABEL_VENV)/.stamp
APP_VENV := $(VENV)/app
APP_BIN := $(APP_VENV)/bin
APP_STAMP := $(APP_VENV)/.stamp
STUDIES ?= data/studies

.PHONY: help setup demo test test-slow lint format label-setup label-server label-test app-setup app clean

help: ## list the targets
	@echo "usage: make TARGET [ARGS='...'], where ARGS goes to the command behind the target"
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-13s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with the exact versions of constraints.txt

demo: $(STAMP) ## pre-train and evaluate on synthetic radiographs, minutes on a CPU
	$(BIN)/python -m scripts.demo $(ARGS)

test: $(STAMP) ## run the quick tests
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-slow: $(STAMP) ## run the slow tests
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(STAMP) ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

label-server: $(LABEL_STAMP) ## annotate the images in STUDIES=FOLDER with MONAI Label, on this machine alone
	$(LABEL_BIN)/python -m scripts.label_server --studies "$(STUDIES)" $(ARGS)

label-setup: $(LABEL_STAMP) ## create the environment of label-server

label-test: $(LABEL_STAMP) ## run the tests of label-server, all of them, slow ones too
	$(BIN)/python -m pytest tests/label $(ARGS)

app: $(APP_STAMP) ## serve a web page for one radiograph at a time, on this machine alone
	$(APP_BIN)/python -m scripts.app $(ARGS)

app-setup: $(APP_STAMP) ## create the environment of app

clean: ## remove .venv and all caches; runs/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an interrupted set-up is taken up again by the next target. A name such as python3.11 may
# exist and yet not run (a version manager's shim) or lack ensurepip (Debian without python3-venv): each is tried.
$(STAMP): requirements.txt requirements-dev.txt constraints.txt
	@for python in "$(PYTHON)" python3; do \
	    if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "$$python -m venv $(VENV)"; exec "$$python" -m venv $(VENV); \
	    fi; \
	done; \
	echo "make: Python 3.11 or newer with its venv module was not found:" \
	    "install it (on Debian: python3.11 and python3.11-venv) or name it with 'make setup PYTHON=/path/to/python'." >&2; \
	exit 1
	@echo "Installing the packages into $(VENV): several GB on Linux, some minutes."
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt -c constraints.txt
	@touch $@

# An environment of its own over the packages of .venv, which stay as they are: same torch, same pydicom, same masks.
# $(call overlay,FOLDER,REQUIREMENTS)
define overlay
	$(BIN)/python -m venv --clear $(1)
	@packages() { "$$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }; \
	    packages "$(CURDIR)/$(BIN)/python" > "$$(packages $(1)/bin/python)/packages_of_the_bundle.pth"
	$(1)/bin/python -m pip install --quiet --no-deps --ignore-installed -r $(2)
endef

$(LABEL_STAMP): $(STAMP) requirements-label.txt
	@echo "Installing MONAI Label into $(LABEL_VENV): 2 GB, some minutes."
	$(call overlay,$(LABEL_VENV),requirements-label.txt)
	@touch $@

$(APP_STAMP): $(STAMP) requirements-app.txt
	@echo "Installing Gradio into $(APP_VENV): 125 MB, a minute."
	$(call overlay,$(APP_VENV),requirements-app.txt)
	@touch $@
