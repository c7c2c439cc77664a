#!/usr/bin/env bash
# Checks the fuzz targets against the crate. It does not instrument them: that compiles every dependency a second time,
# which is for `make fuzz`.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
# The versions that the crate is tested with, and its build folder: most of what is needed is there already.
cp ../Cargo.lock Cargo.lock
cargo check --quiet --target-dir ../target
