# `make help` prints the lines that begin with two number signs.
## make demo               set everything up, run the storm of clicks, then serve (also: make)
## make demo-distributed   the same as two services, with a network that loses responses
## make demo-cluster       break a cluster while customers click, as root on Debian; see deploy/cluster
## make serve              set everything up and serve, without a storm; PORT=8000
## make setup              the environment, the database, its tables and the demo's data
## make simulate           click at a running server; SCENARIO=double_click, ARGS="--orders 50"
## make audit              check every invariant in one snapshot
## make lab                play every mechanism in every scenario; ARGS="--mechanism naive"
## make test               all checks and all tests
## make test-fast          unit and database tests: no process, no browser
## make test-unit          that tier alone: no database, no process
## make test-database      that tier alone: the database, no process
## make test-processes     that tier alone: servers, relays, commands
## make test-browser       that tier alone: Chromium on a live server
## make test-pooler        the tests of servers, behind PgBouncer in transaction mode
## make coverage           the lines that no test reaches, in any tier or process
## make fuzz               random requests, many times as many as the tests send; FUZZ_SEEDS="1 2 3"
## make supply-chain       hashes, bandit, licences, known vulnerabilities
## make mutants            remove each guard, one at a time; ARGS="--only database"
## make check              linters, types, import rules, migrations, deployment settings
## make pytest             the tests alone; ARGS="tests/orders -x"
## make package            build the wheel and the sdist of idempotency/ into build/dist, and check them
## make package-test       install that wheel into clean environments, and test it there
## make benchmark          what protection costs, beside unprotected views; ARGS="--clients 1"
## make compare-packages   ours beside packages from PyPI under the same faults
## make test-matrix        the tests on every Python from 3.11 on that this machine has
## make redis              install a redis-server for the lab's tests, as root on Debian
## make chromium           install Chromium for the browser tests, as root on Debian
## make translations       compile the messages
## make screenshots        take the pictures in the README anew
## make lock               resolve the requirements anew, with hashes
## make clean              delete the environment, the databases and all caches
## make help               this list
PYTHON ?= python3
PORT ?= 8000
RUN := .venv/bin/python
TIERS := test-unit test-database test-processes test-browser

.PHONY: demo demo-distributed demo-cluster serve setup simulate audit lab test check redis chromium pytest \
  test-fast test-unit test-database test-processes test-browser test-pooler coverage mutants package package-test \
  benchmark compare-packages test-matrix fuzz supply-chain lock translations screenshots clean help

demo: .venv/runtime .env translations
	@exec $(RUN) -m demo.serve --storm --port $(PORT)

help:
	@sed -n 's/^## //p' Makefile

demo-distributed: .venv/runtime .env translations
	@exec $(RUN) -m demo.serve --distributed --storm --port $(PORT)

demo-cluster: .venv/runtime translations
	@exec $(RUN) -m simulator.campaign $(ARGS)

serve: .venv/runtime .env translations
	@exec $(RUN) -m demo.serve --port $(PORT)

setup: .venv/runtime .env translations
	$(RUN) manage.py migrate --verbosity 0
	$(RUN) manage.py seed_demo

simulate: .venv/runtime .env translations
	$(RUN) manage.py simulate $(SCENARIO) --base-url http://127.0.0.1:$(PORT) $(ARGS)

audit: .venv/runtime .env translations
	$(RUN) manage.py migrate --verbosity 0
	$(RUN) manage.py audit

lab: .venv/runtime .env translations
	$(RUN) manage.py migrate --verbosity 0
	$(RUN) manage.py lab $(ARGS)

test: check redis chromium pytest

# DATABASE_URL names no server: none of these may need one.
check: export DATABASE_URL = postgres://nobody@127.0.0.1:1/none
check: .venv/development .env translations
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy .
	.venv/bin/lint-imports
	$(RUN) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	DEBUG=false SECRET_KEY="$$($(RUN) -c 'import secrets; print(secrets.token_urlsafe(50))')" \
	  ALLOWED_HOSTS=shop.example $(RUN) manage.py check --deploy --fail-level WARNING

# For the lab's Redis rows. The tests start a server of their own; the system's service stays off.
# Where there is none they are skipped, or fail: make test REDIS=required
export REDIS
redis:
	@[ -n "$$REDIS_URL" ] || command -v redis-server > /dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && $(INSTALL_REDIS); \
	} || echo "There is no redis-server, and it can't be installed here: the lab's Redis rows are not tested."

INSTALL_REDIS = export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
  && apt-get -qq update && apt-get -qq install --no-install-recommends redis-server > /dev/null \
  && { ! systemctl is-system-running > /dev/null 2>&1 || systemctl disable --now redis-server; }

# For the browser tests, with letters for the Chinese pages. Where there is none they are skipped,
# or fail: make test BROWSER=required
export BROWSER
chromium:
	@command -v chromium > /dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && $(INSTALL_CHROMIUM); \
	} || echo "There is no chromium, and it can't be installed here: the browser tests did not run."

INSTALL_CHROMIUM = export DEBIAN_FRONTEND=noninteractive \
  && apt-get -qq update && apt-get -qq install --no-install-recommends chromium \
     fonts-dejavu-core fonts-wqy-microhei > /dev/null

# Two workers, a database each. A file stays with one worker, so what its tests share is made once;
# those that take longest come first. One worker, in an order that is shuffled all the same: -n 0
PYTEST = .venv/bin/pytest $(PARALLEL) $(ARGS)
PARALLEL ?= -n 2 --dist loadfile --no-loadscope-reorder

# The reusable app's tests run in a Django project of their own.
APP = .venv/bin/pytest $(PARALLEL) --ds idempotency.tests.project.settings idempotency/tests

