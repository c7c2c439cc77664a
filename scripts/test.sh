#!/usr/bin/env bash
# test.sh [STEP...]: runs the steps named, else all. Goes on after a failure, so that one run shows all there is,
# and ends with one line of counts: every test of Cargo and Node counts, and every other step as one.
set -uo pipefail
cd "$(dirname "$0")/.."

passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export RUST_BACKTRACE=${RUST_BACKTRACE:-0} CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}

title() { printf '\n=== %s\n' "$1"; }

# step NAME COMMAND...: one step that passes or fails as a whole.
step() {
    title "$1"
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $*"
    fi
}

# sum PATTERN: adds up the numbers that the pattern's first group finds in the log.
sum() { sed -n "s/$1/\1/p" "$log" | awk '{ n += $1 } END { print n + 0 }'; }

# counted NAME PASSED FAILED SKIPPED COMMAND...: a test runner whose own counts are taken, by patterns.
counted() {
    local name=$1 good=$2 bad=$3 left=$4 status failures
    shift 4
    title "$name"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    failures=$(sum "$bad")
    # A runner that failed without a failed test did not get as far as its tests.
    if [ "$status" != 0 ] && [ "$failures" = 0 ]; then failures=1; fi
    passed=$((passed + $(sum "$good")))
    failed=$((failed + failures))
    skipped=$((skipped + $(sum "$left")))
}

fmt() { step "formatting" cargo fmt --check; }

clippy() { step "clippy" cargo clippy --locked --all-targets -- -D warnings; }

# may_skip NAME SCRIPT: a script that prints `skipped: why` for what it cannot do here.
may_skip() {
    title "$1"
    local lines
    if "$2" 2>&1 | tee "$log"; [ "${PIPESTATUS[0]}" = 0 ]; then
        lines=$(grep -c '^skipped: ' "$log")
        skipped=$((skipped + lines))
        if [ "$lines" = 0 ] || grep -qv '^skipped: ' "$log"; then passed=$((passed + 1)); fi
    else
        failed=$((failed + 1))
        echo "FAILED: $2"
    fi
}

deny() { may_skip "cargo-deny" scripts/deny.sh; }

fuzz() { may_skip "fuzz targets" scripts/fuzz-build.sh; }

# Unit and integration tests; conf/ is loaded by one of them.
cargo_test() {
    counted "unit and integration tests" \
        '^test result: .* \([0-9]*\) passed; .*' '^test result: .* \([0-9]*\) failed; .*' '^test result: .* \([0-9]*\) ignored; .*' \
        cargo test --locked --no-fail-fast
}

# In a folder of its own: other profile, other lock file. Three preemptions a run find what is to be found in practice.
loom() {
    export LOOM_MAX_PREEMPTIONS=${LOOM_MAX_PREEMPTIONS:-3}
    counted "model check (loom)" \
        '^test result: .* \([0-9]*\) passed; .*' '^test result: .* \([0-9]*\) failed; .*' '^test result: .* \([0-9]*\) ignored; .*' \
        cargo test --locked --release --manifest-path loom/Cargo.toml --target-dir target/loom
}

# Private items are documented too, so links to them are no mistake.
doc() {
    RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" step "documentation" cargo doc --locked --no-deps --document-private-items
}

# The binary is the one that the integration tests were built with.
browser() {
    step "browser test: packages" npm --prefix tests/browser ci --silent
    step "browser test: binary" cargo build --locked
    counted "browser test" '^# pass \([0-9]*\)' '^# fail \([0-9]*\)' '^# skipped \([0-9]*\)' \
        node --test --test-reporter=tap --test-concurrency=1 tests/browser/login.test.mjs
}

[ $# -gt 0 ] || set -- fmt clippy deny cargo_test loom doc fuzz browser
for each in "$@"; do "$each"; done

printf '\n%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ]
