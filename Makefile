# make demo    a road warrior behind a NAT moves to another network; MOBIKE keeps its tunnel
# make test    style, types and all tests          REQUIRE_PEERS=1: a missing judge (tshark ...) is a failure
# make soak    ten minutes of a tunnel with strongSwan under load, loss and rekeying (root; SOAK_S=60 is shorter)
# make fuzz    a million mutated messages; some minutes        FUZZFLAGS="--messages 100000 --seed 2"
# make bench   speed, as ratios to ns-3, ns.py and bare cryptography
# make steps   speed of single steps of a packet's way, in ns
# make clean   removes what the others made, except your runs in results/runs
# make lock    solves requirements.lock anew from pyproject.toml (needs uv; LOCK=--upgrade takes newer versions)
#
# Each one sets up what it needs: see .ci/setup.sh.

PY = .venv/bin/python
PYTESTFLAGS ?= -n auto --dist worksteal
LOCK ?=
SOAK_S ?= 600

.DELETE_ON_ERROR:
.PHONY: demo test lint fuzz soak bench steps clean lock peers

demo: .venv/project.stamp
	.venv/bin/ipsec-sim run topologies/road-warrior-mobike.yaml --out results/runs/demo

test: peers lint
	$(PY) -m pytest $(PYTESTFLAGS)

lint: .venv/project.stamp
	$(PY) -m ruff check --quiet --output-format concise .
	$(PY) -m ruff format --check --quiet .
	$(PY) -m mypy

soak: peers .venv/project.stamp
	SOAK_S=$(SOAK_S) $(PY) -m pytest -q -s tests/interop/test_soak.py

fuzz: .venv/project.stamp
	$(PY) -m tests.fuzz $(FUZZFLAGS)

bench: .venv/project.stamp
	-@.ci/setup.sh ns3
	@$(PY) -m tests.bench.table

steps: .venv/project.stamp
	$(PY) -m pytest -q --no-header -p no:xdist --benchmark-enable --benchmark-columns=median,iqr,ops \
	    tests/bench/test_hot_paths.py

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks results/runs/demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock:
	uv pip compile pyproject.toml --extra dev --universal --fork-strategy fewest --python-version 3.11 \
	    --generate-hashes --custom-compile-command "make lock" --quiet $(LOCK) -o requirements.lock

.venv/python.stamp: requirements.lock
	.ci/setup.sh python
	@touch $@

.venv/project.stamp: .venv/python.stamp pyproject.toml
	.ci/setup.sh project
	@touch $@

# Every time, because it only looks whether the programs are there.
peers:
	@.ci/setup.sh peers
