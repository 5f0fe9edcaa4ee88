#!/usr/bin/env bash
# Checks the files of this folder: check.sh LEMMY_BINARY
#
# The Dockerfile by hadolint, manifests rendered by kustomize and judged by schemas, the dashboard and all PromQL by
# parsers, and everything that names a flag, a probe or a metric by a running server. Nothing is applied or built.
set -euo pipefail
lemmy="$(realpath "${1:?usage: check.sh LEMMY_BINARY}")"
cd "$(dirname "$0")"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/lemmy-tests"
./install.sh
python="$cache/deploy/bin/python"
# Node comes with the environment of the test clients where the system has none.
PATH="$PATH:$cache/clients/bin"

echo "-- Dockerfile"
"$cache/deploy/bin/hadolint" Dockerfile
for folder in kubernetes/*/; do
    echo "-- $folder"
    kubectl kustomize "$folder" | "$python" check/manifests.py
done
echo "-- against a running server"
"$python" check/live.py "$lemmy" .
