"""Muon for the matrices, AdamW for the rest.

Muon (K. Jordan and others, 2024): momentum whose matrix is replaced by the nearest orthogonal one, found by five
Newton-Schulz steps. Matrices of one shape are orthogonalised together as one batch.
"""

from collections import defaultdict

import torch

from .model import Precision


def orthogonal(g):
    """About the nearest (semi-)orthogonal matrix of each g[i]; g [n, rows, columns]."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = g.shape[-2] > g.shape[-1]
    x = (g.mT if tall else g).to(Precision.fast)
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True) + 1e-7).to(Precision.fast)
    for _ in range(5):
        s = x @ x.mT
        x = a * x + (b * s + c * (s @ s)) @ x
    return (x.mT if tall else x).float()


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum=0.95, weight_decay=0.05):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            batches = defaultdict(list)
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                m = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                u = p.grad.lerp(m, group["momentum"])  # Nesterov
                matrices = u.view(-1, *p.split_shape) if hasattr(p, "split_shape") else u[None]
                batches[matrices.shape[-2:]].append((p, matrices))
            for (rows, columns), items in batches.items():
                done = orthogonal(torch.cat([m for _, m in items]))
                scale = group["lr"] * max(1.0, rows / columns) ** 0.5
                p_first = 0
                for p, m in items:
                    u = done[p_first : p_first + len(m)].reshape(p.shape)
                    p_first += len(m)
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(u, alpha=-scale)


def optimisers(named):
    """(Muon for the hidden matrices or None, AdamW for embeddings, norms, router and scalars or None)."""
    muon, adam = [], []
    for name, p in named:
        if name.endswith("experts.gate_up_proj"):
            p.split_shape = (p.shape[1] // 2, p.shape[2])  # gate and up of every expert on their own
        elif name.endswith("experts.down_proj"):
            p.split_shape = tuple(p.shape[1:])
        hidden = p.ndim == 2 and not any(k in name for k in ("embed_tokens", "router", "input_proj"))
        (muon if hidden or hasattr(p, "split_shape") else adam).append(p)
    return (
        Muon(muon, lr=0.0) if muon else None,
        torch.optim.AdamW(adam, lr=0.0, betas=(0.9, 0.95), weight_decay=0.0, eps=1e-10) if adam else None,
    )
