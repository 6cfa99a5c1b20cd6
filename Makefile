# Start with `make run` and `make test`. `make help` lists all targets.
PYTHON ?= python3
BIN := .venv/bin
LOCK := $(BIN)/uv pip compile --quiet --python-version 3.11 --no-header --no-annotate --no-emit-index-url

# compiled modules speed up the processes that the tests start
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test fuzz clients live torture killtest bench profile lint audit format docs lock clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: .venv/run ## serve on 127.0.0.1:8000, the in-memory cloud unless VMAPI_BACKEND names another
	@exec $(BIN)/gunicorn --config config/gunicorn.conf.py wsgi:app

# three processes on two cores: many tests wait for servers and timeouts
test: .venv/test ## run the tests that need neither root nor a cloud
	$(BIN)/pytest --numprocesses 3 --dist worksteal -m 'not live and not fuzz and not clients' --ignore=tests/fuzz --ignore=tests/clients --ignore=tests/live -p no:schemathesis

fuzz: .venv/test ## run the tests with generated input: schemathesis and hypothesis
	$(BIN)/pytest --numprocesses 2 -m fuzz --ignore=tests/live

clients: .venv/test ## lint the OpenAPI document, run generated clients, install and type-check the Python library (node, npm)
	$(BIN)/pytest tests/clients -p no:schemathesis

live: .venv/test ## run the live suite on the cloud of OS_CLOUD, else on a new OpenStack (root, Debian 12)
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/live/run

torture: .venv/test ## run the kill test on a running devcloud; options in HOW="--creates 200 --engine celery"
	eval "$$(tests/live/devcloud/devcloud.sh env)" && $(BIN)/python -m tests.live.crash_recovery $(HOW)

killtest: .venv/test ## run the kill test of the Python client on a simulated Nova; options in HOW="--creates 200"
	PYTHONPATH=.:clients/python $(BIN)/python -m tests.support.client_kill_test $(HOW)

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
	for page in settings problems commands authorization; do $(BIN)/flask --app wsgi docs $$page > docs/reference/$$page.md || exit; done
	$(BIN)/flask --app wsgi docs env > config/.env.example

lock: .venv/test ## update the locked requirements from setup.cfg
	$(BIN)/python -c "$$READ_SETUP" options install_requires | $(LOCK) --upgrade - -o requirements.txt
	( cat requirements.txt; $(BIN)/python -c "$$READ_SETUP" options.extras_require dev ) | $(LOCK) --upgrade - -o tests/requirements.txt

clean: ## remove all generated files
	rm -rf .venv .coverage* .*_cache .hypothesis

.venv/bin/pip:
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/run: requirements.txt | .venv/bin/pip
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
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
