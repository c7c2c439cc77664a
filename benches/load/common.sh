# Sourced by the scripts beside it: a folder, processes that end with the script, the demo, a login.
#
# RELEASE=folder takes the binaries there (examples in `examples/`) instead of building them.

release=${RELEASE:-${CARGO_TARGET_DIR:-target}/release}
build() { [ -n "${RELEASE:-}" ] || cargo build --release --quiet "$@"; }
work=$(mktemp -d)
pids=()
finish() {
  if ((${#pids[@]})); then
    kill "${pids[@]}" 2>/dev/null
    # Bare Pingora lets connections finish for five minutes.
    sleep 1
    kill -KILL "${pids[@]}" 2>/dev/null
  fi
  wait 2>/dev/null
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

needs() {
  for tool; do
    command -v "$tool" >/dev/null || { echo "needs $tool" >&2; exit 2; }
  done
}
on() { # core name command...
  local core=$1 name=$2
  shift 2
  taskset -c "$core" "$@" >"$work/$name.log" 2>&1 &
  last=$!
  pids+=("$last")
}
give_up() {
  echo "$1" >&2
  tail -n 5 "$work"/*.log >&2 || true
  exit 1
}
wait_for() { # url [status]
  for _ in $(seq 150); do
    [ "$(curl -s -o /dev/null -m 2 -w '%{http_code}' "$1")" = "${2:-200}" ] && return
    sleep 0.1
  done
  give_up "no answer from $1"
}

demo=18104 demo_admin=18105 provider=18106 echo=18107
start_demo() { # core seconds that an access token lives
  on "$1" demo "$release/portcullis" demo --folder "$work/demo" --port "$demo" --admin-port "$demo_admin" \
    --provider-port "$provider" --echo-port "$echo" --access-token-seconds "$2"
  wait_for "http://localhost:$demo/public/"
  # A port that was taken would have been replaced by another one.
  for port in "$demo" "$provider" "$echo"; do
    grep -q ":$port" "$work/demo/dynamic.yml" "$work/demo/portcullis.yml" || give_up "port $port is taken"
  done
}
# Logs in at the demo as a browser does it: the provider's page is a form that posts what it was asked
# and the user. Sets `cookie`.
login() {
  local authorize callback
  local page=(-s -m 10 -H 'Accept: text/html' -H 'Sec-Fetch-Mode: navigate' -H 'Sec-Fetch-Dest: document')
  authorize=$(curl "${page[@]}" -c "$work/jar" -b "$work/jar" -o /dev/null -w '%{redirect_url}' "http://localhost:$demo/")
  [ -n "$authorize" ] || give_up "the demo starts no login"
  callback=$(curl "${page[@]}" -o /dev/null -w '%{redirect_url}' -d "${authorize#*\?}&user=alice" "${authorize%%\?*}")
  curl "${page[@]}" -c "$work/jar" -b "$work/jar" -o /dev/null "$callback"
  # What a browser sends a minute later: those of the login are gone by then.
  cookie=$(sed 's/^#HttpOnly_//' "$work/jar" | awk 'NF == 7 && $6 ~ /_session_/ { print $6 "=" $7 }')
  [ -n "$cookie" ] || give_up "the login gave no cookie"
}
