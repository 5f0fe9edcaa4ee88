"""Pictures of one or two figures, and the training of the vision tower."""

import math

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

from . import files, pictures, render
from . import model as architecture
from .sample import Chooser, held_out
from .words import COLOURS, SHAPES

BUDGETS = (70, 140, 560, 1120)
PICTURES = 8  # of one process in one step, at the smallest budget
SIZES = [
    (96, 96),
    (200, 200),
    (320, 240),
    (240, 320),
    (400, 200),
    (200, 400),
    (300, 100),
    (128, 256),
    (640, 480),
    (150, 100),
]


def draw_figure(d, shape, x, y, r, colour):
    if shape == "circle":
        d.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif shape == "square":
        d.rectangle((x - r * 0.9, y - r * 0.9, x + r * 0.9, y + r * 0.9), fill=colour)
    elif shape == "triangle":
        d.polygon([(x, y - r), (x - r, y + r * 0.8), (x + r, y + r * 0.8)], fill=colour)
    else:
        w = r * 0.35
        d.rectangle((x - r, y - w, x + r, y + w), fill=colour)
        d.rectangle((x - w, y - r, x + w, y + r), fill=colour)


def picture(rng):
    """(image, figures from left to right, key). The key decides training or test."""
    w, h = rng.choice(SIZES)
    figures = [(rng.choice(list(COLOURS)), rng.choice(SHAPES)) for _ in range(rng.choice((1, 2)))]
    shade = rng.choice((110, 150, 175, 205))
    ground = tuple(shade + rng.randint(-6, 6) for _ in range(3))
    scale = 4  # drawn large and shrunk: smooth edges
    image = Image.new("RGB", (w * scale, h * scale), ground)
    d = ImageDraw.Draw(image)
    n = len(figures)
    cell = w / n
    for i, (colour, shape) in enumerate(figures):
        r = rng.uniform(0.26, 0.42) * min(cell, h)
        x = rng.uniform(i * cell + r * 1.05, (i + 1) * cell - r * 1.05)
        y = rng.uniform(r * 1.05, h - r * 1.05)
        draw_figure(
            d,
            shape,
            x * scale,
            y * scale,
            r * scale,
            tuple(max(0, min(255, c + rng.randint(-12, 12))) for c in pictures.PALETTE[colour]),
        )
    return image.resize((w, h), Image.BOX), figures, ("picture", w, h, *figures)


def sample(rng):
    """(image, question, answer) on the wanted side of the split."""
    while True:
        image, figures, key = picture(rng)
        if held_out(key) == rng.test:
            return (image, *pictures.question(rng, figures))


class Processor:
    """Images to patches exactly as transformers' Pillow processor does, and the prompt with its soft tokens."""

    def __init__(self, encoder):
        self.encoder = encoder
        i = encoder.tok.token_to_id
        self.begin, self.soft, self.end = i("<|image>"), i("<|image|>"), i("<image|>")
        self.by_budget = {b: Gemma4ImageProcessorPil(max_soft_tokens=b) for b in BUDGETS}

    def patches(self, image, budget):
        out = self.by_budget[budget](images=image, return_tensors="pt")
        return out["pixel_values"].float(), out["image_position_ids"], int(out["num_soft_tokens_per_image"][0])

    def ids(self, question, soft):
        """The rendered prompt: the picture first, then the question."""
        message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
        out = []
        for t in self.encoder.tok.encode(render.chat([message])).ids:
            out += [self.begin] + [self.soft] * soft + [self.end] if t == self.soft else [t]
        return out


def batch(rng, processor, budget, size):
    """Everything of one step: patches [B, 9 budget, 768], positions, ids [B, T], length [B], pick and target [B, P]."""
    items = []
    for _ in range(size):
        image, question, answer = sample(rng)
        pixels, positions, soft = processor.patches(image, budget)
        p = processor.ids(question, soft)
        items.append((pixels, positions, p, processor.encoder.tok.encode(answer + "<turn|>").ids))
    t = 64 * math.ceil(max(len(p) + len(a) for _, _, p, a in items) / 64)
    picks = 16
    ids = torch.zeros(size, t, dtype=torch.long)
    pick = torch.zeros(size, picks, dtype=torch.long)
    target = torch.full((size, picks), -100)
    length = torch.tensor([len(p) + len(a) for _, _, p, a in items])
    for i, (_, _, p, a) in enumerate(items):
        ids[i, : len(p) + len(a)] = torch.tensor(p + a)
        pick[i, : len(a)] = torch.arange(len(p) - 1, len(p) + len(a) - 1)
        target[i, : len(a)] = torch.tensor(a)
    return torch.cat([x[0] for x in items]), torch.cat([x[1] for x in items]), ids, length, pick, target


