# Bare `make` is the help. Every target is one line; what it does is in services/switchyard and, for the demo, services/demo.
PYTHON ?= python3
RUN := $(PYTHON) scripts/run.py
# Most of the tests' time is waiting: for workers to start, for leases to lapse. The tests of a file run one after another.
TWO_FILES_AT_A_TIME := -n 2 --dist loadfile --no-loadscope-reorder
.DEFAULT_GOAL := help
.PHONY: help up down ps logs restart doctor demo seed report start workflow cancel replay refused delayed dead-letters new-report base-images render check test bench drill screenshots

##@ Run it
up: ## Bring everything up and wait until it is ready; again is safe and applies what changed
	@$(RUN) switchyard up
down: ## Stop everything; queues, results and products are kept
	@$(RUN) switchyard down
ps: ## What runs, since when, and what waits in each queue
	@$(RUN) switchyard ps
logs: ## The logs of everything, or of one queue: make logs Q=default
	@$(RUN) switchyard logs $(Q)
restart: ## Restart one queue's worker, its tasks finish first: make restart Q=default
	@$(RUN) switchyard restart $(Q)
doctor: ## What this machine and this checkout lack, and how to mend it
	@$(RUN) switchyard doctor

##@ Give it work
demo: ## Refresh 92,331 real products and watch: brings everything up if it is not
	@$(RUN) switchyard demo
seed: ## Put products into the store: make seed [LIMIT=1000] [FILE=products.csv]
	@$(RUN) switchyard run demo.seed $(if $(LIMIT),--limit $(LIMIT)) $(if $(FILE),--file "$(FILE)")
report: ## Make a report and say where it is: make report R=sales [PERIOD=2017-05] [ARGS="department=GROCERY"]
	@$(RUN) switchyard report $(R) $(if $(PERIOD),"period=$(PERIOD)") $(ARGS)
start: ## Start a workflow by its task's name: make start W=refresh_products [ARGS="limit=100"]
	@$(RUN) switchyard start $(W) $(ARGS)

##@ Look after it
workflow: ## How a workflow stands, and which of its items failed: make workflow W=<id>
	@$(RUN) switchyard workflow $(W)
cancel: ## End a workflow, nothing of it starts any more: make cancel W=<id>
	@$(RUN) switchyard cancel $(W)
replay: ## Run again what of a workflow has failed, and then its callback: make replay W=<id>
	@$(RUN) switchyard replay $(W)
refused: ## Events that could not be taken, and why: make refused [DO=retry|drop]
	@$(RUN) switchyard refused $(if $(DO),--$(DO))
delayed: ## Messages that are not due yet: make delayed [DO=release]
	@$(RUN) switchyard delayed $(if $(DO),--$(DO))
dead-letters: ## Tasks that failed for good, and why: make dead-letters [DO=show|replay|drop] [ID=<id>|all] [Q=default]
	@$(RUN) switchyard dead-letters $(or $(DO),list) $(if $(filter all,$(ID)),--all,$(ID)) $(if $(Q),--queue $(Q))

##@ Change it
new-report: ## Begin a report: its module, its test and its table of config: make new-report NAME=returns
	@$(RUN) switchyard new-report $(NAME)
base-images: ## Build the Python and Redis images from Debian's packages, where no registry answers
	@$(RUN) switchyard base-images
render: ## Write what follows from config/queues.toml; CHECK=1 only compares
	@$(RUN) switchyard render $(if $(CHECK),--check)
check: ## Lint, types, and that nothing rendered is stale
	@$(RUN) --dev switchyard.check
test: ## Every test, fast ones first: make test [T=tests/unit]
	@$(RUN) --dev $(if $(CI),--browser --peers) pytest $(TWO_FILES_AT_A_TIME) $(T)
bench: ## Measure all beside their baselines, ten minutes, and write docs/performance.md; or one of bench/: make bench B=no_op
	@$(RUN) --peers bench$(if $(B),.$(B)) $(ARGS)
drill: ## Kill things under load and count what was lost: make drill [KIND=workers] [ARGS="--rounds 5"]
	@$(RUN) --dev bench.drills $(if $(KIND),--kind $(KIND)) $(ARGS)

# For the documentation, after `make demo`: the reports' pages as a browser shows them. Needs chromium.
screenshots:
	@$(RUN) --dev --browser scripts.screenshots $(or $(PAGES),.switchyard/artefacts/*/*.html)

help:
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
