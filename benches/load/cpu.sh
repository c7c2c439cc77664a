#!/usr/bin/env bash
# CPU microseconds per proxied request of Portcullis (without and with an authenticated session), of
# the smallest possible Pingora proxy and of nginx, in one run.
#
# Method: one origin (nginx) and one load generator (wrk, 16 kept-alive connections) on core 1, the
# proxies on core 0, of which only the one under test gets requests. Figure = (utime + stime of the
# proxy's process, from /proc) / requests answered. They take turns ROUNDS times, so that drift of
# the machine hits all alike; the median over the rounds is printed, and the median of the ratios to
# bare Pingora within a round. Everything is on loopback, in a folder of its own, and ends by itself.
#
# Rows of Portcullis: `open`, a router without OIDC; `open-with-cookie`, the same request as with a session,
# which that router ignores; `session`, an `oidc` middleware as it is by default; `session-plugin`, the
# traefikoidc block as it is by default, with more headers for the service and security headers for the browser.
#
#   benches/load/cpu.sh [ROUNDS] [SECONDS]      (needs nginx, wrk, curl; builds the release binaries)
#
# HEADERS=browser adds the headers of a browser to every request, METRICS=1 counts them for Prometheus.
# OTHER=path measures a second build of the program in the same run, as `other-open` and `other-session`.
set -euo pipefail
cd "$(dirname "$0")/../.."
source benches/load/common.sh
rounds=${1:-5} seconds=${2:-5}
needs nginx wrk curl taskset
[ "$(nproc)" -ge 2 ] || { echo "needs two cores" >&2; exit 2; }
build --bin portcullis --example bare_pingora
origin=18100 bare=18101 nginx=18102 edge=18103 other=18108

cat >"$work/origin.conf" <<CONF
daemon off; master_process off; pid $work/origin.pid; error_log stderr crit;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 100000000;
  server { listen 127.0.0.1:$origin; location / { return 200 'hello, world'; } } }
CONF
cat >"$work/nginx.conf" <<CONF
daemon off; master_process off; pid $work/nginx.pid; error_log stderr crit;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 100000000;
  upstream origin { server 127.0.0.1:$origin; keepalive 64; keepalive_requests 100000000; }
  server { listen 127.0.0.1:$nginx;
    location / { proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ''; } } }
CONF

on 1 origin nginx -p "$work" -c "$work/origin.conf"
# The demo gives the OpenID provider, the policy and a login; its own edge is not measured. The edges
# share its session store, and cookies do not tell ports apart.
export STATE_DIRECTORY=$work/demo
start_demo 1 86400
wait_for "http://127.0.0.1:$origin/"
login

# The measured edges: the demo's policy with the origin as the service, the same written as a middleware of
# its own, and a router without either.
value() { sed -n "s/^ *$1: //p" "$work/demo/dynamic.yml"; }
sed -e "s|url: http://127.0.0.1:$echo|url: http://127.0.0.1:$origin|" \
  -e "s|^  routers:|  routers:\n    open: { rule: 'PathPrefix(\`/open\`)', service: echo, priority: 1000 }\n    native: { rule: 'PathPrefix(\`/native\`)', middlewares: [native], service: echo, priority: 1000 }|" \
  -e "s|^  middlewares:|  middlewares:\n    native:\n      oidc:\n        issuer: $(value providerURL)\n        clientID: $(value clientID)\n        clientSecret: $(value clientSecret)\n        sessionEncryptionKey: $(value sessionEncryptionKey)\n        redirectUrl: $(value callbackURL)\n        allowPrivateIPAddresses: true|" \
  "$work/demo/dynamic.yml" >"$work/dynamic.yml"
