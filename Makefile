# What a stranger, a developer and CI run. `make` alone lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

BINARY := target/release/defender-lake

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Simulated export -> ./demo-lake -> a DuckDB query over it
	tools/install.sh demo
	cargo build --profile demo --locked --package cli
	target/demo/defender-lake demo
	.tools/demo/bin/python3 tools/demo_query.py demo-lake

.PHONY: build
build: ## Build the release binary, target/release/defender-lake
	cargo build --release --locked --package cli

.PHONY: test
test: tools fmt-check lint dependency-checks doc unit-tests end-to-end-tests ## Everything that CI checks

.PHONY: tools
tools: ## Install what the tests need: readers, java, Azurite, Garage, cargo-deny (once; cached outside target/)
	tools/install.sh readers old-readers sail javascript-readers java azurite garage cargo-deny

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

.PHONY: fmt-check
fmt-check:
	cargo fmt --all --check

.PHONY: lint
lint: ## Clippy over all targets; a warning fails
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --package cli --no-default-features --locked -- -D warnings

.PHONY: dependency-checks
dependency-checks: tools ## Licences and sources of all dependencies, one version of each, one TLS stack: deny.toml
	.tools/cargo-deny/bin/cargo-deny --locked check bans licenses sources

.PHONY: advisories
advisories: ## Known vulnerabilities of dependencies; fetches the advisory database
	tools/install.sh cargo-deny
	.tools/cargo-deny/bin/cargo-deny --locked check advisories

.PHONY: python-pins
python-pins: ## Resolve the Python packages of tools/python/*.in anew, with the digest of each file; UPGRADE=1 takes newer versions
	tools/install.sh uv
	for packages in tools/python/*.in; do \
		.tools/uv/bin/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-annotate \
			--custom-compile-command "make python-pins" $(if $(UPGRADE),--upgrade) "$$packages" --output-file "$${packages%.in}.txt"; \
	done

.PHONY: doc
doc: ## Build the documentation; a warning fails
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

.PHONY: unit-tests
unit-tests: ## Tests that stand beside the code
	cargo test --workspace --exclude end-to-end-tests --locked

# Tests are named beside the binaries, so that dependencies are built with the features of the tests, and so only once.
.PHONY: end-to-end-tests
end-to-end-tests: tools ## The real binary, real stores and real readers
	cargo build --workspace --bins --tests --locked
	cargo test --workspace --test end_to_end --locked

.PHONY: soak
soak: ## Hundreds of runs under random faults: no row lost or doubled (SOAK_SEED, SOAK_RUNS, SOAK_THREADS)
	tools/install.sh readers
	cargo build --workspace --bins --tests --locked
	cargo test --workspace --test end_to_end --locked -- --ignored --exact --nocapture soak::soak

FUZZ_SECONDS ?= 120
FUZZ_TARGETS := record blob blob_path signed_url listing settings snapshot_id printed_code control_documents
# libFuzzer needs flags that the stable compiler takes only when told that it is not: a nightly one goes first.
FUZZ_TOOLCHAIN := $(shell rustup toolchain list 2>/dev/null | grep -q '^nightly' && echo +nightly)

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZ_SECONDS: what comes from outside; findings go to fuzz/artifacts
	tools/install.sh cargo-fuzz
	for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target; \
		RUSTC_BOOTSTRAP=1 PATH="$$PWD/.tools/cargo-fuzz/bin:$$PATH" cargo $(FUZZ_TOOLCHAIN) fuzz run $$target \
			fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=$(FUZZ_SECONDS) -timeout=10 -max_len=16384; \
	done

BENCH := .tools/bench/bin/python3 benches/bench.py $(BINARY)
# Runs of each, of which the median counts.
BENCH_ROUNDS ?= 9

.PHONY: bench
bench: build bench-tools ## Against DuckDB, Polars, ClickHouse and PySpark, and all marks -> benches/RESULTS.md
	$(BENCH) --rounds $(BENCH_ROUNDS) --results benches/RESULTS.md

.PHONY: bench-memory
bench-memory: build bench-tools ## Peak memory by size and shape of the snapshot; fails where it misses its marks
	$(BENCH) --rounds $(BENCH_ROUNDS) --parts memory --must-pass

# More arguments of the benchmark, such as `--days 100 --s3-days 20` for a trial.
BENCH_HISTORY ?=

.PHONY: bench-history
bench-history: build ## What a run costs after 1,000 days, on disk, and after 200 on a slow S3 -> benches/RESULTS.md
	tools/install.sh garage
	python3 benches/history.py $(BINARY) --results benches/RESULTS.md $(BENCH_HISTORY)

.PHONY: bench-stages
bench-stages: ## Micro benchmarks: inflate, decode and encode, each on one thread, in GB/s of JSON
	cargo bench --locked --package stage-benchmarks

.PHONY: profile
profile: export CARGO_PROFILE_RELEASE_STRIP := debuginfo
profile: build ## Where the CPU time goes, by stage and function, as perf samples it -> benches/PROFILE.md
	tools/install.sh perf
	python3 benches/cpu_profile.py $(BINARY) --results benches/PROFILE.md

.PHONY: bench-tools
bench-tools:
	tools/install.sh java bench

.PHONY: clean
clean: ## Remove what was built and the demo's lake; installed tools stay
	cargo clean
	rm -rf demo-lake
