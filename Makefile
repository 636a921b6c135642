# Short names for the commands of CONTRIBUTING.md; make itself is optional.
.PHONY: install run test long lint format constraints loadtest bench

install:      ## .venv with everything a developer needs
	./install cpu,train,dev,loadtest

run:          ## serve the demo
	./run

test:         ## lint, types, room rules, tests: what CI runs
	./test

long:         ## the same and the tests that take minutes
	./test --long

lint: install
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

format: install
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# Take the newest versions that pyproject.toml allows, on the oldest Python, and write them down.
# A build tag (torch 2.13.0+cpu) is cut off: the version is pinned, the build is the machine's.
constraints:
	rm -rf build/constraints && python3.11 -m venv build/constraints
	build/constraints/bin/pip install --quiet --no-deps "$$(grep -o 'torch==[0-9.]*' pyproject.toml)" \
	    --extra-index-url https://download.pytorch.org/whl/cpu
	build/constraints/bin/pip install --quiet ".[cpu,train,dev,loadtest]"
	{ echo "# Exact versions for pip: -c constraints.txt. Written by 'make constraints'."; \
	  build/constraints/bin/pip list --format=freeze --exclude pip --exclude setuptools --exclude finerank \
	  | sed 's/+.*//'; } > constraints.txt

loadtest:     ## locust against a running service, see loadtest/README.md
	./install cpu,loadtest
	.venv/bin/locust -f loadtest/locustfile.py --host http://127.0.0.1:8000

# The record: minutes each, on a machine that does nothing else; peers where they are installed.
bench:        ## every bench and drill, see loadtest/README.md
	./install cpu,train,loadtest
	.venv/bin/python -m loadtest.bench compare
	.venv/bin/python -m loadtest.bench curve
	.venv/bin/python -m loadtest.bench overload
	.venv/bin/python -m loadtest.bench growth
	.venv/bin/python -m loadtest.stall_drill
	.venv/bin/python -m loadtest.swap_drill
