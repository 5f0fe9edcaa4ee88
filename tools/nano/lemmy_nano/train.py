"""Training in pieces. Each piece starts from the committed weights with a fresh optimiser and ends in new ones; an
interrupted piece goes on from its last saved state.

Text pieces train the text model. Vision pieces train the tower together with it: each step has pictures and text.
"""

import json
import os
import re
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from . import files, world
from . import model as architecture
from .evaluate import exact
from .optim import optimisers

ROW = 512  # tokens of a packed row
PICKS = 192  # places of a row that may be learned from
ROWS = 5  # rows of one process in one step
PROCESSES = 2
BALANCE = 0.01
SAVE_SECONDS, SCORE_SECONDS = 300, 900


def packed(encoder, samples, row=ROW, rows=ROWS, picks=PICKS):
    """Endless batches (ids, doc, pick, target): ids and doc [rows, row], pick and target [rows, picks].

    Documents lie whole in rows; doc numbers them from 1. pick are the places after which the model speaks, target
    what it says there (-100 at the unused ones)."""
    waiting = []
    while True:
        ids = torch.zeros(rows, row, dtype=torch.long)
        doc = torch.zeros(rows, row, dtype=torch.long)
        pick = torch.zeros(rows, picks, dtype=torch.long)
        target = torch.full((rows, picks), -100)
        for r in range(rows):
            used = number = learned = 0
            while True:
                while len(waiting) < 64:
                    tokens, learn = encoder.encode(next(samples))
                    places = [i for i in range(len(tokens) - 1) if learn[i + 1]]
                    if len(tokens) <= row and len(places) <= picks:
                        waiting.append((tokens, places))
                fit = next(
                    (i for i, (t, p) in enumerate(waiting) if len(t) <= row - used and len(p) <= picks - learned), None
                )
                if fit is None:
                    break
                tokens, places = waiting.pop(fit)
                n, number = len(tokens), number + 1
                ids[r, used : used + n] = torch.tensor(tokens)
                doc[r, used : used + n] = number
                pick[r, learned : learned + len(places)] = torch.tensor(places) + used
                target[r, learned : learned + len(places)] = torch.tensor([tokens[i + 1] for i in places])
                used, learned = used + n, learned + len(places)
        yield ids, doc, pick, target


def learnable_scalars(model):
    """Turns each layer's scalar from a buffer into a parameter (same name in the checkpoint)."""
    for layer in model.model.language_model.layers:
        value = layer._buffers.pop("layer_scalar")
        layer.layer_scalar = torch.nn.Parameter(value)


def rate(progress):
    """Warm up for 2 %, hold, and decay linearly over the last 40 %."""
    return min(1.0, progress / 0.02 + 0.02, max(0.02, (1 - progress) / 0.4))


class TextTask:
    """Steps of packed text."""

    name = "text"

    def __init__(self, model, fast, encoder, seed):
        self.fast, self.batches = fast, packed(encoder, world.training(seed))

    def loss(self):
        """(loss, balance loss) of the next batch."""
        ids, doc, pick, target = next(self.batches)
        with architecture.Precision.autocast():
            hidden, balance = self.fast(self.fast.embed(ids), self.fast.masks(doc, pick), pick)
            learned = target >= 0
            logits = self.fast.logits(hidden[learned])
        return F.cross_entropy(logits, target[learned]), balance


def tasks(kind, *args):
    if kind == "text":
        return [TextTask(*args)]
    from .vision import PictureTask

    return [PictureTask(*args), TextTask(*args)]


def start_model(kind, number):
    """The model at the start of a piece."""
    if kind == "text" and number == 1:
        model = architecture.build(files.read_config())
        architecture.initialise(model, seed=1)
        return model
    model = files.load()
    if kind == "vision" and number == 1:
        from .vision import start_tower

        start_tower(model)
    return model


def check(model, kind):
    fast = architecture.FastText(model)
    print("fast forward differs from transformers by", architecture.check_fast_text(model, fast), flush=True)
    if kind == "vision":
        from . import vision

        print("with pictures by", vision.check(model, fast, vision.Processor(files.encoder())), flush=True)


def piece(kind, number, steps, minutes, work, muon_lr, adam_lr):
    """One piece: at most `steps` steps and `minutes` minutes, whichever ends first.

    One process for each core with its own batches; weights and gradients lie in shared memory, and each process
    updates the weights of half the layers."""
    work = Path(work)
    work.mkdir(parents=True, exist_ok=True)
    (files.NANO / "log").mkdir(exist_ok=True)
    torch.set_num_threads(1)
    model = start_model(kind, number)
    learnable_scalars(model)
    job = dict(
        kind=kind,
        number=number,
        steps=steps,
        minutes=minutes,
        muon_lr=muon_lr,
        adam_lr=adam_lr,
        step=0,
        spent=0.0,
        tokens=0,
        state=work / f"{kind}-{number}.pt",
        log=files.NANO / "log" / f"{kind}-{number}.jsonl",
    )
    if job["state"].exists():
        state = torch.load(job["state"])
        model.load_state_dict(state.pop("model"))
        job.update(state)
    else:
        job["log"].unlink(missing_ok=True)
    check(model, kind)
    model.share_memory()
    size = sum(p.numel() for _, p in trained(model, kind))
    grads = [torch.zeros(size).share_memory_() for _ in range(PROCESSES)]
    context = torch.multiprocessing.get_context("spawn")
    barrier, clock = context.Barrier(PROCESSES, timeout=900), torch.zeros(1).share_memory_()
    others = [
        context.Process(target=run, args=(r, model, grads, clock, barrier, job), daemon=True)
        for r in range(1, PROCESSES)
    ]
    for o in others:
        o.start()
    run(0, model, grads, clock, barrier, job)
    for o in others:
        o.join()
    files.save(model, metadata={"piece": f"{kind} {number}"})
    job["state"].unlink(missing_ok=True)


