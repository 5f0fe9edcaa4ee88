"""The architecture of Lemmy Nano, its initial weights, and a fast training forward.

The model *is* transformers' `Gemma4ForConditionalGeneration`: configuration, parameters, checkpoints and every
evaluation go through it unchanged. `FastText` computes the same text logits from the same parameters in a form that two
CPU cores train several times faster (local attention in chunks, experts as one dense product with zero weights, fusable
elementwise parts); `check_fast_text` proves the two equal before every piece of training.
"""

import contextlib
import json

import torch
import torch.nn.functional as F
from torch import nn
from transformers import Gemma4Config, Gemma4ForConditionalGeneration

WINDOW = 64
VOCABULARY = 2048
CONTEXT = 4096

# Six layers with every feature of the 26B-A4B: five sliding, one global with V from K and proportional RoPE, a shared
# MLP beside 16 experts of which 4 answer. Experts are 32 wide: a multiple of the 32-wide quantisation blocks, but,
# as in the real model, not of the 256-wide ones.
TEXT = dict(
    model_type="gemma4_text",
    vocab_size=VOCABULARY,
    hidden_size=256,
    intermediate_size=256,
    num_hidden_layers=6,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=64,
    global_head_dim=128,
    num_global_key_value_heads=1,
    attention_k_eq_v=True,
    sliding_window=WINDOW,
    layer_types=["sliding_attention"] * 5 + ["full_attention"],
    enable_moe_block=True,
    num_experts=16,
    top_k_experts=4,
    moe_intermediate_size=32,
    hidden_size_per_layer_input=0,
    num_kv_shared_layers=0,
    use_double_wide_mlp=False,
    final_logit_softcapping=30.0,
    rms_norm_eps=1e-6,
    max_position_embeddings=CONTEXT,
    hidden_activation="gelu_pytorch_tanh",
    tie_word_embeddings=True,
    attention_bias=False,
    attention_dropout=0.0,
    initializer_range=0.02,
    use_cache=True,
    pad_token_id=0,
    eos_token_id=1,
    bos_token_id=2,
    use_bidirectional_attention="vision",
    vocab_size_per_layer_input=VOCABULARY,
    rope_parameters={
        "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1e6, "rope_type": "proportional"},
        "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
    },
    dtype="bfloat16",
)
VISION = dict(
    model_type="gemma4_vision",
    hidden_size=128,
    intermediate_size=256,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=4,
    head_dim=32,
    hidden_activation="gelu_pytorch_tanh",
    rms_norm_eps=1e-6,
    patch_size=16,
    pooling_kernel_size=3,
    position_embedding_size=256,
    use_clipped_linears=False,
    standardize=True,
    attention_bias=False,
    attention_dropout=0.0,
    max_position_embeddings=131072,
    rope_parameters={"rope_theta": 100.0, "rope_type": "default"},
    default_output_length=280,
    initializer_range=0.02,
    dtype="bfloat16",
)


def config(special_ids):
    """The whole configuration; `special_ids` maps the text of a control token to its id."""
    top = dict(
        architectures=["Gemma4ForConditionalGeneration"],
        model_type="gemma4",
        dtype="bfloat16",
        audio_config=None,
        boi_token_id=special_ids["<|image>"],
        eoi_token_id=special_ids["<image|>"],
        image_token_id=special_ids["<|image|>"],
        video_token_id=special_ids["<|video|>"],
        audio_token_id=special_ids["<|audio|>"],
        boa_token_id=special_ids["<|audio>"],
        eoa_token_index=special_ids["<audio|>"],
        eos_token_id=[special_ids["<eos>"], special_ids["<turn|>"], special_ids["<|tool_response>"]],
        tie_word_embeddings=True,
        initializer_range=0.02,
        vision_soft_tokens_per_image=280,
    )
    return json.loads(json.dumps({**top, "text_config": TEXT, "vision_config": VISION}))


def build(cfg):
    """An f32 model of `cfg` with attention and experts in their plain ("eager") form."""
    c = Gemma4Config(**cfg)
    c._attn_implementation = "eager"
    model = Gemma4ForConditionalGeneration(c).float().eval()
    model.tie_weights()
    model.config.text_config._experts_implementation = "eager"
    return model


