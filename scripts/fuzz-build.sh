#!/usr/bin/env bash
# Builds the fuzz targets, which need a nightly compiler and cargo-fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! cargo +nightly --version >/dev/null 2>&1; then
  echo "skipped: fuzz targets are not built, as there is no nightly compiler"
elif ! cargo +nightly fuzz --version >/dev/null 2>&1; then
  echo "skipped: fuzz targets are not built, as cargo-fuzz is not installed"
else
  cargo +nightly fuzz build
fi
