#!/usr/bin/env bash
# Lemmy beside llama-bench on the same file: in turns, in the same minutes, the order turned around each round.
#
#   LLAMA_BENCH=path/to/llama-bench benches/compare.sh model.gguf [rounds]
#
# Also from the environment:
#   LEMMY         the binary                       (default: target/release/lemmy, built if it is not there)
#   THREADS       threads of both                  (default: all CPUs)
#   PROMPT GEN    tokens read and generated        (default: 512 64)
#   DEPTH         tokens that are there before     (default: 0)
#   LLAMA_FLAGS   more flags of llama-bench        (for instance: "--repack 0")
#   RECORD        folder of the record             (default: benches/record)
#
# Prints medians with the least and the greatest, and the ratio; keeps everything in RECORD/DATE-CPU.json.
set -euo pipefail

model=$(realpath "${1:?usage: benches/compare.sh MODEL [ROUNDS]}")
rounds=${2:-3}
LLAMA_BENCH=$(realpath "${LLAMA_BENCH:?set LLAMA_BENCH to the llama-bench to compare with}")
project=$(dirname "$(dirname "$(realpath "$0")")")
lemmy=${LEMMY:-$project/target/release/lemmy}
[ -x "$lemmy" ] || cargo build --release -p lemmy --manifest-path "$project/Cargo.toml"
threads=${THREADS:-$(nproc)}
prompt=${PROMPT:-512}
gen=${GEN:-64}
depth=${DEPTH:-0}
record=${RECORD:-$project/benches/record}
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT

run_lemmy() {
    "$lemmy" bench "$model" -p "$prompt" -n "$gen" -d "$depth" -t "$threads" -r 1 --json >"$runs/lemmy-$1.json"
}

run_llama() {
    # shellcheck disable=SC2086 # flags are words
    "$LLAMA_BENCH" -m "$model" -p "$prompt" -n "$gen" -d "$depth" -t "$threads" -r 1 -ngl 0 -o json ${LLAMA_FLAGS:-} \
        >"$runs/llama-$1.json" 2>"$runs/llama.log" || { cat "$runs/llama.log" >&2; exit 1; }
}

for round in $(seq "$rounds"); do
    if [ $((round % 2)) = 1 ]; then order="lemmy llama"; else order="llama lemmy"; fi
    for engine in $order; do
        echo "round $round of $rounds: $engine" >&2
        "run_$engine" "$round"
    done
done

mkdir -p "$record"
python3 - "$runs" "$record" "$model" "${LLAMA_FLAGS:-}" <<'PYTHON'
import datetime, glob, json, os, re, statistics, sys

runs, record, model, flags = sys.argv[1:]
load = lambda engine: [json.load(open(path)) for path in sorted(glob.glob(f"{runs}/{engine}-*.json"))]
ours, theirs = load("lemmy"), load("llama")


def llama_speed(run, tested, other):
    return [test["avg_ts"] for test in run if test[tested] > 0 and test[other] == 0]


speeds = {
    "prompt": {
        "lemmy": [run["pp_tok_s"] for run in ours if run["pp_tok_s"] is not None],
        "llama.cpp": [speed for run in theirs for speed in llama_speed(run, "n_prompt", "n_gen")],
    },
    "decode": {
        "lemmy": [run["tg_tok_s"] for run in ours if run["tg_tok_s"] is not None],
        "llama.cpp": [speed for run in theirs for speed in llama_speed(run, "n_gen", "n_prompt")],
    },
}
facts = {
    "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    **{key: ours[0][key] for key in ("cpu", "isa", "threads", "n_prompt", "n_gen", "depth", "file_bytes", "version")},
    "load_avg": [run["load_avg"] for run in ours],
    "peak_rss_bytes": max(run["peak_rss_bytes"] or 0 for run in ours),
    "load_s": statistics.median(run["load_s"] for run in ours),
    "first_token_s": statistics.median(run["first_token_s"] for run in ours),
    "file": os.path.basename(model),
    "llama_cpp": theirs[0][0].get("build_commit"),
    "llama_flags": flags,
    "speeds": speeds,
}
print(f"{facts['file']}, {facts['cpu']} ({facts['isa']}), {facts['threads']} threads, load {facts['load_avg']}")
print(f"{'':8} {'lemmy: median [least, greatest]':>34} {'llama.cpp':>34} {'ratio':>7}")
for kind, pair in speeds.items():
    if not all(pair.values()):
        continue
    cell = lambda v: f"{statistics.median(v):.2f} [{min(v):.2f}, {max(v):.2f}]"
    ratio = statistics.median(pair["lemmy"]) / statistics.median(pair["llama.cpp"])
    facts[f"{kind}_ratio"] = round(ratio, 3)
    print(f"{kind:8} {cell(pair['lemmy']):>34} {cell(pair['llama.cpp']):>34} {ratio:>6.2f}x")
cpu = re.sub(r"[^A-Za-z0-9]+", "-", facts["cpu"] or "unknown").strip("-")
path = f"{record}/{facts['date'].replace(':', '')[:15]}-{cpu}.json"
with open(path, "w") as file:
    json.dump(facts, file, indent=1)
    file.write("\n")
print(f"record: {path}")
PYTHON