@torch.no_grad()
def initialise(model, seed):
    """Initial weights. Products keep unit variance; the score scale is 1 in this architecture, so the norms of q and
    k start at head_dim^(-1/4) each, which gives the usual 1/sqrt(head_dim)."""
    g = torch.Generator().manual_seed(seed)

    def normal(p, std):
        p.copy_(torch.randn(p.shape, generator=g) * std)

    for name, p in model.named_parameters():
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            p.fill_(p.numel() ** -0.25)
        elif "post_" in name and name.endswith("layernorm.weight"):
            p.fill_(0.5)
        elif "position_embedding_table" in name:
            normal(p, 0.3)
        elif name.endswith("experts.gate_up_proj") or name.endswith("experts.down_proj"):
            normal(p, p.shape[-1] ** -0.5)
        elif p.ndim == 2:
            normal(p, p.shape[-1] ** -0.5)
        else:
            p.fill_(1.0)
    # router.scale is divided by sqrt(hidden) in the forward: this start makes the router's logits spread by about 1
    for layer in model.model.language_model.layers:
        layer.router.scale.fill_(TEXT["hidden_size"] ** 0.5 * 0.5)


class Precision:
    """The type in which the fast forward multiplies: bf16 where the processor has instructions for it."""

    fast = torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32

    @classmethod
    def autocast(cls):
        return torch.autocast("cpu", torch.bfloat16, enabled=cls.fast == torch.bfloat16)

    @classmethod
    @contextlib.contextmanager
    def full(cls):
        """The same code in f32, for comparisons."""
        saved, cls.fast = cls.fast, torch.float32
        try:
            yield
        finally:
            cls.fast = saved


def rms(x, eps=1e-6):
    x = x.float()
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def rope(x, cos, sin):
    """x [B, T, heads, d]; cos, sin [T, d] of the half-split form."""
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return x * cos[:, None] + turned * sin[:, None]


