"""Exact-answer scores on held-out cases.

A greedy answer is the expected one exactly if, with the expected answer as input, the likeliest token is the
expected one at each of its places. So one forward pass per case gives the greedy score."""

import json
import math
import subprocess
from collections import defaultdict

import torch
from tqdm import tqdm

from . import model as architecture
from . import render


def answers(encoder, sample):
    """(ids, first place of the answer)."""
    p = encoder.tok.encode(render.prompt(sample)).ids
    t = encoder.tok.encode(render.target(sample)).ids
    return p + t, len(p)


def shares(right):
    return {k: sum(v) / len(v) for k, v in right.items()}


@torch.no_grad()
def exact(model, fast, encoder, cases):
    """Scores by group through the fast forward (for a look during training)."""
    from .train import PICKS, ROW, ROWS

    right = defaultdict(list)
    todo = [(c, *answers(encoder, c)) for c in cases]
    todo = [t for t in todo if len(t[1]) <= ROW and len(t[1]) - t[2] <= PICKS]
    model.eval()
    while todo:
        ids = torch.zeros(ROWS, ROW, dtype=torch.long)
        doc = torch.zeros(ROWS, ROW, dtype=torch.long)
        pick = torch.zeros(ROWS, PICKS, dtype=torch.long)
        placed = []
        for r in range(ROWS):
            used = asked = number = 0
            while todo and len(todo[-1][1]) <= ROW - used and len(todo[-1][1]) - todo[-1][2] <= PICKS - asked:
                case, tokens, first = todo.pop()
                number += 1
                n = len(tokens) - first
                ids[r, used : used + len(tokens)] = torch.tensor(tokens)
                doc[r, used : used + len(tokens)] = number
                pick[r, asked : asked + n] = torch.arange(first - 1, len(tokens) - 1) + used
                placed.append((case, r, asked, tokens[first:]))
                used, asked = used + len(tokens), asked + n
        with architecture.Precision.autocast():
            hidden, _ = fast(fast.embed(ids), fast.masks(doc, pick), pick)
            best = fast.logits(hidden).argmax(-1)
        for case, r, first, expected in placed:
            right[case.group].append(best[r, first : first + len(expected)].tolist() == expected)
    model.train()
    return dict(sorted(shares(right).items()))


@torch.no_grad()
def score(model, encoder, cases, keep_logits=False):
    """Every case through transformers' own, unchanged forward. Returns one dict a case: group, right, nll (nats,
    summed over the answer), tokens, and the answer's logits if wanted."""
    model.eval()
    rows = []
    for case in tqdm(cases, desc="transformers", mininterval=10):
        ids, first = answers(encoder, case)
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, first - 1 : -1].float()
        rows.append(judge(case, logits, ids[first:], keep_logits))
    return rows


def judge(case, logits, expected, keep_logits=False):
    """One row from the logits [answer tokens, vocabulary] and the expected tokens."""
    want = torch.tensor(expected)
    nll = -logits.log_softmax(-1).gather(1, want[:, None]).sum().item()
    row = dict(group=case.group, right=logits.argmax(-1).tolist() == expected, nll=nll, tokens=len(expected))
    return {**row, "logits": logits} if keep_logits else row


@torch.no_grad()
def generated(model, encoder, case, most=200):
    """The greedy answer of transformers' `generate`, as text with its control tokens."""
    ids = encoder.tok.encode(render.prompt(case)).ids
    out = model.generate(torch.tensor([ids]), max_new_tokens=most, do_sample=False, pad_token_id=0)[
        0, len(ids) :
    ].tolist()
    return encoder.tok.decode(out, skip_special_tokens=False)


def table(rows):
    """group -> (cases, share right), and the perplexity over all answers."""
    groups = defaultdict(list)
    for r in rows:
        groups[r["group"]].append(r["right"])
    perplexity = math.exp(sum(r["nll"] for r in rows) / sum(r["tokens"] for r in rows))
    return {g: (len(v), sum(v) / len(v)) for g, v in groups.items()}, perplexity


def divergence(reference, other):
    """Mean KL divergence in nats from the reference's answers to the other's; both scored with their logits."""
    total = count = 0
    for a, b in zip(reference, other):
        p, q = a["logits"].log_softmax(-1), b["logits"].log_softmax(-1)
        total += (p.exp() * (p - q)).sum().item()
        count += a["tokens"]
    return total / count


def through_lemmy(binary, gguf_file, encoder, cases, threads=2, keep_logits=False):
    """The same rows from the logits of the `lemmy` command line, one run for each case."""
    rows = []
    for case in tqdm(cases, desc="lemmy", mininterval=10):
        ids, first = answers(encoder, case)
        command = [
            binary,
            "logits",
            str(gguf_file),
            "--tokens",
            ",".join(map(str, ids)),
            "--all",
            "--json",
            "--kv-type",
            "f32",
            "-t",
            str(threads),
        ]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        logits = torch.tensor([json.loads(line)["logits"] for line in lines[first - 1 : -1]])
        rows.append(judge(case, logits, ids[first:], keep_logits))
    return rows
