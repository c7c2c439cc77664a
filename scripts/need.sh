#!/usr/bin/env bash
# need.sh build | test | java ...: looks for what these need, installs what Debian has when it may, and else
# prints the line that installs it. Prints nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=0

complain() {
    echo "need: $1" >&2
    echo "      install it with: $2" >&2
    missing=1
}

has() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

may_install() {
    has apt-get && { [ "$(id -u)" = 0 ] || { has sudo && sudo -n true 2>/dev/null; }; }
}

updated=0
# debian WHAT PACKAGE...: installs packages, or says how.
debian() {
    local what=$1
    shift
    if may_install; then
        echo "need: installing $*" >&2
        if [ $updated = 0 ]; then
            as_root apt-get update -qq >/dev/null 2>&1 || true
            updated=1
        fi
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null 2>&1 && return
    fi
    complain "$what" "sudo apt-get install $*"
}

# at_least HAVE WANT: compares dotted versions.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

rust() {
    local want have
    want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    if ! has cargo || ! has rustc; then
        # Debian's own Rust is too old; its rustup, where there is one, fetches the right one.
        complain "Rust $want or newer" "sudo apt-get install rustup && rustup default stable"
        return
    fi
    have=$(rustc --version | cut -d' ' -f2)
    at_least "${have%%-*}" "$want" || complain "Rust $want or newer, this is $have" "rustup update stable"
}

build() {
    rust
    has cc || debian "a C compiler" gcc libc6-dev
    has cmake || debian cmake cmake
    has make || debian make make
}

node() {
    has node && has npm || debian "Node.js and npm" nodejs npm
    has node || return 0
    at_least "$(node_version)" 20 || complain "Node.js 20 or newer, this is $(node_version)" "sudo apt-get install -t stable-backports nodejs"
}

node_version() { command node --version | tr -d v; }

chromium() {
    [ -x "${CHROMIUM:-/usr/bin/chromium}" ] || debian "Chromium (or CHROMIUM=/path/to/it)" chromium
}

tests() {
    build
    node
    chromium
    has openssl || debian openssl openssl
    has redis-server && has redis-cli || debian "Redis 7 or newer" redis-server redis-tools
}

java() {
    command -v java >/dev/null || debian "Java 17 or newer" default-jre-headless
    [ -n "${KEYCLOAK_HOME:-}" ] || has mvn || debian Maven maven
    has unzip || debian unzip unzip
}

for what in "${@:-build}"; do
    case $what in
        build) build ;;
        test) tests ;;
        java) java ;;
        *) echo "need.sh: build, test or java, not '$what'" >&2 && exit 2 ;;
    esac
done
exit $missing
