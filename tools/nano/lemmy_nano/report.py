"""The score table of a set of weights, printed."""

import gguf
import numpy as np
import torch

from . import export, files
from .evaluate import divergence, generated, score, table, through_lemmy


def from_gguf(path, model):
    """Loads a text GGUF's numbers, dequantised, into the model."""
    reader = gguf.GGUFReader(path)
    tensors = {t.name: t for t in reader.tensors}
    state = model.state_dict()
    prefix = "model.language_model."
    for name in [n for n in state if n.startswith(prefix)]:
        short = name.removeprefix(prefix)
        if short in ("embed_tokens.weight", "norm.weight"):
            t = tensors[{"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}[short]]
        else:
            _, i, rest = short.split(".", 2)
            t = tensors[f"blk.{i}.{export.TEXT[rest]}"]
        numbers = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        state[name].copy_(torch.from_numpy(numbers.reshape(state[name].shape).copy()))
    return model


def show(rows):
    groups, perplexity = table(rows)
    for g, (n, share) in groups.items():
        print(f"| {g} | {n} | {share:.1%} |")
    print(f"all {sum(r['right'] for r in rows)} of {len(rows)}, perplexity {perplexity:.4f}", flush=True)


def evaluate(each, gguf_file=None, binary=None, generate=False, pictures=False):
    torch.set_num_threads(2)
    encoder, cases = files.encoder(), files.test_cases(each)
    model = files.load()
    if pictures:
        return show_pictures(model, encoder, each)
    if generate:
        from .render import target

        right = sum(generated(model, encoder, c) == target(c) for c in cases)
        print(f"generated: {right} of {len(cases)} exact")
        return None
    reference = score(model, encoder, cases, keep_logits=bool(gguf_file))
    show(reference)
    if gguf_file:
        other = (
            through_lemmy(binary, gguf_file, encoder, cases, keep_logits=True)
            if binary
            else score(from_gguf(gguf_file, model), encoder, cases, True)
        )
        show(other)
        worst = max((a["logits"] - b["logits"]).abs().max().item() for a, b in zip(reference, other))
        print(
            f"KL from the original {divergence(reference, other):.6f} nats a token; logits differ by up to {worst:.2g}"
        )
    return None


def show_pictures(model, encoder, each):
    from . import vision
    from .sample import Chooser

    processor = vision.Processor(encoder)
    for budget in vision.BUDGETS:
        n = each if budget <= 140 else max(10, each // 5)
        for kind in vision.KINDS:
            share = vision.exact(model, processor, Chooser(11, test=True), budget, n, kind)
            print(f"| pictures at {budget}, {kind} | {n} | {share:.1%} |", flush=True)
