"""Pictures of one or two figures, and the training of the vision tower."""

import math

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

from . import files, pictures, render
from . import model as architecture
from .sample import Chooser, assistant, held_out, user
from .words import COLOURS, SHAPES

BUDGETS = (70, 140, 280, 560, 1120)
SHARES = (62, 24, 6, 5, 3)  # of the steps that train at each budget
KINDS, KIND_SHARES = ("one", "later", "two"), (5, 2, 3)
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


def drawn(rng):
    """(image, figures) on the wanted side of the split."""
    while True:
        image, figures, key = picture(rng)
        if held_out(key) == rng.test:
            return image, figures


def sample(rng, kind):
    """(images, messages, answer). Kinds: "one" picture and a question, "later" with a question before it, "two"
    pictures of which one is asked for."""
    image, figures = drawn(rng)
    images = [image]
    if kind == "two":
        other, more = drawn(rng)
        images.append(other)
        which = rng.randrange(2)
        question, answer = rng.choice(pictures.ONE_OF_TWO[which]), pictures.described((figures, more)[which])
    else:
        question, answer = pictures.question(rng, figures)
    shown = [{"type": "image"} for _ in images]
    text = [{"type": "text", "text": question}]
    if kind == "later":
        before, said = pictures.question(rng, figures)
        first = user(shown + [{"type": "text", "text": before}])
        return images, [first, assistant(said), user(question)], answer
    return images, [user(text + shown if rng.random() < 0.2 else shown + text)], answer


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

    def ids(self, messages, soft):
        """The rendered prompt with soft[i] soft tokens in the place of picture i."""
        out, left = [], iter(soft)
        for t in self.encoder.tok.encode(render.chat(messages)).ids:
            out += [self.begin] + [self.soft] * next(left) + [self.end] if t == self.soft else [t]
        return out

    def case(self, sampled, budget):
        """(patches [N, 9 budget, 768], positions, prompt's ids, answer's ids) of a sample."""
        images, messages, answer = sampled
        pixels, positions, soft = zip(*(self.patches(i, budget) for i in images))
        answer = self.encoder.tok.encode(answer + "<turn|>").ids
        return torch.cat(pixels), torch.cat(positions), self.ids(messages, soft), answer


def batch(rng, processor, budget, size, kind):
    """Everything of one step with B = size documents of one kind and N pictures: patches [N, 9 budget, 768], positions, ids [B, T],
    length [B], pick and target [B, P]."""
    items = [processor.case(sample(rng, kind), budget) for _ in range(size)]
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
    first = where & ~F.pad(where, (1, 0))[:, :-1]
    return x.masked_scatter(where[..., None], features.to(x.dtype)), first.cumsum(1) * where


@torch.no_grad()
def standardise(model, processor, rng):
    """Sets the tower's fixed bias and scale from a first look at pictures."""
    tower = model.model.vision_tower
    tower.std_bias.zero_()
    tower.std_scale.fill_(1.0)
    rows = []
    for _ in range(48):
        pixels, positions, _ = processor.patches(drawn(rng)[0], 70)
        rows.append(tower(pixel_values=pixels, pixel_position_ids=positions).last_hidden_state)
    z = torch.cat(rows)
    tower.std_bias.copy_(z.mean(0))
    tower.std_scale.copy_(1 / (z.std(0) + 1e-3))


@torch.no_grad()
def exact(model, processor, rng, budget, count, kind):
    """Share of held-out pictures whose greedy answer is exact, through transformers' own forward."""
    model.eval()
    right = 0
    for _ in range(count):
        pixels, positions, p, a = processor.case(sample(rng, kind), budget)
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
    """The fast forward with pictures equals transformers' in f32, for every kind; a picture is wider than the
    window."""
    return max(check_kind(model, fast, processor, kind, tolerance) for kind in KINDS)


def check_kind(model, fast, processor, kind, tolerance):
    pixels, positions, ids, length, pick, target = batch(Chooser(3), processor, 70, 2, kind)
    with architecture.Precision.full():
        x, block = embed(model, fast, pixels, positions, ids, processor.soft)
        got = fast.logits(fast.forward_pictures(x, length, block, pick)[0])
    worst, used = 0.0, 0
    for i in range(len(ids)):
        row = ids[i : i + 1, : length[i]]
        own = slice(used, used + int((row == processor.begin).sum()))
        used = own.stop
        want = model(
            input_ids=row,
            pixel_values=pixels[own],
            image_position_ids=positions[own],
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
        # the same in all processes: a step takes as long in each of them
        self.common = Chooser(seed // 10)
        model.model.vision_tower.config._attn_implementation = "sdpa"

    def loss(self):
        budget = self.common.choices(BUDGETS, SHARES)[0]
        kind = self.common.choices(KINDS, KIND_SHARES)[0]
        size = max(1, PICTURES * 70 // budget // (2 if kind == "two" else 1))
        pixels, positions, ids, length, pick, target = batch(self.rng, self.processor, budget, size, kind)
        with architecture.Precision.autocast():
            x, block = embed(self.model, self.fast, pixels, positions, ids, self.processor.soft)
            hidden, balance = self.fast.forward_pictures(x.float(), length, block, pick)
            learned = target >= 0
            logits = self.fast.logits(hidden[learned])
        return F.cross_entropy(logits, target[learned]), balance


def smooth_positions(table):
    """Waves of 8 to 1024 patches: places that only the rare large budgets reach begin close to what is learned at the
    small ones."""
    places, width = table.shape[-2:]
    pace = 2 * math.pi / torch.logspace(3, 10, width // 2, base=2.0)
    angle = torch.arange(places)[:, None] * pace
    return 0.3 * torch.cat((angle.sin(), angle.cos()), -1).expand_as(table)


def start_tower(model):
    """Fresh weights for the tower and the projector; the text model stays."""
    fresh = architecture.build(files.read_config())
    architecture.initialise(fresh, seed=2)
    keep = {n: p for n, p in fresh.state_dict().items() if "vision" in n}
    for name, table in keep.items():
        if "position_embedding_table" in name:
            table.copy_(smooth_positions(table))
    model.load_state_dict(keep, strict=False)
    standardise(model, Processor(files.encoder()), Chooser(77))
