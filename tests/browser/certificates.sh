#!/usr/bin/env bash
# certificates.sh FOLDER: a throw-away authority (ca.pem), and a certificate of it for localhost (cert.pem, key.pem).
set -euo pipefail
cd "$1"
new=(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2)
{
    "${new[@]}" -subj '/CN=Authority of the tests' -keyout ca.key -out ca.pem
    "${new[@]}" -subj /CN=localhost -CA ca.pem -CAkey ca.key -keyout key.pem -out cert.pem \
        -addext basicConstraints=critical,CA:FALSE -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1'
} 2>/dev/null
