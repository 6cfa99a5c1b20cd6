# Start with `make run` and `make test`. `make help` lists all targets.
PYTHON ?= python3
BIN := .venv/bin
LOCK := $(BIN)/uv pip compile --quiet --python-version 3.11.2 --no-header --no-annotate --no-emit-index-url
OTHER_SUITES := $(patsubst %,--ignore=tests/%,e2e clients bench cluster packaging live)

# compiled modules speed up the processes that the tests start
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test e2e doctest fuzz disruptions clients cluster packaging live torture soak killtest benchtest bench profile lint audit format docs lock clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: .venv/run ## serve on 127.0.0.1:8000, the in-memory cloud unless VMAPI_BACKEND names another
	@exec $(BIN)/gunicorn --config config/gunicorn.conf.py wsgi:app

test: .venv/test ## run the quick tests: the whole of vmapi, without servers
	$(BIN)/pytest --numprocesses 3 --dist worksteal -m 'not live and not fuzz' --ignore=tests/fuzz $(OTHER_SUITES) -p no:schemathesis

# four processes on two cores: many tests wait for servers and timeouts
e2e: .venv/test ## run the tests of servers: gunicorn, nginx, a browser, Prometheus, an OpenID provider, vmctl on a terminal
	$(BIN)/pytest --numprocesses 4 --dist worksteal -m 'not disruption' tests/e2e --ignore=tests/e2e/documentation -p no:schemathesis

doctest: .venv/test ## run the commands and scripts of the documentation, use the docs pages in a browser (chromium)
	$(BIN)/pytest --numprocesses 4 --dist worksteal tests/e2e/documentation -p no:schemathesis

fuzz: .venv/test ## run the tests with generated input at length: schemathesis and hypothesis
	$(BIN)/pytest --numprocesses 2 --timeout 900 -m 'fuzz or hypothesis' --hypothesis-profile many $(OTHER_SUITES)

disruptions: .venv/test ## disrupt one server: outages, full disks, clock jumps, upgrades, rotations, backups
	$(BIN)/pytest --numprocesses 4 --dist worksteal -m disruption tests/e2e -p no:schemathesis

clients: .venv/test ## lint the OpenAPI document, run generated clients, install and type-check the Python library (node, npm)
	$(BIN)/pytest tests/clients --timeout 1200 -p no:schemathesis

cluster: .venv/test ## disrupt two instances behind HAProxy, on PostgreSQL, RabbitMQ and Redis, under load
	$(BIN)/pytest tests/cluster --timeout 1200 --capture=no -p no:schemathesis

packaging: .venv/test ## follow the installation page on a new Debian, build and run the image (root, debootstrap, buildah)
	$(BIN)/pytest tests/packaging --timeout 1200 -p no:schemathesis

live: .venv/test ## run the live suite on the cloud of OS_CLOUD, else on a new OpenStack (root, Debian 12)
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/live/run

torture: .venv/test ## run the kill test on a running devcloud; options in HOW="--creates 200 --engine celery"
	eval "$$(tests/live/devcloud/devcloud.sh env)" && $(BIN)/python -m tests.live.crash_recovery $(HOW)

soak: .venv/test ## run an hour of load with faults on a simulated Nova; options in HOW="--minutes 5 --chart soak.svg"
	$(BIN)/python -m tests.live.soak $(HOW)

killtest: .venv/test ## run the kill test of a client on a simulated Nova; options in HOW="--creates 200 --client graphql --engine-workers 1"
	PYTHONPATH=.:clients/python $(BIN)/python -m tests.support.client_kill_test $(HOW)

benchtest: .venv/test ## run each benchmark and profile in its short form (wrk)
	$(BIN)/pytest --numprocesses 2 --timeout 900 tests/bench -p no:schemathesis

bench: .venv/test ## measure the aims for speed on a quiet machine (wrk); options in HOW="reads --rounds 5"
	$(BIN)/python -m bench $(HOW)

profile: .venv/test ## profile the hot paths of the app; options in HOW="one-vm --cloud openstack"
	$(BIN)/python -m bench.profile $(HOW)

lint: .venv/test ## check style, types and import rules
	$(BIN)/ruff check --config config/ruff.toml
	$(BIN)/ruff format --check --config config/ruff.toml
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg
	cd clients/python && ../../$(BIN)/lint-imports

audit: .venv/test ## search for weaknesses in code and packages, and for secrets
	.ci/audit

format: .venv/test ## format the code
	$(BIN)/ruff check --fix --config config/ruff.toml
	$(BIN)/ruff format --config config/ruff.toml

docs: .venv/test ## write the generated pages: docs/reference and config/.env.example
	for page in settings problems commands authorization metrics logs; do $(BIN)/flask --app wsgi docs $$page > docs/reference/$$page.md || exit; done
	$(BIN)/flask --app wsgi docs schema > docs/reference/schema.graphql
	$(BIN)/flask --app wsgi docs env > config/.env.example

lock: .venv/test ## update the locked requirements from setup.cfg
	$(BIN)/python -c "$$READ_SETUP" options install_requires | $(LOCK) --upgrade - -o requirements.txt
	( cat requirements.txt; for extra in tracing graphql dev; do $(BIN)/python -c "$$READ_SETUP" options.extras_require $$extra; done ) | $(LOCK) --upgrade - -o tests/requirements.txt

clean: ## remove all generated files
	rm -rf .venv .coverage* .*_cache .hypothesis

.venv/bin/pip:
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/run: requirements.txt | .venv/bin/pip
	( cat requirements.txt; $(BIN)/python -c "$$READ_SETUP" options.extras_require graphql ) | $(BIN)/pip install --quiet --disable-pip-version-check -r /dev/stdin -c tests/requirements.txt
	@touch $@

.venv/test: tests/requirements.txt | .venv/bin/pip
	$(BIN)/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@ .venv/run

define READ_SETUP
import configparser, sys
setup = configparser.ConfigParser()
setup.read("setup.cfg")
print(setup[sys.argv[1]][sys.argv[2]])
endef
export READ_SETUP
