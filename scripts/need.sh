#!/usr/bin/env bash
# Looks for what building (`build`), testing (`test`) and the Keycloak test (`java`) need. Installs what Debian
# has when it may (as root, or with sudo that asks nothing); else prints the one line that installs it.
set -euo pipefail

packages=()
has() { command -v "$1" >/dev/null 2>&1; }
want() { has "$1" || packages+=("${2:-$1}"); }

for what in "$@"; do
  case $what in
    build)
      if ! has cargo; then
        echo "Rust 1.95 or newer is missing: install it with rustup (https://rustup.rs), then run this again." >&2
        exit 1
      fi
      has cc || packages+=(build-essential)
      want cmake
      ;;
    test)
      want node nodejs
      want npm
      want chromium
      ;;
    java) want java openjdk-17-jre-headless; want curl; want unzip ;;
  esac
done
[ ${#packages[@]} -eq 0 ] && exit 0

install="apt-get install -y --no-install-recommends ${packages[*]}"
if ! has apt-get; then
  echo "Missing: ${packages[*]}. Install them with your package manager, then run this again." >&2
  exit 1
elif [ "$(id -u)" = 0 ]; then
  as=()
elif has sudo && sudo -n true 2>/dev/null; then
  as=(sudo)
else
  echo "Missing: ${packages[*]}. Run: sudo $install" >&2
  exit 1
fi
echo "Installing ${packages[*]}" >&2
"${as[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as[@]}" bash -c "$install -qq >/dev/null"
