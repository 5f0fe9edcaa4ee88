#!/usr/bin/env bash
# Clients that other people wrote, against a server with Lemmy Nano: run.sh LEMMY_BINARY [NAME...]
#
# Without names all clients run. Nothing is set but the address and, where a client insists, any key.
set -euo pipefail
lemmy="$(realpath "${1:?usage: run.sh LEMMY_BINARY [NAME...]}")"
shift
cd "$(dirname "$0")"

all=(openai_chat.py openai_errors.py openai_responses.py agent.py agents_sdk.py langchain_chat.py litellm_chat.py
    anthropic_messages.py ollama_api.py openai.mjs ai_sdk.mjs)
names=("$@")
[ $# -gt 0 ] || names=("${all[@]}")

cache="${XDG_CACHE_HOME:-$HOME/.cache}/lemmy-tests"
work="$(mktemp -d)"
servers=()
end() {
    local status=$?
    [ ${#servers[@]} -eq 0 ] || kill "${servers[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    if [ "$status" != 0 ]; then tail -n 5 "$work"/*.log >&2 || true; fi
    rm -rf "$work"
    exit "$status"
}
trap end EXIT

./install.sh
python="$cache/clients/bin/python"
[ ! -x "$cache/clients/bin/node" ] || PATH="$cache/clients/bin:$PATH"

# Starts a server with these flags and sets `url` once it is ready.
start() {
    local log="$work/$1.log"
    shift
    env -u LEMMY_API_KEY "$lemmy" serve --port 0 --ctx-size 4096 "$@" 2> "$log" &
    servers+=($!)
    for _ in $(seq 600); do
        url="$(sed -n 's/^ready on //p' "$log")"
        [ -z "$url" ] || return 0
        kill -0 "${servers[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    echo "the server did not get ready; its log:" >&2
    cat "$log" >&2
    return 1
}

start usual --parallel 4
export LEMMY_URL="$url"
export LEMMY_LOCKED_KEY="a-key-for-these-tests"
start locked --parallel 1 --api-key "$LEMMY_LOCKED_KEY"
export LEMMY_LOCKED_URL="$url"
start narrow --parallel 1 --queue 1
export LEMMY_NARROW_URL="$url"
export LEMMY_SEES=0
compgen -G "../../models/*mmproj*.gguf" > /dev/null && LEMMY_SEES=1
# A client that wants to go elsewhere fails instead of waiting.
export no_proxy="127.0.0.1,localhost" NO_PROXY="127.0.0.1,localhost"

failed=()
for name in "${names[@]}"; do
    printf '\n-- %s\n' "$name"
    case "$name" in
        *.py) timeout 600 "$python" "$name" || failed+=("$name") ;;
        *) timeout 600 node "$name" || failed+=("$name") ;;
    esac
done
for server in "${servers[@]}"; do
    kill -0 "$server" 2>/dev/null || { echo "a server ended by itself" >&2; failed+=(server); }
done
if [ ${#failed[@]} -gt 0 ]; then
    printf '\nfailed: %s\n' "${failed[*]}" >&2
    exit 1
fi
printf '\nall clients passed: %s\n' "${names[*]}"
