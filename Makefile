# Two commands matter: `make demo` and `make test`. Each looks for what it needs first.

CARGO ?= cargo

.PHONY: help demo build test lint tools bench fuzz loom storm test-keycloak test-traefik fmt

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

demo: ## an OpenID provider, a service and the edge, to log in to with a browser
	@scripts/need.sh build
	$(CARGO) build --release --quiet
	@target/release/portcullis demo $(DEMO)

build: ## the release binary
	@scripts/need.sh build
	$(CARGO) build --release

test: ## everything that CI runs
	@scripts/need.sh build test
	@scripts/test.sh

lint: ## formatting, clippy, cargo-deny, documentation
	@scripts/need.sh build
	@scripts/test.sh fmt clippy deny doc

tools: ## cargo-deny, which `make test` skips when it is not there
	$(CARGO) install --locked cargo-deny

bench: ## criterion benches; benches/README.md has the load figures
	$(CARGO) bench

fuzz: ## run the fuzz targets, six minutes each at most (FUZZ names some; fuzz/README.md)
	@scripts/fuzz.sh $(FUZZ)

loom: ## every interleaving of what requests of one process share (loom/)
	@scripts/need.sh build
	@scripts/test.sh loom

storm: ## load and failure by hand, some ten minutes; benches/README.md has the options
	@scripts/need.sh build test
	$(CARGO) test --release --quiet --test storm -- $(STORM)

test-keycloak: ## log in at a real Keycloak (fetches 180 MB; needs Java 17)
	@scripts/need.sh build test java
	$(CARGO) build --quiet
	tests/keycloak/run.sh

test-traefik: ## ask a real Traefik (TRAEFIK names its binary) and Portcullis the same, and compare
	@scripts/need.sh build test
	$(CARGO) build --quiet
	tests/traefik/run.sh

fmt: ## format the code
	$(CARGO) fmt
