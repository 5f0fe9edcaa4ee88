#!/usr/bin/env bash
# Installs what check.sh needs, in the very versions of check/requirements.txt and check/package-lock.json; does nothing
# where it is there already.
set -euo pipefail
cd "$(dirname "$0")"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/lemmy-tests"
mkdir -p "$cache"
python="$cache/deploy/bin/python"
wanted="$(sha256sum check/requirements.txt)"
if [ "$(cat "$cache/deploy/wanted" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$cache/deploy"
    python3 -m venv "$cache/deploy"
    "$python" -m pip install --quiet --disable-pip-version-check --requirement check/requirements.txt
    echo "$wanted" > "$cache/deploy/wanted"
fi
# Node comes with the environment of the test clients where the system has none.
PATH="$PATH:$cache/clients/bin"
wanted="$(sha256sum check/package-lock.json)"
if [ "$(cat check/node_modules/.wanted 2>/dev/null)" != "$wanted" ]; then
    (cd check && npm ci --silent --no-audit --no-fund --ignore-scripts)
    echo "$wanted" > check/node_modules/.wanted
fi
