#!/usr/bin/env bash
# Throughput of one session that all requests use, beside that of many sessions used in turn. Aim: at least 0.95.
#
# Method: the demo on core 0 (edge, service and provider in one process), wrk on core 1 with 64 connections; both take
# turns ROUNDS times, and the median of the ratios within a round counts.
#
#   benches/load/hot.sh [ROUNDS] [SECONDS] [SESSIONS]      (needs wrk, curl; builds the release binary)
set -euo pipefail
cd "$(dirname "$0")/../.."
source benches/load/common.sh
rounds=${1:-5} seconds=${2:-3} sessions=${3:-200}
needs wrk curl taskset
build --bin portcullis
export STATE_DIRECTORY=$work
start_demo 0 86400
for _ in $(seq "$sessions"); do
  rm -f "$work/jar"
  login
  echo "$cookie" >>"$work/many"
done
tail -n 1 "$work/many" >"$work/one"
cat >"$work/turns.lua" <<'LUA'
local cookies, at = {}, 0
function init(args)
  for line in io.lines(args[1]) do cookies[#cookies + 1] = line end
end
function request()
  at = at % #cookies + 1
  return wrk.format("GET", "/some", { Cookie = cookies[at] })
end
LUA

throughput() { # file with cookies
  taskset -c 1 wrk -t1 -c64 -d"${seconds}s" -s "$work/turns.lua" "http://localhost:$demo" -- "$1" >"$work/wrk.out"
  ! grep -q 'Non-2xx\|Socket errors' "$work/wrk.out" || give_up "$1 failed: $(cat "$work/wrk.out")"
  awk '/Requests\/sec/ { print $2 }' "$work/wrk.out"
}
for round in $(seq "$rounds"); do
  many=$(throughput "$work/many") one=$(throughput "$work/one")
  awk -v round="$round" -v one="$one" -v many="$many" \
    'BEGIN { printf "round %d: one %.0f/s, many %.0f/s, ratio %.3f\n", round, one, many, one / many }'
done | tee "$work/rounds"
awk '{ print $NF }' "$work/rounds" | sort -n | awk '{ v[NR] = $1 } END { printf "median %.3f\n", v[int((NR + 1) / 2)] }'
