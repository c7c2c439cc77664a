#!/usr/bin/env bash
# fuzz.sh [TARGET...]: builds the fuzz targets with coverage counters and runs those named, else all, each for RUNS
# inputs or LIMIT seconds, whichever is first. Prints a row of figures for each; ends with 1 if one has crashed.
set -uo pipefail
cd "$(dirname "$0")/../fuzz"

runs=${RUNS:-10000000} limit=${LIMIT:-360}

if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "need: cargo-fuzz" >&2
    echo "      install it with: cargo install --locked cargo-fuzz" >&2
    exit 1
fi

# The counters are an unstable option of the compiler, which the stable one has too. There is no sanitizer: the crate
# has no unsafe code.
cp ../Cargo.lock Cargo.lock
(cd .. && RUSTC_BOOTSTRAP=1 cargo fuzz build --sanitizer none -O "${@:1:$(($# == 1))}") || exit 1
binaries=target/$(rustc -vV | sed -n 's/^host: //p')/release

# figure NAME LOG: a figure that libFuzzer prints at the end.
figure() { sed -n "s/^stat::$1: *//p" "$2"; }

[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\(.*\)"/\1/p' Cargo.toml | tail -n +2)
printf '| %-15s | %11s | %8s | %10s | %7s |\n' target inputs seconds 'in corpus' crashes
status=0
for target in "$@"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    log=artifacts/$target.log
    options=(-runs="$runs" -max_total_time="$limit" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1)
    [ ! -f "dictionaries/$target.dict" ] || options+=(-dict="dictionaries/$target.dict")
    seeds=()
    [ ! -d "seeds/$target" ] || seeds=("seeds/$target")
    began=$SECONDS crashes=0
    "$binaries/$target" "${options[@]}" -artifact_prefix="artifacts/$target/" \
        "corpus/$target" "${seeds[@]}" >"$log" 2>&1 || crashes=1 status=1
    printf '| %-15s | %11s | %8s | %10s | %7s |\n' "$target" "$(figure number_of_executed_units "$log")" \
        $((SECONDS - began)) "$(find "corpus/$target" -type f | wc -l)" "$crashes"
    [ $crashes = 0 ] || grep -E 'panicked|^  (left|right)|ERROR|Test unit written' -A 1 "$log" >&2
done
exit $status
