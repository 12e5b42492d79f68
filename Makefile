# Everything needs only Python 3.11+ and make. Another Python: make run PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test matrix check messages docs pictures bench bench-large bench-peers format

run: ## set everything up and start the console, a worker, the scheduler and the demo shop
	@exec $(PYTHON) jobsite/bootstrap.py run

test: ## every test, on SQLite and on PostgreSQL; ARGS="-k name" narrows it
	@$(PYTHON) jobsite/bootstrap.py test
	@exec $(BIN)/python -m tests.run $(ARGS)

matrix: ## the engine's tests on every Python and Django at hand, with the oldest and the newest of all else; ARGS="--ends"
	@$(PYTHON) jobsite/bootstrap.py matrix
	@exec $(BIN)/python -m tests.matrix $(ARGS)

check: ## format, lint, types, layers, migrations, templates, deploy checks
	@$(PYTHON) jobsite/bootstrap.py check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@git ls-files -z --cached --others --exclude-standard -- '*.py' | xargs -0 $(BIN)/django-upgrade --check --target-version 5.2
	@git ls-files -z --cached --others --exclude-standard -- '*.html' | xargs -0 -r $(BIN)/djade --check --target-version 5.2
	$(BIN)/python -m tests.messages --check
	$(BIN)/lint-imports
	$(BIN)/mypy
	DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python manage.py makemigrations --check --dry-run
	@DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python manage.py jobs_openapi | cmp - docs/openapi.json || \
		{ echo "docs/openapi.json is out of date: make format writes it" >&2; exit 1; }
	DJANGO_ALLOWED_HOSTS=jobs.example.com DJANGO_SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))') \
		$(BIN)/python -W error manage.py check --deploy --fail-level WARNING

messages: ## the catalogs of translations, read from code and templates and compiled
	@$(PYTHON) jobsite/bootstrap.py messages
	$(BIN)/python -m tests.messages

docs: ## the documentation as a site, in build/docs; a link that leads nowhere is an error
	@$(PYTHON) jobsite/bootstrap.py docs
	@rm -rf build/docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --builder html docs build/docs
	@echo "build/docs/index.html"

pictures: ## the documentation's pictures of the console, taken anew of a demo of their own
	@$(PYTHON) jobsite/bootstrap.py test
	@exec $(BIN)/python -m tests.pictures

bench: ## the benchmarks, with tables at the end; ARGS="--only engine" narrows them
	@$(PYTHON) jobsite/bootstrap.py bench
	@exec $(BIN)/python -m tests.bench $(ARGS)

bench-large: ## the same at ten million jobs on PostgreSQL, which are made once and kept in var/bench (some 10 GB)
	@$(PYTHON) jobsite/bootstrap.py bench
	@exec $(BIN)/python -m tests.bench --only large $(ARGS)

bench-peers: ## this project beside other job systems, in their common harness (PEERS names its folder); ARGS for it
	@$(PYTHON) jobsite/bootstrap.py bench
	$(BIN)/python -m tests.bench.peers $(ARGS)

format: ## mend what check would complain about, where a tool can
	@$(PYTHON) jobsite/bootstrap.py format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	@git ls-files -z --cached --others --exclude-standard -- '*.html' | xargs -0 -r $(BIN)/djade --target-version 5.2
	@git ls-files -z --cached --others --exclude-standard -- '*.py' | xargs -0 $(BIN)/django-upgrade --target-version 5.2
	DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python manage.py jobs_openapi > docs/openapi.json.new && mv docs/openapi.json.new docs/openapi.json
