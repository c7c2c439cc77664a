#!/usr/bin/env bash
# cargo-deny: licences, sources, duplicates; advisories where there is a database.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! cargo deny --version >/dev/null 2>&1; then
  echo "skipped: cargo-deny is not installed (make tools installs it)"
  exit 0
fi
cargo deny --log-level error check bans licenses sources
if ls "${CARGO_HOME:-$HOME/.cargo}"/advisory-db*/ >/dev/null 2>&1; then
  cargo deny --offline --log-level error check advisories
else
  echo "skipped: advisories, as there is no advisory database (cargo deny fetch gets one)"
fi
