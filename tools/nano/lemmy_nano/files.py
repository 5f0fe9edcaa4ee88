"""The model's folder: one Hugging Face checkpoint that is also the training checkpoint."""

import itertools
import json
import random
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from . import model as architecture
from . import pictures, render, tokenizer, world

NANO = Path(__file__).resolve().parents[1]
REPOSITORY = NANO.parents[1]
MODELS = REPOSITORY / "models"
ORIGINAL = MODELS / "lemmy-nano"  # bf16 safetensors, tokenizer, template
LIMIT = 12 * 2**20

PROCESSOR = dict(
    processor_class="Gemma4Processor",
    image_seq_length=280,
    audio_seq_length=750,
    audio_ms_per_token=40,
    image_processor=dict(
        do_convert_rgb=True,
        do_normalize=False,
        do_rescale=True,
        do_resize=True,
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        image_processor_type="Gemma4ImageProcessor",
        image_seq_length=280,
        max_soft_tokens=280,
        patch_size=16,
        pooling_kernel_size=3,
        resample=3,
        rescale_factor=1 / 255,
    ),
)


def write_tokenizer(folder=ORIGINAL):
    """Trains the vocabulary on the world's own text and writes every file but the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = [render.prompt(s) + render.target(s) for s in itertools.islice(world.training(1), 30000)]
    texts += [t for _ in range(8) for t in pictures.all_texts(random.Random(1))]
    pieces, merges = tokenizer.train_merges(texts, architecture.VOCABULARY)
    tokenizer.save(folder / "tokenizer.json", pieces, merges)
    names = dict(
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        boi_token="<|image>",
        eoi_token="<image|>",
        image_token="<|image|>",
        audio_token="<|audio|>",
        boa_token="<|audio>",
        eoa_token="<audio|>",
        video_token="<|video|>",
    )
    ids = {c: i for i, c in enumerate(pieces) if c in tokenizer.CONTROL}
    cfg = architecture.config(ids)
    generation = dict(
        bos_token_id=ids["<bos>"], pad_token_id=ids["<pad>"], eos_token_id=cfg["eos_token_id"], do_sample=False
    )
    for name, body in (
        ("tokenizer_config.json", names),
        ("config.json", cfg),
        ("generation_config.json", generation),
        ("processor_config.json", PROCESSOR),
    ):
        (folder / name).write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text(render.TEMPLATE.read_text(encoding="utf-8"), encoding="utf-8")


def read_config(folder=ORIGINAL):
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def load(folder=ORIGINAL):
    """The model in f32 from the folder's bf16 weights."""
    m = architecture.build(read_config(folder))
    weights = {k: v.float() for k, v in load_file(folder / "model.safetensors").items()}
    missing, unexpected = m.load_state_dict(weights, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    m.tie_weights()
    return m


def save(model, folder=ORIGINAL, metadata=None):
    """Writes the weights alone, in bf16."""
    weights = {
        k: v.detach().to(torch.bfloat16).contiguous() for k, v in model.state_dict().items() if k != "lm_head.weight"
    }
    path = folder / "model.safetensors"
    part = folder / "model.safetensors.part"
    save_file(weights, part, metadata={"format": "pt", **(metadata or {})})
    part.chmod(0o644)
    part.replace(path)
    assert path.stat().st_size <= LIMIT, f"{path} has {path.stat().st_size} bytes, more than {LIMIT}"


def test_cases(each=100, seed=7):
    """The held-out cases, always the same ones."""
    return list(world.tests(seed, each))


def encoder(folder=ORIGINAL):
    return render.Encoder(tokenizer.load(folder / "tokenizer.json"))