def trained(model, kind):
    return [(n, p) for n, p in model.named_parameters() if kind == "vision" or n.startswith("model.language_model")]


def share(named, rank):
    """The parameters that this process updates: every second layer, and process 1 all that is in no layer."""

    def owner(name):
        found = re.search(r"\.layers\.(\d+)\.", name)
        return int(found[1]) % PROCESSES if found else 1 % PROCESSES

    return [i for i, (n, _) in enumerate(named) if owner(n) == rank]


def run(rank, model, grads, clock, barrier, job):
    """The loop of one process. clock[0] is the piece's progress from 0 to 1, written by process 0."""
    torch.set_num_threads(1)
    if rank > 0:
        os.setsid()  # Linux shares a busy machine out by session: each process gets a share of its own
    kind = job["kind"]
    named = trained(model, kind)
    sizes = [p.numel() for _, p in named]
    views = [[part.view(p.shape) for part, (_, p) in zip(g.split(sizes), named)] for g in grads]
    mine = share(named, rank)
    opts = [(o, lr) for o, lr in zip(optimisers([named[i] for i in mine]), (job["muon_lr"], job["adam_lr"])) if o]
    fast = architecture.FastText(model)
    fast.compile()
    encoder = files.encoder()
    seed = {"text": 0, "vision": 500_000}[kind] + 1000 * job["number"] + 10 * job["step"] + rank  # one decade, one step
    work = tasks(kind, model, fast, encoder, seed)
    report = Report(model, fast, encoder, job) if rank == 0 else None
    model.train()
    for step in range(job["step"], job["steps"]):
        losses = {}
        for task in work:
            loss, balance = task.loss()
            (loss + BALANCE * balance).backward()
            losses[task.name] = loss.item()
        for (_, p), v in zip(named, views[rank]):
            v.copy_(p.grad)
            p.grad = None
        if report:
            clock[0] = report.progress(step)
        barrier.wait()
        progress = clock[0].item()
        if progress >= 1:
            break
        for i in mine:
            named[i][1].grad = torch.stack([v[i] for v in views]).mean(0)
        for o, lr in opts:
            for g in o.param_groups:
                g["lr"] = lr * rate(progress)
            o.step()
            o.zero_grad()
        barrier.wait()
        if report:
            report.after(step, losses, balance.item())


class Report:
    """What process 0 shows and keeps: progress bar, log, scores, and the state for an interruption."""

    def __init__(self, model, fast, encoder, job):
        self.model, self.fast, self.encoder, self.job = model, fast, encoder, job
        self.cases = files.test_cases(20)
        self.start = time.time() - job["spent"]
        self.saved = self.scored = time.time()
        self.tokens, self.average = job["tokens"], {}
        self.bar = tqdm(initial=job["step"], mininterval=20, smoothing=0.02)

    def progress(self, step):
        return max(step / self.job["steps"], (time.time() - self.start) / (60 * self.job["minutes"]))

    def after(self, step, losses, balance):
        self.tokens += ROW * ROWS * PROCESSES
        for k, v in losses.items():
            self.average[k] = 0.96 * self.average.get(k, v) + 0.04 * v
        self.bar.update()
        self.bar.set_postfix({k: f"{v:.4f}" for k, v in self.average.items()}, refresh=False)
        if step % 20 == 0:
            self.write(step, balance=round(balance, 3), **{k: round(v, 5) for k, v in self.average.items()})
        if time.time() - self.scored > SCORE_SECONDS:
            scores = exact(self.model, self.fast, self.encoder, self.cases)
            self.write(step, scores={k: round(v, 3) for k, v in scores.items()})
            self.bar.write(f"step {step}: " + "  ".join(f"{k} {v:.0%}" for k, v in scores.items()))
            self.scored = time.time()
        if time.time() - self.saved > SAVE_SECONDS:
            torch.save(
                dict(model=self.model.state_dict(), step=step + 1, spent=time.time() - self.start, tokens=self.tokens),
                self.job["state"],
            )
            self.saved = time.time()

    def write(self, step, **values):
        row = dict(step=step, tokens=self.tokens, minutes=round((time.time() - self.start) / 60, 2), **values)
        with open(self.job["log"], "a", encoding="utf-8") as f:
            f.write(json.dumps(row) + "\n")
