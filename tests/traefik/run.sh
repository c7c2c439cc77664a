#!/usr/bin/env bash
# Serves dynamic.yml in Traefik and in Portcullis, asks both everything of requests.mjs and compares. TRAEFIK names the
# binary (v3.7); PORTCULLIS another than that of the last debug build.
set -euo pipefail
cd "$(dirname "$0")"

if [ -z "${TRAEFIK:-}" ]; then
    echo "skipped: nothing is compared with Traefik, as TRAEFIK does not name its binary"
    exit 0
fi
exec node compare.mjs "$(realpath "$TRAEFIK")" "$(realpath "${PORTCULLIS:-../../target/debug/portcullis}")"
