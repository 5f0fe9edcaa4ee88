"""The loss curve of all pieces as one picture."""

import json

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from . import files

PICTURE = files.REPOSITORY / "docs" / "nano-loss.png"


def plot():
    fig, ax = plt.subplots(figsize=(7, 3.6), dpi=90)
    offset = 0
    for log in sorted((files.NANO / "log").glob("*.jsonl")):
        rows = [r for r in map(json.loads, log.read_text().splitlines()) if "loss" in r]
        if not rows:
            continue
        ax.plot([(offset + r["tokens"]) / 1e6 for r in rows], [r["loss"] for r in rows], label=log.stem)
        offset += rows[-1]["tokens"]
    ax.set(xlabel="million tokens", ylabel="loss on the model's own words (nats)", yscale="log")
    ax.grid(alpha=0.3, which="both")
    ax.legend()
    fig.tight_layout()
    fig.savefig(PICTURE)
