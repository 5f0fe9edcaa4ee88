#!/usr/bin/env bash
# Many clients at once, for long, good ones and bad ones: soak.sh [SECONDS] [LEMMY_BINARY]
#
# 600 seconds and target/debug/lemmy unless told. Loopback only; ends by itself. It checks that no answer is lost or
# wrong, that memory stays flat and that a stop is in order; times are printed, not judged. Needs Python 3.10.
set -euo pipefail
lemmy="$(realpath "${2:-$(dirname "$0")/../target/debug/lemmy}")"
exec python3 "$(dirname "$0")/soak.py" "$lemmy" "${1:-600}"
