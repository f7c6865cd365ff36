# What people and .ci/run ask for; `make help` lists it. Nothing but Go is needed.

GO          ?= go
GOFUMPT     := $(GO) run mvdan.cc/gofumpt@v0.12.0
STATICCHECK := $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2

# The default build has no cgo. Only the race detector needs a C compiler.
export CGO_ENABLED ?= 0

# Binaries carry the commit they were built from, where git may tell.
BUILD := $(GO) build -trimpath -buildvcs=$(shell git status >/dev/null 2>&1 && echo auto || echo false)

.PHONY: build train test bench soak lint fmt generate help clean

build: ## build bin/gorun
	$(BUILD) -o bin/gorun ./launcher/gorun

train: build ## train MNIST on 4 ranks of this machine
	bin/gorun -np 4 examples/mnist/train.go --epochs 3 --save out/mnist.safetensors

test: ## vet and test everything, with the race detector where there is a C compiler
	$(GO) vet ./...
	@set -- $$($(GO) env CC); if command -v "$$1" >/dev/null; then \
		set -x; CGO_ENABLED=1 $(GO) test -race -timeout 20m ./...; \
	elif [ "$(CI)" = true ]; then \
		echo "make test: the race detector needs a C compiler and $$1 is missing: apt-get install gcc libc6-dev" >&2; exit 1; \
	else \
		set -x; $(GO) test -timeout 20m ./...; \
	fi

bench: ## build the benchmark programs into bin/
	$(BUILD) -o bin/ ./benchmarks/...

soak: ## break a job FAULTS times at random, by SEED
	$(GO) test ./launcher/gorun -run '^TestSoak' -count 1 -timeout 4h -v -args -faults $(or $(FAULTS),1000) -seed $(or $(SEED),1)

lint: ## check format, vet, staticcheck, generated files
	@unformatted=$$($(GOFUMPT) -l .) || exit 1; \
	if [ -n "$$unformatted" ]; then echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(STATICCHECK) ./...
	scripts/generated

fmt: ## format all Go files
	$(GOFUMPT) -w .

generate: ## write the generated files anew
	$(GO) generate ./...

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

clean: ## remove bin/; models in out/ stay
	rm -rf bin