edge_on() { # name port binary
  cat >"$work/$1.yml" <<CONF
entryPoints: { web: { address: '127.0.0.1:$2' } }
providers: { file: { filename: $work/dynamic.yml } }
log: { level: ERROR }
${METRICS:+metrics: { prometheus: {\} \}}
CONF
  on 0 "$1" "$3" --configFile="$work/$1.yml"
  wait_for "http://localhost:$2/open"
}
on 0 bare "$release/examples/bare_pingora" "127.0.0.1:$bare" "127.0.0.1:$origin"
bare_pid=$last
on 0 nginx nginx -p "$work" -c "$work/nginx.conf"
nginx_pid=$last
edge_on edge "$edge" "$release/portcullis"
edge_pid=$last
if [ -n "${OTHER:-}" ]; then
  edge_on other "$other" "$OTHER"
  other_pid=$last
fi
wait_for "http://127.0.0.1:$bare/"
wait_for "http://127.0.0.1:$nginx/"

logged_in() { curl -s -m 5 -H "Cookie: $cookie" "http://localhost:$1/${2:-}" | grep -q 'hello, world'; }
logged_in "$edge" && logged_in "$edge" native || give_up "no session at the measured edge"
[ -z "${OTHER:-}" ] || logged_in "$other" || give_up "no session at the other edge"

extra=()
if [ "${HEADERS:-}" = browser ]; then
  extra=(-H 'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36'
    -H 'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8'
    -H 'Accept-Language: en-GB,en;q=0.9' -H 'Accept-Encoding: gzip, deflate, br, zstd' -H 'Cache-Control: max-age=0'
    -H 'Sec-Ch-Ua-Platform: "Linux"' -H 'Sec-Fetch-Dest: document' -H 'Sec-Fetch-Mode: navigate'
    -H 'Sec-Fetch-Site: none' -H 'Upgrade-Insecure-Requests: 1' -H 'Priority: u=0, i')
fi
ticks=$(getconf CLK_TCK)
cpu() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
measure() { # name pid url [header]
  local before after requests
  before=$(cpu "$2")
  taskset -c 1 wrk -t1 -c16 -d"${seconds}s" "${extra[@]}" ${4:+-H "$4"} "$3" >"$work/wrk.out"
  after=$(cpu "$2")
  ! grep -q 'Non-2xx\|Socket errors' "$work/wrk.out" || give_up "$1 failed: $(cat "$work/wrk.out")"
  requests=$(awk '/requests in/ { print $1 }' "$work/wrk.out")
  awk -v round="$round" -v t=$((after - before)) -v hz="$ticks" -v n="$requests" -v name="$1" -v s="$seconds" \
    'BEGIN { printf "%s %d %.3f %.0f\n", name, round, t / hz * 1e6 / n, n / s }' >>"$work/results"
}
peers=(nginx bare-pingora open open-with-cookie session session-plugin)
[ -z "${OTHER:-}" ] || peers+=(other-open other-session)
for round in $(seq "$rounds"); do
  measure nginx "$nginx_pid" "http://127.0.0.1:$nginx/open"
  measure bare-pingora "$bare_pid" "http://127.0.0.1:$bare/open"
  measure open "$edge_pid" "http://localhost:$edge/open"
  measure open-with-cookie "$edge_pid" "http://localhost:$edge/open" "Cookie: $cookie"
  measure session "$edge_pid" "http://localhost:$edge/native" "Cookie: $cookie"
  measure session-plugin "$edge_pid" "http://localhost:$edge/some" "Cookie: $cookie"
  if [ -n "${OTHER:-}" ]; then
    measure other-open "$other_pid" "http://localhost:$other/open"
    measure other-session "$other_pid" "http://localhost:$other/some" "Cookie: $cookie"
  fi
done

middle() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
median() { awk -v name="$1" -v column="$2" '$1 == name { print $column }' "$work/results" | middle; }
ratio() { # to bare Pingora, round by round
  awk -v name="$1" '$1 == "bare-pingora" { bare[$2] = $3 } $1 == name { own[$2] = $3 } END { for (r in own) printf "%.3f\n", own[r] / bare[r] }' \
    "$work/results" | middle
}
printf '%-20s %12s %12s %16s\n' peer 'us/request' 'requests/s' '/ bare Pingora'
for peer in "${peers[@]}"; do
  printf '%-20s %12.2f %12.0f %16.2f\n' "$peer" "$(median "$peer" 3)" "$(median "$peer" 4)" "$(ratio "$peer")"
done
