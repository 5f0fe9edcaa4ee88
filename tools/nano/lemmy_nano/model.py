"""The architecture of Lemmy Nano, its initial weights, and a fast training forward.

The model *is* transformers' `Gemma4ForConditionalGeneration`: configuration, parameters, checkpoints and every
evaluation go through it unchanged. `FastText` computes the same text logits from the same parameters in a form that two
CPU cores train several times faster (local attention in chunks, experts as one dense product with zero weights, fusable
elementwise parts); `check_fast_text` proves the two equal before every piece of training.
"""

import json

import torch
import torch.nn.functional as F
from torch import nn
from transformers import Gemma4Config, Gemma4ForConditionalGeneration

WINDOW = 64
VOCABULARY = 2048
CONTEXT = 4096

# Six layers with every feature of the 26B-A4B: five sliding, one global with V from K and proportional RoPE, a shared
# MLP beside 16 experts of which 4 answer. Experts are 32 wide: a multiple of the 32-wide quantisation blocks, but, as in the
# real model, not of the 256-wide ones.
TEXT = dict(
    model_type="gemma4_text", vocab_size=VOCABULARY, hidden_size=256, intermediate_size=256, num_hidden_layers=6,
    num_attention_heads=4, num_key_value_heads=2, head_dim=64, global_head_dim=128, num_global_key_value_heads=1,
    attention_k_eq_v=True, sliding_window=WINDOW, layer_types=["sliding_attention"] * 5 + ["full_attention"],
    enable_moe_block=True, num_experts=16, top_k_experts=4, moe_intermediate_size=32, hidden_size_per_layer_input=0,
    num_kv_shared_layers=0, use_double_wide_mlp=False, final_logit_softcapping=30.0, rms_norm_eps=1e-6,
    max_position_embeddings=CONTEXT, hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True,
    attention_bias=False, attention_dropout=0.0, initializer_range=0.02, use_cache=True, pad_token_id=0,
    eos_token_id=1, bos_token_id=2, use_bidirectional_attention="vision", vocab_size_per_layer_input=VOCABULARY,
    rope_parameters={
        "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1e6, "rope_type": "proportional"},
        "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
    },
    dtype="bfloat16",
)
VISION = dict(
    model_type="gemma4_vision", hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=4, head_dim=32, hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6, patch_size=16,
    pooling_kernel_size=3, position_embedding_size=256, use_clipped_linears=False, standardize=True,
    attention_bias=False, attention_dropout=0.0, max_position_embeddings=131072,
    rope_parameters={"rope_theta": 100.0, "rope_type": "default"}, default_output_length=280, initializer_range=0.02,
    dtype="bfloat16",
)


