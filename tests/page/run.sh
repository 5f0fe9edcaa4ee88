#!/usr/bin/env bash
# Tests of the web page in a browser; needs node 18 or later. Installs Chromium if there is none.
# LEMMY=path/to/lemmy tests against the real server with Lemmy Nano as well.
set -euo pipefail
cd "$(dirname "$0")"

if [ -n "${LEMMY:-}" ]; then
    LEMMY="$(cd "$OLDPWD" && realpath "$LEMMY")"
    export LEMMY
fi

install() {
    if ! command -v apt-get >/dev/null; then
        echo "please install: $*" >&2
        return 1
    fi
    local root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    "${root[@]}" apt-get update -qq
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

command -v npm >/dev/null || install nodejs npm
if [ -z "${CHROMIUM:-}" ] && ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null; then
    install chromium fonts-dejavu-core
fi

npm ci --ignore-scripts --no-audit --no-fund --silent
node --test-reporter=spec run.mjs "$@"
