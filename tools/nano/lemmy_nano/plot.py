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
        rows = [r for r in map(json.loads, log.read_text(encoding="utf-8").splitlines()) if "scores" not in r]
        for name in ("text", "pictures"):
            points = [(offset + r["tokens"], r[name]) for r in rows if name in r]
            if points:
                ax.plot([x / 1e6 for x, _ in points], [y for _, y in points], label=f"{log.stem}: {name}")
        offset += rows[-1]["tokens"]
    ax.set(xlabel="million tokens of text", ylabel="loss on the model's own words (nats)", yscale="log")
    ax.grid(alpha=0.3, which="both")
    ax.legend()
    fig.tight_layout()
    fig.savefig(PICTURE)
