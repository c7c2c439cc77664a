#!/usr/bin/env bash
# Many requests at once on one session whose tokens have just expired, against the program with the
# demo's provider, whose refresh tokens work once. Expected: one grant, and every request is served.
#
#   benches/load/expired.sh [REQUESTS [STREAMS]]     (needs curl; builds the release binaries)
#
# With STREAMS the requests share HTTP/2 connections, that many on each: more of them than there are file
# descriptors for. The edge is a process apart from the demo's, with the same session store.
set -euo pipefail
cd "$(dirname "$0")/../.."
source benches/load/common.sh
requests=${1:-500} streams=${2:-}
needs curl taskset
build --bin portcullis --example burst
all=0-$(($(nproc) - 1))
# Each request is a connection of its own to the service, and without STREAMS to the edge.
ulimit -n $((requests * (streams ? 1 : 2) + 4096))
edge=18108

# Longer than the burst, or it is refreshed twice.
life=$((requests > 1000 ? 20 : 4))
export STATE_DIRECTORY=$work
start_demo "$all" "$life"
login
cat >"$work/edge.yml" <<CONF
entryPoints: { web: { address: '127.0.0.1:$edge' } }
providers: { file: { filename: $work/demo/dynamic.yml } }
metrics: { prometheus: {} }
ping: {}
CONF
on "$all" edge "$release/portcullis" --configFile="$work/edge.yml"
sleep $((life + 1)) # until the tokens are over; nothing can be waited for
before=$(grep -c 'refresh  alice' "$work/demo.log" || true)
"$release/examples/burst" "127.0.0.1:$demo" "localhost:$demo" "$cookie" "$requests"
after=$(grep -c 'refresh  alice' "$work/demo.log" || true)
refused=$(grep -c 'refused ' "$work/demo.log" || true)
echo "grants: $((after - before)), refused by the provider: $refused"
curl -s "http://127.0.0.1:$demo_admin/metrics" | grep '^portcullis_oidc_refreshes_total' || true
[ $((after - before)) = 1 ] && [ "$refused" = 0 ]
