#!/usr/bin/env bash
# CPU microseconds per proxied request of Portcullis (without and with an authenticated session),
# of the smallest Pingora proxy and of nginx, in one run.
#
# Method: one origin (nginx) and one load generator (wrk, 16 kept-alive connections) on core 1, the
# proxy under test alone on core 0. Figure = (utime + stime of the proxy's process, from /proc) /
# requests answered. The peers take turns ROUNDS times, so that drift of the machine hits them alike;
# the median of the rounds is printed. Everything is on loopback and stops by itself.
#
#   benches/load/cpu.sh [ROUNDS] [SECONDS]      (needs nginx, wrk, curl, jq; builds the release binaries)
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5} seconds=${2:-5}
target=${CARGO_TARGET_DIR:-target}
work=$(mktemp -d)
pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait 2>/dev/null || true; rm -rf "$work"; }
trap finish EXIT
for tool in nginx wrk curl jq taskset; do command -v "$tool" >/dev/null || { echo "needs $tool" >&2; exit 2; }; done
cargo build --release --quiet --bin portcullis --example bare_pingora

origin=18100 bare=18101 nginx=18102 edge=18103 provider=18104 echo=18105
on() { local core=$1; shift; taskset -c "$core" "$@" >"$work/$1.$RANDOM.log" 2>&1 & pids+=($!); last=$!; }

cat >"$work/origin.conf" <<CONF
daemon off; master_process off; pid $work/origin.pid; error_log stderr crit;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 100000000; server { listen 127.0.0.1:$origin; location / { return 200 'hello, world'; } } }
CONF
cat >"$work/nginx.conf" <<CONF
daemon off; master_process off; pid $work/nginx.pid; error_log stderr crit;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 100000000;
  upstream origin { server 127.0.0.1:$origin; keepalive 64; keepalive_requests 100000000; }
  server { listen 127.0.0.1:$nginx; location / { proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ''; } } }
CONF
cat >"$work/dynamic.yml" <<CONF
http:
  routers:
    open: { rule: 'PathPrefix(\`/open\`)', service: origin }
    closed: { rule: 'PathPrefix(\`/\`)', service: origin, middlewares: [login] }
  middlewares:
    login:
      plugin:
        traefikoidc:
          providerURL: http://127.0.0.1:$provider
          clientID: demo
          clientSecret: demo-secret-demo-secret-demo-secret
          sessionEncryptionKey: a-key-for-measurements-only-0123456789abcdef
          callbackURL: /oauth2/callback
          forceHTTPS: false
          allowPrivateIPAddresses: true
  services:
    origin: { loadBalancer: { servers: [ { url: 'http://127.0.0.1:$origin' } ] } }
CONF
cat >"$work/static.yml" <<CONF
entryPoints: { web: { address: '127.0.0.1:$edge' } }
providers: { file: { filename: $work/dynamic.yml } }
log: { level: ERROR }
CONF

on 1 nginx -p "$work" -c "$work/origin.conf"
on 1 "$target/release/portcullis" demo --only-provider --provider-port "$provider" --echo-port "$echo" --access-token-seconds 3600 --redirect "http://localhost:$edge/oauth2/callback"
on 0 "$target/release/examples/bare_pingora" "127.0.0.1:$bare" "127.0.0.1:$origin"; bare_pid=$last
on 0 nginx -p "$work" -c "$work/nginx.conf"; nginx_pid=$last
export STATE_DIRECTORY=$work
on 0 "$target/release/portcullis" --configFile="$work/static.yml"; edge_pid=$last

wait_for() { for _ in $(seq 100); do curl -sf -o /dev/null "$1" && return; sleep 0.1; done; echo "no answer from $1" >&2; exit 1; }
wait_for "http://127.0.0.1:$origin/"; wait_for "http://127.0.0.1:$bare/"; wait_for "http://127.0.0.1:$nginx/"
wait_for "http://127.0.0.1:$edge/open"; wait_for "http://127.0.0.1:$provider/.well-known/openid-configuration"

# Log in as a browser would; the demo provider takes the user's name from login_hint.
jar=$work/jar
location=$(curl -s -c "$jar" -b "$jar" -H 'Accept: text/html' -o /dev/null -w '%{redirect_url}' "http://localhost:$edge/")
callback=$(curl -s -o /dev/null -w '%{redirect_url}' "$location&login_hint=alice")
curl -s -c "$jar" -b "$jar" -H 'Accept: text/html' -o /dev/null "$callback"
cookie=$(awk 'NF >= 7 { printf "%s%s=%s", sep, $6, $7; sep = "; " }' <(sed 's/^#HttpOnly_//' "$jar"))
status=$(curl -s -o /dev/null -w '%{http_code}' -H "Cookie: $cookie" "http://localhost:$edge/")
[ "$status" = 200 ] || { echo "login failed: $status" >&2; exit 1; }

ticks=$(getconf CLK_TCK)
cpu() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
measure() { # name pid url [header]
  local before after requests
  before=$(cpu "$2")
  requests=$(taskset -c 1 wrk -t1 -c16 -d"${seconds}s" ${4:+-H "$4"} "$3" | awk '/requests in/ { print $1 }')
  after=$(cpu "$2")
  awk -v t=$((after - before)) -v hz="$ticks" -v n="$requests" -v name="$1" -v s="$seconds" \
    'BEGIN { printf "%s %.2f %.0f\n", name, t / hz * 1e6 / n, n / s }' >>"$work/results"
}
for _ in $(seq "$rounds"); do
  measure nginx "$nginx_pid" "http://127.0.0.1:$nginx/"
  measure bare-pingora "$bare_pid" "http://127.0.0.1:$bare/"
  measure portcullis-open "$edge_pid" "http://localhost:$edge/open"
  measure portcullis-session "$edge_pid" "http://localhost:$edge/" "Cookie: $cookie"
done
median() { awk -v name="$1" -v column="$2" '$1 == name { print $column }' "$work/results" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
base=$(median bare-pingora 2)
printf '%-20s %12s %12s %18s\n' peer 'µs/request' 'requests/s' '÷ bare Pingora'
for peer in nginx bare-pingora portcullis-open portcullis-session; do
  micros=$(median "$peer" 2)
  printf '%-20s %12s %12s %18s\n' "$peer" "$micros" "$(median "$peer" 3)" "$(awk -v a="$micros" -v b="$base" 'BEGIN { printf "%.2f", a / b }')"
done
