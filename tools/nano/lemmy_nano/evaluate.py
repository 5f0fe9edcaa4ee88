"""Exact-answer scores on held-out cases.

A greedy answer is the expected one exactly if, with the expected answer as input, the likeliest token is the expected one at
each of its places. So one forward pass per case gives the greedy score.
"""

from collections import defaultdict

import torch


def answers(encoder, sample):
    """(ids, first place of the answer)."""
    from . import render
    p = encoder.tok.encode(render.prompt(sample)).ids
    t = encoder.tok.encode(render.target(sample)).ids
    return p + t, len(p)


def shares(right):
    return {k: sum(v) / len(v) for k, v in right.items()}


@torch.no_grad()
def exact(model, fast, encoder, cases, rows=16, row=512):
    """Scores by group through the fast forward (for a look during training)."""
    right = defaultdict(list)
    todo = [(c, *answers(encoder, c)) for c in cases]
    todo = [t for t in todo if len(t[1]) <= row]
    model.eval()
    while todo:
        ids = torch.zeros(rows, row, dtype=torch.long)
        doc = torch.zeros(rows, row, dtype=torch.long)
        placed, number = [], 0
        for r in range(rows):
            used = 0
            while todo and len(todo[-1][1]) <= row - used:
                case, tokens, first = todo.pop()
                number += 1
                ids[r, used:used + len(tokens)] = torch.tensor(tokens)
                doc[r, used:used + len(tokens)] = number
                placed.append((case, r, used, tokens, first))
                used += len(tokens)
        with torch.autocast("cpu", torch.bfloat16):
            hidden, _ = fast(fast.embed(ids), fast.masks(doc))
            for case, r, used, tokens, first in placed:
                got = fast.logits(hidden[r, used + first - 1:used + len(tokens) - 1]).argmax(-1)
                right[case.group].append(got.tolist() == tokens[first:])
    model.train()
    return dict(sorted(shares(right).items()))