pytest: .venv/development .env translations
	$(PYTEST)
	$(APP)

# The tiers: unit (no database), database, processes (servers, relays, commands), browser.
test-fast: .venv/development .env translations
	$(PYTEST) -m "unit or database"
	$(APP) -m "unit or database"

$(TIERS): test-%: .venv/development .env translations
	$(PYTEST) -m $*

test-unit test-database test-processes: test-%: test-app-%
test-app-%: .venv/development translations
	$(APP) -m $*
test-processes: redis
test-browser: redis chromium

# The servers' statements go through PgBouncer in transaction mode; outages have their own tests.
test-pooler: export TEST_POOLER = true
test-pooler: .venv/development .env translations
	@command -v pgbouncer > /dev/null || { export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; \
	  apt-get -qq update && apt-get -qq install --no-install-recommends pgbouncer > /dev/null; }
	.venv/bin/pytest -n 2 --dist loadfile -m processes tests/orders tests/api tests/payments tests/shop \
	  tests/surface $(ARGS)

# The lines that no test reaches, in any tier or process. It takes longer than the tests alone.
coverage: export COVERAGE := .venv/bin/coverage
coverage: .venv/development .env translations redis chromium
	mkdir -p var/coverage
	$$COVERAGE erase
	-$$COVERAGE run -m pytest $(PARALLEL) $(ARGS)
	-$$COVERAGE run -m pytest idempotency/tests --ds idempotency.tests.project.settings
	$$COVERAGE combine --quiet
	$$COVERAGE report

# Hostile headers first, then the operations of the schema and their links; cases and seeds are
# printed. One failing request again: FUZZ_SEEDS=<its seed>, and the same FUZZ_REQUESTS.
fuzz: export FUZZ_SEEDS ?= 1 2 3
fuzz: export FUZZ_REQUESTS ?= 20000
fuzz: export FUZZ_EXAMPLES ?= 120
fuzz: export LOG_LEVEL = ERROR
fuzz: .venv/development .env translations
	.venv/bin/pytest -n 0 -q -s tests/surface/test_headers.py
	.venv/bin/pytest -n 0 -q -s tests/api/test_schema.py

supply-chain: .venv/development
	$(RUN) -m tests.support.supply_chain

# Which guard does no test miss? A second run continues the first. ARGS="--only source"
mutants: .venv/development .env translations
	@$(RUN) -m tests.mutants $(ARGS)

package: .venv/development
	rm -rf build/dist
	$(RUN) -m build --no-isolation --outdir build/dist idempotency
	$(APP)/test_package.py
	$(APP)/test_readme.py
	$(RUN) -m zipfile --list build/dist/*.whl

# A project started by django-admin, the README typed in, and the app's own tests. Another cell:
# make package-test PACKAGE_PYTHON=/path/to/python3.13 PACKAGE_DJANGO=6.1 DATABASE_URL=postgres://…
export PACKAGE_PYTHON PACKAGE_DJANGO
package-test: .venv/development redis
	$(APP)/test_installed.py $(ARGS)

# The pictures in the README, from a real run.
screenshots: .venv/development .env translations
	SCREENSHOTS=docs/images .venv/bin/pytest tests/browser/test_pictures.py

# What Django reads, from what people write.
MESSAGES := $(patsubst %.po,%.mo,$(wildcard */locale/*/LC_MESSAGES/django.po))
translations: $(MESSAGES)
%.mo: %.po | .venv/runtime
	@.venv/bin/pybabel -q compile --input-file $< --output-file $@ --locale zh_Hans

# Ratios to the same effects unprotected, on databases and servers of its own: benchmarks/README.md
benchmark: .venv/runtime .env translations
	@$(RUN) -m benchmarks $(ARGS)

# Ours beside six packages from PyPI, each in an environment of its own. ARGS="--markdown --twice"
compare-packages: .venv/runtime .env redis
	$(RUN) -m benchmarks.packages $(ARGS)

test-matrix: .venv/development .env translations
	$(RUN) -m tests.support.matrix

lock:
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv
	UV_CUSTOM_COMPILE_COMMAND="make lock" .venv-lock/bin/uv pip compile --quiet --universal \
	  --generate-hashes --python-version 3.11 $(ARGS) pyproject.toml -o requirements.txt
	UV_CUSTOM_COMPILE_COMMAND="make lock" .venv-lock/bin/uv pip compile --quiet --universal \
	  --generate-hashes --python-version 3.11 $(ARGS) pyproject.toml --group dev \
	  -c requirements.txt -o requirements-dev.txt
	echo 'patroni[etcd3,psycopg3]' | UV_CUSTOM_COMPILE_COMMAND="make lock" .venv-lock/bin/uv pip compile \
	  --quiet --universal --generate-hashes --python-version 3.11 $(ARGS) - -o deploy/cluster/requirements.txt
	rm -rf .venv-lock

# The embedded PostgreSQL, that of the tests, and those of the two systems of demo-distributed.
clean:
	home="$${EMBEDDED_POSTGRES_HOME:-var/postgres}"; \
	[ ! -x $(RUN) ] || for each in "$$home" "$$home-tests" "$$home-orders" "$$home-payments"; do \
	  EMBEDDED_POSTGRES_HOME="$$each" $(RUN) -m embedded_postgres remove || exit; done
	rm -rf .venv .venv-* .env var build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache \
	  .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv .venv \
	  || { rm -rf .venv; echo "No venv module: on Debian, apt install python3-venv"; exit 1; }

.venv/runtime: requirements.txt | .venv/bin/python
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

.venv/development: requirements-dev.txt | .venv/runtime
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

# Development settings: no secret key, plain HTTP, the demo's public password.
.env:
	echo "DEBUG=true" > .env