def config(special_ids):
    """The whole configuration; `special_ids` maps the text of a control token to its id."""
    top = dict(
        architectures=["Gemma4ForConditionalGeneration"], model_type="gemma4", dtype="bfloat16", audio_config=None,
        boi_token_id=special_ids["<|image>"], eoi_token_id=special_ids["<image|>"],
        image_token_id=special_ids["<|image|>"], video_token_id=special_ids["<|video|>"],
        audio_token_id=special_ids["<|audio|>"], boa_token_id=special_ids["<|audio>"],
        eoa_token_index=special_ids["<audio|>"],
        eos_token_id=[special_ids["<eos>"], special_ids["<turn|>"], special_ids["<|tool_response>"]],
        tie_word_embeddings=True, initializer_range=0.02, vision_soft_tokens_per_image=280,
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
    """Initial weights. Products keep unit variance; the score scale is 1 in this architecture, so the norms of q and k start
    at head_dim^(-1/4) each, which gives the usual 1/sqrt(head_dim)."""
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


def rms(x, eps=1e-6):
    x = x.float()
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def rope(x, cos, sin):
    """x [B, T, heads, d]; cos, sin [T, d] of the half-split form."""
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return x * cos[:, None] + turned * sin[:, None]


class FastText(nn.Module):
    """The text model on packed rows. `forward(x, masks)` maps embeddings [B, T, H] to final hidden states and the
    load-balancing loss; T is a multiple of the window."""

    def __init__(self, model, max_row=2048):
        super().__init__()
        lm = model.model.language_model
        self.embed, self.norm, self.layers = lm.embed_tokens, lm.norm, lm.layers
        pos = torch.arange(max_row)[None]
        for kind in ("sliding_attention", "full_attention"):
            cos, sin = lm.rotary_emb(torch.zeros(1), pos, kind)
            self.register_buffer(f"cos_{kind}", cos[0], persistent=False)
            self.register_buffer(f"sin_{kind}", sin[0], persistent=False)
        self.run_sliding = self.layer
        self.run_global = self.layer

    def compile(self):
        self.run_sliding = torch.compile(self.layer, dynamic=False)
        self.run_global = torch.compile(self.layer, dynamic=False)

    def masks(self, doc, block=None):
        """doc [B, T]: the document's number at each place (0 = padding). block [B, T]: the picture's number at a soft token,
        else 0. Returns additive masks for the chunked sliding layers [B, chunks, 64, 128] and the global one [B, 1, T, T]."""
        b, t = doc.shape
        pos = torch.arange(t)
        full = (doc[:, :, None] == doc[:, None, :]) & (pos[None, :, None] >= pos[None, None, :])
        n = t // WINDOW
        back = lambda z: torch.cat([F.pad(z, (WINDOW, 0), value=-1)[:, :t].view(b, n, WINDOW), z.view(b, n, WINDOW)], -1)
        q = torch.arange(WINDOW)[:, None]
        s = torch.arange(2 * WINDOW)[None] - WINDOW
        causal, near = s <= q, q - s < WINDOW
        if block is not None:
            bk = back(block)[:, :, None, :]
            bq = block.view(b, n, WINDOW)[..., None]
            causal = causal | ((bq == bk) & (bq > 0))
        local = (doc.view(b, n, WINDOW)[..., None] == back(doc)[:, :, None, :]) & causal & near
        neg = torch.tensor(-1e9)
        zero = torch.tensor(0.0)
        return torch.where(local, zero, neg), torch.where(full, zero, neg)[:, None].bfloat16()

    def attention(self, a, x, cos, sin, mask, sliding):
        b, t, _ = x.shape
        d = a.head_dim
        q = rms(a.q_proj(x).view(b, t, -1, d)) * a.q_norm.weight
        k_raw = a.k_proj(x).view(b, t, -1, d)
        v = rms(a.v_proj(x).view(b, t, -1, d) if sliding else k_raw)
        k = rms(k_raw) * a.k_norm.weight
        q, k, v = rope(q, cos, sin).bfloat16(), rope(k, cos, sin).bfloat16(), v.bfloat16()
        kv = k.shape[2]
        g = q.shape[2] // kv
        if sliding:
            n = t // WINDOW
            # [B, n, kv, g*64, d] against the own chunk and the one before it
            q = q.view(b, n, WINDOW, kv, g, d).permute(0, 1, 3, 4, 2, 5).reshape(b, n, kv, g * WINDOW, d)
            both = lambda z: torch.cat([F.pad(z, (0, 0, 0, 0, WINDOW, 0))[:, :t].view(b, n, WINDOW, kv, d),
                                        z.view(b, n, WINDOW, kv, d)], 2).permute(0, 1, 3, 2, 4)
            k, v = both(k), both(v)
            s = (q @ k.transpose(-1, -2)).float().view(b, n, kv, g, WINDOW, 2 * WINDOW) + mask[:, :, None, None]
            p = s.softmax(-1).bfloat16().view(b, n, kv, g * WINDOW, 2 * WINDOW)
            o = (p @ v).view(b, n, kv, g, WINDOW, d).permute(0, 1, 4, 2, 3, 5).reshape(b, t, -1)
        else:
            q = q.transpose(1, 2)
            k, v = (z.transpose(1, 2).expand(b, q.shape[1], t, d) for z in (k, v))
            o = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0).transpose(1, 2).reshape(b, t, -1)
        return a.o_proj(o)

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

    def layer(self, layer, x, cos, sin, mask, sliding):
        a = self.attention(layer.self_attn, rms(x) * layer.input_layernorm.weight, cos, sin, mask, sliding)
        h = x + rms(a) * layer.post_attention_layernorm.weight
        m = layer.mlp
        z = rms(h) * layer.pre_feedforward_layernorm.weight
        d = m.down_proj(F.gelu(m.gate_proj(z), approximate="tanh") * m.up_proj(z))
        e, balance = self.experts(layer, h)
        y = rms(d) * layer.post_feedforward_layernorm_1.weight + rms(e) * layer.post_feedforward_layernorm_2.weight
        return (h + rms(y) * layer.post_feedforward_layernorm.weight) * layer.layer_scalar, balance

    def forward(self, x, masks):
        balance = 0.0
        t = x.shape[1]
        for layer in self.layers:
            kind = layer.self_attn.layer_type
            sliding = kind == "sliding_attention"
            cos, sin = getattr(self, f"cos_{kind}")[:t], getattr(self, f"sin_{kind}")[:t]
            run = self.run_sliding if sliding else self.run_global
            x, bal = run(layer, x, cos, sin, masks[0 if sliding else 1], sliding)
            balance = balance + bal
        return rms(x) * self.norm.weight, balance / len(self.layers)

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
    saved = torch.Tensor.bfloat16
    try:
        torch.Tensor.bfloat16 = torch.Tensor.float  # the same code, in full precision
        hidden, _ = fast(fast.embed(ids), fast.masks(doc))
    finally:
        torch.Tensor.bfloat16 = saved
    worst = (fast.logits(hidden)[0] - want).abs().max().item()
    assert worst < tolerance, f"the fast forward differs from transformers by {worst}"
    return worst
