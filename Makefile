# Needs Go, git and make; whatever else a target needs, it builds from the versions
# pinned under tools/ or installs by the system's package manager.

GO ?= go
# How long `make fuzz` gives each target.
FUZZTIME ?= 10s
# How many seeds `make simulate` runs.
SEEDS ?= 10000
# What `make faults` is called with besides, such as FAULTS="-only F1 -seed 7".
FAULTS ?=
# What `make planted` is called with besides, such as PLANTED="-only no-jitter".
PLANTED ?=

BIN := .bin
BUF := $(BIN)/buf
GOLANGCI_LINT := $(BIN)/golangci-lint
PLUGINS := $(BIN)/protoc-gen-go $(BIN)/protoc-gen-go-grpc
GRPCURL := $(BIN)/grpcurl
BENCHSTAT := $(BIN)/benchstat

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the commands into bin/
	$(GO) build -o bin/ ./cmd/...

.PHONY: test
test: ## Run all tests, under the race detector and in random order
	@GO="$(GO)" scripts/test.sh

.PHONY: race
race: ## Run all tests three times over, to find what happens seldom
	@GO="$(GO)" scripts/test.sh -count=3

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (10s)
	@GO="$(GO)" FUZZTIME="$(FUZZTIME)" scripts/fuzz.sh

.PHONY: simulate
simulate: ## Run SEEDS (10000) simulated runs with faults, in virtual time
	$(GO) test ./internal/simulation -run TestSeeds -seeds 1:$(SEEDS) -timeout 0

.PHONY: config-example
config-example: ## Write deploy/retryd.example.yaml, which has every setting
	$(GO) run ./cmd/retryd config example > deploy/retryd.example.yaml

.PHONY: microbench
microbench: ## Run the benchmarks that stand beside the code
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: compare
compare: $(BENCHSTAT) ## Compare those benchmarks with the ones of the revision BASE (BASE=HEAD~1)
	@GO="$(GO)" BENCHSTAT="$(CURDIR)/$(BENCHSTAT)" scripts/compare.sh

.PHONY: bench
bench: ## Measure retryd beside its peers, in under 20 minutes, into bench/out
	cd bench && $(GO) run .

.PHONY: bench-full
bench-full: ## The same with the long works
	cd bench && $(GO) run . -full

.PHONY: check-bench
check-bench: ## Check the harness of make bench: its tests, and a little of its works
	@scripts/ensure.sh redis-server
	cd bench && $(GO) test -short ./...

.PHONY: faults
faults: ## Break everything under load, and check that nothing is lost or doubled; under 45 minutes
	@scripts/ensure.sh redis-server
	@scripts/ensure.sh ip || true # without it the faults that take it are skipped
	$(GO) run ./internal/faults $(FAULTS)

.PHONY: faults-short
faults-short: ## The most telling faults, shorter, in under 5 minutes
	@scripts/ensure.sh redis-server
	$(GO) run ./internal/faults -short $(FAULTS)

.PHONY: planted
planted: ## Plant known bugs, one at a time, and show which check catches each; in about 15 minutes
	@scripts/ensure.sh redis-server
	$(GO) run ./internal/faults/plant $(PLANTED)

.PHONY: lint
lint: $(GOLANGCI_LINT) $(BUF) ## Check code and protos against the house rules
	$(GOLANGCI_LINT) run ./...
	cd bench && ../$(GOLANGCI_LINT) run --config ../.golangci.yml ./...
	cd tools/deploy && ../../$(GOLANGCI_LINT) run --config ../../.golangci.yml ./...
	scripts/lint-test.sh
	$(BUF) lint
	$(BUF) format --diff --exit-code

.PHONY: fmt
fmt: $(GOLANGCI_LINT) $(BUF) ## Format code and protos
	$(GOLANGCI_LINT) fmt
	cd bench && ../$(GOLANGCI_LINT) fmt --config ../.golangci.yml
	cd tools/deploy && ../../$(GOLANGCI_LINT) fmt --config ../../.golangci.yml
	$(BUF) format --write

.PHONY: generate
generate: $(BUF) $(PLUGINS) ## Generate gen/ from proto/, and docs/cli.md
	$(BUF) generate
	$(MAKE) cli-docs

.PHONY: cli-docs
cli-docs: ## Write docs/cli.md from what the commands say of themselves
	$(GO) test ./cmd/retryd -run TestReferenceIsWhatTheCommandsSay -update

.PHONY: check-generate
check-generate: $(BUF) $(PLUGINS) ## Fail when gen/ is not what proto/ says
	scripts/check-generate.sh

.PHONY: breaking
breaking: $(BUF) ## Fail when the protos break clients of proto/baseline.binpb
	$(BUF) breaking --against proto/baseline.binpb
	scripts/breaking-test.sh

.PHONY: check-protoc
check-protoc: ## Compile the protos with plain protoc
	scripts/check-protoc.sh

# What is read lies outside of the module, where go's cache sees no changes: -count=1.
.PHONY: check-deploy
check-deploy: ## Check all of deploy/, the Dockerfile and the compose file, as far as goes without an engine
	@scripts/ensure.sh promtool
	@scripts/ensure.sh systemd-analyze || true # without it the unit is checked less
	cd tools/deploy && $(GO) test -count=1 ./...

.PHONY: check-examples
check-examples: ## Run the examples in other languages against a server
	@GO="$(GO)" scripts/check-examples.sh

.PHONY: proto-baseline
proto-baseline: $(BUF) ## Make the protos as they are the baseline (see CONTRIBUTING.md)
	$(BUF) build --exclude-source-info -o proto/baseline.binpb

.PHONY: check
check: lint check-generate breaking check-protoc check-deploy check-examples check-bench faults-short test ## Run all that CI runs

.PHONY: tools
tools: $(BUF) $(PLUGINS) $(GOLANGCI_LINT) $(GRPCURL) ## Build all tools into .bin/

.PHONY: clean
clean: ## Remove what was built, tools included
	rm -rf bin $(BIN)

# Tools are built once, and again when their versions change. The touch is for go build,
# which leaves a file alone that is what it would write.
build_tool = cd $(1) && $(GO) build -trimpath -buildvcs=false -o "$(CURDIR)/$@" $(2) && touch "$(CURDIR)/$@"

$(BUF): tools/buf/go.mod tools/buf/go.sum
	$(call build_tool,tools/buf,github.com/bufbuild/buf/cmd/buf)

$(BIN)/protoc-gen-go: tools/go.mod tools/go.sum
	$(call build_tool,tools,google.golang.org/protobuf/cmd/protoc-gen-go)

$(BIN)/protoc-gen-go-grpc: tools/go.mod tools/go.sum
	$(call build_tool,tools,google.golang.org/grpc/cmd/protoc-gen-go-grpc)

$(GRPCURL): tools/go.mod tools/go.sum
	$(call build_tool,tools,github.com/fullstorydev/grpcurl/cmd/grpcurl)

$(BENCHSTAT): tools/go.mod tools/go.sum
	$(call build_tool,tools,golang.org/x/perf/cmd/benchstat)

$(GOLANGCI_LINT): tools/lint/go.mod tools/lint/go.sum
	$(call build_tool,tools/lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint)
