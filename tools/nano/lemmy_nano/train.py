"""Training of the text model, in pieces. Each piece starts from the committed weights with a fresh optimiser and ends in new
ones; an interrupted piece goes on from its last saved state."""

import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from . import files, world
from . import model as architecture
from .evaluate import exact
from .optim import optimisers

ROW, ROWS = 512, 16  # tokens of one packed row, rows of one step
BALANCE = 0.01
SAVE_SECONDS = 300


def packed(encoder, samples, row=ROW, rows=ROWS):
    """Endless batches (ids, doc, targets) [rows, row]. Documents lie whole in rows; targets are -100 where nothing is learned."""
    waiting = []
    while True:
        ids = torch.zeros(rows, row, dtype=torch.long)
        doc = torch.zeros(rows, row, dtype=torch.long)
        target = torch.full((rows, row), -100)
        for r in range(rows):
            used = number = 0
            while row - used > 24:
                while len(waiting) < 64:
                    tokens, learn = encoder.encode(next(samples))
                    if len(tokens) <= row:
                        waiting.append((tokens, learn))
                fit = next((i for i, (t, _) in enumerate(waiting) if len(t) <= row - used), None)
                if fit is None:
                    break
                tokens, learn = waiting.pop(fit)
                n, number = len(tokens), number + 1
                t = torch.tensor(tokens)
                ids[r, used:used + n] = t
                doc[r, used:used + n] = number
                wanted = torch.tensor(learn[1:])
                target[r, used:used + n - 1][wanted] = t[1:][wanted]
                used += n
        yield ids, doc, target


def learnable_scalars(model):
    """Turns each layer's scalar from a buffer into a parameter (same name in the checkpoint)."""
    for layer in model.model.language_model.layers:
        value = layer._buffers.pop("layer_scalar")
        layer.layer_scalar = torch.nn.Parameter(value)


def rate(progress):
    """Warm up for 2 %, hold, and decay linearly over the last 40 %."""
    return min(1.0, progress / 0.02 + 0.02, max(0.02, (1 - progress) / 0.4))


def text_piece(number, steps, minutes, work, muon_lr=0.02, adam_lr=0.003, seed=None, compile=True):
    """One piece of text training: at most `steps` steps and `minutes` minutes, whichever ends first."""
    work = Path(work)
    work.mkdir(parents=True, exist_ok=True)
    state_file, log_file = work / f"text-{number}.pt", files.NANO / "log" / f"text-{number}.jsonl"
    log_file.parent.mkdir(exist_ok=True)
    torch.manual_seed(number)
    encoder = files.encoder()
    if number == 1:
        model = architecture.build(files.read_config())
        architecture.initialise(model, seed=1)
    else:
        model = files.load()
    learnable_scalars(model)
    named = [(n, p) for n, p in model.named_parameters() if n.startswith("model.language_model")]
    opts = optimisers(named, muon_lr, adam_lr)
    first, spent, tokens = 0, 0.0, 0
    if state_file.exists():
        state = torch.load(state_file)
        model.load_state_dict(state["model"])
        for o, s in zip(opts, state["opts"]):
            o.load_state_dict(s)
        first, spent, tokens = state["step"], state["spent"], state["tokens"]
    fast = architecture.FastText(model)
    print("fast forward differs from transformers by", architecture.check_fast_text(model, fast))
    if compile:
        fast.compile()
    batches = packed(encoder, world.training(1000 * number + 7 * first + 100))
    cases = [s for s in files.test_cases(40)]
    model.train()
    start, saved, average, logged = time.time() - spent, time.time(), None, 0.0
    bar = tqdm(range(first, steps), initial=first, total=steps, mininterval=10, smoothing=0.02)
    for step in bar:
        progress = max(step / steps, (time.time() - start) / (60 * minutes))
        if progress >= 1:
            break
        for o, lr in zip(opts, (muon_lr, adam_lr)):
            for g in o.param_groups:
                g["lr"] = lr * rate(progress)
        ids, doc, target = next(batches)
        with torch.autocast("cpu", torch.bfloat16):
            hidden, balance = fast(fast.embed(ids), fast.masks(doc))
            learned = target >= 0
            logits = fast.logits(hidden[learned])
        loss = F.cross_entropy(logits, target[learned])
        (loss + BALANCE * balance).backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
        for o in opts:
            o.step()
            o.zero_grad()
        tokens += ids.numel()
        average = loss.item() if average is None else 0.95 * average + 0.05 * loss.item()
        bar.set_postfix(loss=f"{average:.4f}", balance=f"{balance.item():.2f}")
        if step % 20 == 0:
            logged += 1
            with open(log_file, "a") as f:
                f.write(json.dumps(dict(step=step, tokens=tokens, minutes=round((time.time() - start) / 60, 2), loss=round(average, 5),
                                        balance=round(balance.item(), 3))) + "\n")
        if step % 400 == 399:
            scores = exact(model, fast, encoder, cases)
            with open(log_file, "a") as f:
                f.write(json.dumps(dict(step=step, tokens=tokens, minutes=round((time.time() - start) / 60, 2), scores=scores)) + "\n")
            bar.write(f"step {step + 1}: " + "  ".join(f"{k} {v:.0%}" for k, v in scores.items()))
        if time.time() - saved > SAVE_SECONDS:
            torch.save(dict(model=model.state_dict(), opts=[o.state_dict() for o in opts], step=step + 1, spent=time.time() - start, tokens=tokens), state_file)
            saved = time.time()
    files.save(model, metadata={"piece": f"text {number}"})
    print(f"piece {number}: {tokens} tokens in {(time.time() - start) / 60:.1f} minutes")
    state_file.unlink(missing_ok=True)