def embed(model, fast, pixels, positions, ids, soft_id):
    """Token embeddings with each picture's soft vectors in their places."""
    x = fast.embed(ids)
    where = ids == soft_id
    features = torch.cat(model.model.get_image_features(pixels, positions, return_dict=True).pooler_output)
    return x.masked_scatter(where[..., None], features.to(x.dtype)), where.long()


@torch.no_grad()
def standardise(model, processor, rng):
    """Sets the tower's fixed bias and scale from a first look at pictures."""
    tower = model.model.vision_tower
    tower.std_bias.zero_()
    tower.std_scale.fill_(1.0)
    rows = []
    for _ in range(48):
        pixels, positions, _ = processor.patches(sample(rng)[0], 70)
        rows.append(tower(pixel_values=pixels, pixel_position_ids=positions).last_hidden_state)
    z = torch.cat(rows)
    tower.std_bias.copy_(z.mean(0))
    tower.std_scale.copy_(1 / (z.std(0) + 1e-3))


@torch.no_grad()
def exact(model, processor, rng, budget, count):
    """Share of held-out pictures whose greedy answer is exact, through transformers' own forward."""
    model.eval()
    right = 0
    for _ in range(count):
        image, question, answer = sample(rng)
        pixels, positions, soft = processor.patches(image, budget)
        p = processor.ids(question, soft)
        a = processor.encoder.tok.encode(answer + "<turn|>").ids
        ids = torch.tensor([p + a])
        logits = model(
            input_ids=ids,
            pixel_values=pixels,
            image_position_ids=positions,
            mm_token_type_ids=(ids == processor.soft).long(),
            attention_mask=torch.ones_like(ids),
            use_cache=False,
        ).logits[0]
        right += logits[len(p) - 1 : -1].argmax(-1).tolist() == a
    return right / count


@torch.no_grad()
def check(model, fast, processor, tolerance=5e-3):
    """The fast forward with pictures equals transformers' in f32, for a picture wider than the window and a small
    one."""
    rng = Chooser(3)
    pixels, positions, ids, length, pick, target = batch(rng, processor, 70, 2)
    with architecture.Precision.full():
        x, block = embed(model, fast, pixels, positions, ids, processor.soft)
        got = fast.logits(fast.forward_pictures(x, length, block, pick)[0])
    worst = 0.0
    for i in range(len(ids)):
        row = ids[i : i + 1, : length[i]]
        want = model(
            input_ids=row,
            pixel_values=pixels[i : i + 1],
            image_position_ids=positions[i : i + 1],
            mm_token_type_ids=(row == processor.soft).long(),
            attention_mask=torch.ones_like(row),
            use_cache=False,
        ).logits[0]
        n = int((target[i] >= 0).sum())
        worst = max(worst, (want[pick[i, :n]] - got[i, :n]).abs().max().item())
    assert worst < tolerance, f"the fast forward with pictures differs from transformers by {worst}"
    return worst


class PictureTask:
    """Steps of pictures: small budgets mostly, the large ones now and then."""

    name = "pictures"

    def __init__(self, model, fast, encoder, seed):
        self.model, self.fast, self.rng, self.processor = model, fast, Chooser(seed), Processor(encoder)
        model.model.vision_tower.config._attn_implementation = "sdpa"

    def loss(self):
        budget = self.rng.choices(BUDGETS, (70, 28, 1.4, 0.6))[0]
        size = max(1, PICTURES * 70 // budget)
        pixels, positions, ids, length, pick, target = batch(self.rng, self.processor, budget, size)
        with architecture.Precision.autocast():
            x, block = embed(self.model, self.fast, pixels, positions, ids, self.processor.soft)
            hidden, balance = self.fast.forward_pictures(x.float(), length, block, pick)
            learned = target >= 0
            logits = self.fast.logits(hidden[learned])
        return F.cross_entropy(logits, target[learned]), balance


def start_tower(model):
    """Fresh weights for the tower and the projector; the text model stays."""
    fresh = architecture.build(files.read_config())
    architecture.initialise(fresh, seed=2)
    keep = {n: p for n, p in fresh.state_dict().items() if "vision" in n}
    model.load_state_dict(keep, strict=False)
    standardise(model, Processor(files.encoder()), Chooser(77))
