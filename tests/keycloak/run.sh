#!/usr/bin/env bash
# Logs in with Chromium at a real Keycloak, which is fetched on first use (Maven, 180 MB) and kept in the cache folder.
# KEYCLOAK_HOME names one that is there already; PORT (8081) and TLS_PORT (8444) are where it listens.
set -euo pipefail
cd "$(dirname "$0")"

version=26.7.5
port=${PORT:-8081}
tls_port=${TLS_PORT:-8444}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/portcullis
home=${KEYCLOAK_HOME:-$cache/keycloak-$version}

if [ ! -x "$home/bin/kc.sh" ]; then
    mkdir -p "$cache"
    artifact=org.keycloak:keycloak-quarkus-dist:$version:zip
    mvn -q -B dependency:get -Dartifact="$artifact" -Dtransitive=false
    mvn -q -B dependency:copy -Dartifact="$artifact" -DoutputDirectory="$cache"
    unzip -q "$cache/keycloak-quarkus-dist-$version.zip" -d "$cache"
    rm "$cache/keycloak-quarkus-dist-$version.zip"
    # Built once, each start is quicker.
    "$home/bin/kc.sh" build --db=dev-mem
fi

# Each run starts from the realm file: a data folder of its own and a database in memory.
work=$(mktemp -d)
trap 'kill "${keycloak:-}" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT
mkdir -p "$work/data/import"
cp -r "$home"/{bin,conf,providers,themes} "$work/"
ln -s "$home/lib" "$work/lib"
cp realm.json "$work/data/import/"
mkdir "$work/tls"
../browser/certificates.sh "$work/tls"

# The quick compiler only: a short life never earns back what the optimising one costs. exec, so that the process
# that is ended is Java's.
KC_BOOTSTRAP_ADMIN_USERNAME=admin KC_BOOTSTRAP_ADMIN_PASSWORD=admin \
    JAVA_OPTS_KC_HEAP="-Xms128m -Xmx512m" JAVA_OPTS_APPEND=-XX:TieredStopAtLevel=1 \
    "$work/bin/kc.sh" start --optimized --import-realm --http-enabled=true --http-host=127.0.0.1 --http-port="$port" \
    --https-port="$tls_port" --https-certificate-file="$work/tls/cert.pem" --https-certificate-key-file="$work/tls/key.pem" \
    --hostname-strict=false --cache=local >"$work/log" 2>&1 &
keycloak=$!

issuer=http://127.0.0.1:$port/realms/portcullis
echo "waiting for Keycloak $version at $issuer"
for try in $(seq 300); do
    if curl -fsS -m 2 -o /dev/null "$issuer/.well-known/openid-configuration" 2>/dev/null; then break; fi
    if ! kill -0 "$keycloak" 2>/dev/null || [ "$try" = 300 ]; then
        tail -n 40 "$work/log" >&2
        exit 1
    fi
    sleep 1
done

npm --prefix ../browser ci --silent
ISSUER=$issuer TLS_ISSUER=https://localhost:$tls_port/realms/portcullis CA=$work/tls/ca.pem \
    node --test --test-reporter=spec login.test.mjs