class FastText(nn.Module):
    """The text model on packed rows. `forward(x, masks, pick)` maps embeddings [B, T, H] to the final hidden states
    at the picked places [B, P, H] and the load-balancing loss; T is a multiple of the window."""

    def __init__(self, model, max_row=CONTEXT):
        super().__init__()
        lm = model.model.language_model
        self.embed, self.norm, self.layers = lm.embed_tokens, lm.norm, lm.layers
        pos = torch.arange(max_row)[None]
        for kind in ("sliding_attention", "full_attention"):
            cos, sin = lm.rotary_emb(torch.zeros(1), pos, kind)
            self.register_buffer(f"cos_{kind}", cos[0], persistent=False)
            self.register_buffer(f"sin_{kind}", sin[0], persistent=False)
        self.run_sliding, self.run_last = self.sliding_layer, self.last_layer

    def compile(self):
        self.run_sliding = torch.compile(self.sliding_layer, dynamic=False)
        self.run_last = torch.compile(self.last_layer, dynamic=False)

    def masks(self, doc, pick):
        """Additive masks: [B, chunks, 64, 128] for the chunked sliding layers and [B, 1, P, T] for the global one.

        doc [B, T] is the document's number at each place (0 = padding); pick [B, P] the places whose output is wanted.
        """
        b, t = doc.shape
        own = doc.gather(1, pick)
        full = (own[:, :, None] == doc[:, None, :]) & (pick[:, :, None] >= torch.arange(t))
        n = t // WINDOW
        back = lambda z: torch.cat(
            [F.pad(z, (WINDOW, 0), value=-1)[:, :t].view(b, n, WINDOW), z.view(b, n, WINDOW)], -1
        )
        q = torch.arange(WINDOW)[:, None]
        s = torch.arange(2 * WINDOW)[None] - WINDOW
        causal, near = s <= q, q - s < WINDOW
        local = (doc.view(b, n, WINDOW)[..., None] == back(doc)[:, :, None, :]) & causal & near
        neg, zero = torch.tensor(-1e9), torch.tensor(0.0)
        return torch.where(local, zero, neg), torch.where(full, zero, neg)[:, None].to(Precision.fast)

    def keys_values(self, a, x, cos, sin):
        b, t, _ = x.shape
        k = a.k_proj(x).view(b, t, -1, a.head_dim)
        v = rms(k if a.v_proj is None else a.v_proj(x).view(k.shape))
        return rope(rms(k) * a.k_norm.weight, cos, sin).to(Precision.fast), v.to(Precision.fast)

    def sliding_attention(self, a, x, cos, sin, mask):
        """Chunks of one window, each against itself and the chunk before it."""
        b, t, _ = x.shape
        d, n = a.head_dim, t // WINDOW
        k, v = self.keys_values(a, x, cos, sin)
        kv = k.shape[2]
        q = rope(rms(a.q_proj(x).view(b, t, -1, d)) * a.q_norm.weight, cos, sin).to(Precision.fast)
        g = q.shape[2] // kv
        q = q.view(b, n, WINDOW, kv, g, d).permute(0, 1, 3, 4, 2, 5).reshape(b, n, kv, g * WINDOW, d)
        both = lambda z: torch.cat(
            [F.pad(z, (0, 0, 0, 0, WINDOW, 0))[:, :t].view(b, n, WINDOW, kv, d), z.view(b, n, WINDOW, kv, d)], 2
        ).permute(0, 1, 3, 2, 4)
        k, v = both(k), both(v)
        s = (q @ k.transpose(-1, -2)).float().view(b, n, kv, g, WINDOW, 2 * WINDOW) + mask[:, :, None, None]
        p = s.softmax(-1).to(Precision.fast).view(b, n, kv, g * WINDOW, 2 * WINDOW)
        return a.o_proj((p @ v).view(b, n, kv, g, WINDOW, d).permute(0, 1, 4, 2, 3, 5).reshape(b, t, -1))

    def dense_attention(self, a, x, cos, sin, mask, pick, picked):
        """Queries at the picked places only, against every key that the mask allows."""
        b, t, _ = x.shape
        k, v = self.keys_values(a, x, cos, sin)
        q = rms(a.q_proj(picked).view(b, pick.shape[1], -1, a.head_dim)) * a.q_norm.weight
        half = a.head_dim // 2
        turned = torch.cat((-q[..., half:], q[..., :half]), -1)
        q = (q * cos[pick][:, :, None] + turned * sin[pick][:, :, None]).to(Precision.fast).transpose(1, 2)
        k, v = (z.transpose(1, 2).repeat_interleave(q.shape[1] // z.shape[2], 1) for z in (k, v))
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)
        return a.o_proj(o.transpose(1, 2).reshape(b, pick.shape[1], -1))

    def experts(self, layer, h):
        """All 16 experts as one product; those not chosen get weight 0. Equal to the sparse form."""
        r, e = layer.router, layer.experts
        with torch.autocast("cpu", enabled=False):
            scores = F.linear(rms(h) * r.scale * r.scalar_root_size, r.proj.weight)
            prob = scores.softmax(-1)
            top, index = prob.topk(r.config.top_k_experts, -1)
            chosen = torch.zeros_like(prob).scatter(-1, index, 1.0)
            w = prob * chosen
            w = w / w.sum(-1, keepdim=True) * r.per_expert_scale
            # load-balancing loss of Switch Transformers: experts * sum(share of tokens * mean probability)
            n = prob.shape[-1]
            share = chosen.reshape(-1, n).mean(0) / r.config.top_k_experts
            balance = n * (share * prob.reshape(-1, n).mean(0)).sum()
        z = rms(h) * layer.pre_feedforward_layernorm_2.weight
        width = e.intermediate_dim
        gu = F.linear(z, e.gate_up_proj.view(-1, z.shape[-1])).view(*z.shape[:-1], n, 2 * width)
        act = F.gelu(gu[..., :width], approximate="tanh") * gu[..., width:] * w[..., None].to(gu.dtype)
        down = e.down_proj.permute(1, 0, 2).reshape(z.shape[-1], -1)
        return F.linear(act.reshape(*z.shape[:-1], -1), down), balance

    def sliding_layer(self, layer, x, cos, sin, mask):
        a = self.sliding_attention(layer.self_attn, rms(x) * layer.input_layernorm.weight, cos, sin, mask)
        return self.rest(layer, x, a)

    def last_layer(self, layer, x, cos, sin, mask, pick):
        wide = pick[..., None].expand(-1, -1, x.shape[-1])
        z = rms(x) * layer.input_layernorm.weight
        a = self.dense_attention(layer.self_attn, z, cos, sin, mask, pick, z.gather(1, wide))
        y, balance = self.rest(layer, x.gather(1, wide), a)
        return rms(y) * self.norm.weight, balance

    def rest(self, layer, x, a):
        """The layer after its attention's output a."""
        h = x + rms(a) * layer.post_attention_layernorm.weight
        m = layer.mlp
        z = rms(h) * layer.pre_feedforward_layernorm.weight
        d = m.down_proj(F.gelu(m.gate_proj(z), approximate="tanh") * m.up_proj(z))
        e, balance = self.experts(layer, h)
        y = rms(d) * layer.post_feedforward_layernorm_1.weight + rms(e) * layer.post_feedforward_layernorm_2.weight
        return (h + rms(y) * layer.post_feedforward_layernorm.weight) * layer.layer_scalar, balance

    def forward(self, x, masks, pick):
        t, balance = x.shape[1], 0.0
        for layer in self.layers[:-1]:
            x, bal = self.run_sliding(
                layer, x, self.cos_sliding_attention[:t], self.sin_sliding_attention[:t], masks[0]
            )
            balance = balance + bal
        x, bal = self.run_last(
            self.layers[-1], x, self.cos_full_attention[:t], self.sin_full_attention[:t], masks[1], pick
        )
        return x, (balance + bal) / len(self.layers)

    def forward_pictures(self, x, length, block, pick):
        """The same for one document a row, of `length` [B] tokens, with pictures: block [B, T] is the picture's
        number at its soft tokens, else 0. Soft tokens of one picture see each other on the sliding layers, later ones
        too."""
        b, t, _ = x.shape
        p = torch.arange(t)
        behind, near = p[None] <= p[:, None], p[:, None] - p[None] < WINDOW
        same = (block[:, :, None] == block[:, None, :]) & (block[:, :, None] > 0)
        inside = (p < length[:, None])[:, None, :] | torch.eye(t, dtype=torch.bool)
        neg, zero = torch.tensor(-1e9), torch.tensor(0.0)
        local = torch.where((behind | same) & near & inside, zero, neg)[:, None].to(Precision.fast)
        full = torch.where(behind & inside, zero, neg).gather(1, pick[..., None].expand(-1, -1, t))[:, None].to(Precision.fast)
        every, balance = p.expand(b, t), 0.0
        for layer in self.layers[:-1]:
            z = rms(x) * layer.input_layernorm.weight
            a = self.dense_attention(
                layer.self_attn, z, self.cos_sliding_attention[:t], self.sin_sliding_attention[:t], local, every, z
            )
            x, bal = self.rest(layer, x, a)
            balance = balance + bal
        x, bal = self.last_layer(
            self.layers[-1], x, self.cos_full_attention[:t], self.sin_full_attention[:t], full, pick
        )
        return x, (balance + bal) / len(self.layers)

    def logits(self, hidden):
        t = F.linear(hidden, self.embed.weight).float()
        return 30.0 * torch.tanh(t / 30.0)


@torch.no_grad()
def check_fast_text(model, fast, tolerance=2e-3):
    """The fast forward in f32 equals transformers' on two documents packed into one row."""
    g = torch.Generator().manual_seed(1)
    docs = [torch.randint(30, VOCABULARY, (n,), generator=g) for n in (150, 106)]
    want = torch.cat([model(input_ids=d[None]).logits[0] for d in docs])
    ids = torch.cat(docs)[None]
    doc = torch.cat([torch.full((len(d),), i + 1) for i, d in enumerate(docs)])[None]
    with Precision.full():
        pick = torch.arange(3, 256, 2)[None]
        hidden, _ = fast(fast.embed(ids), fast.masks(doc, pick), pick)
    worst = (fast.logits(hidden)[0] - want[pick[0]]).abs().max().item()
    assert worst < tolerance, f"the fast forward differs from transformers by {worst}"
    return worst
