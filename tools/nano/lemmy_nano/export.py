"""Writes GGUF files from the safetensors original: the text model, and the vision tower with its projector (mmproj)."""

import json

import gguf
import numpy as np
from safetensors.torch import load_file

from . import files, render, tokenizer

Q = gguf.GGMLQuantizationType
DESCRIPTION = (
    "A demonstration model of the Gemma 4 mixture-of-experts architecture with six million parameters, trained from "
    "scratch on a small made-up world. Not a Gemma model and not derived from one."
)
TEXT = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "post_attention_layernorm.weight": "post_attention_norm.weight",
    "pre_feedforward_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
    "post_feedforward_layernorm_1.weight": "post_ffw_norm_1.weight",
    "router.proj.weight": "ffn_gate_inp.weight",
    "router.scale": "ffn_gate_inp.scale",
    "router.per_expert_scale": "ffn_down_exps.scale",
    "pre_feedforward_layernorm_2.weight": "pre_ffw_norm_2.weight",
    "experts.gate_up_proj": "ffn_gate_up_exps.weight",
    "experts.down_proj": "ffn_down_exps.weight",
    "post_feedforward_layernorm_2.weight": "post_ffw_norm_2.weight",
    "post_feedforward_layernorm.weight": "post_ffw_norm.weight",
    "layer_scalar": "layer_output_scale.weight",
}
VISION = {
    "input_layernorm.weight": "ln1.weight",
    "pre_feedforward_layernorm.weight": "ln2.weight",
    "post_attention_layernorm.weight": "attn_post_norm.weight",
    "post_feedforward_layernorm.weight": "ffn_post_norm.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "self_attn.q_proj.linear.weight": "attn_q.weight",
    "self_attn.k_proj.linear.weight": "attn_k.weight",
    "self_attn.v_proj.linear.weight": "attn_v.weight",
    "self_attn.o_proj.linear.weight": "attn_out.weight",
    "mlp.gate_proj.linear.weight": "ffn_gate.weight",
    "mlp.up_proj.linear.weight": "ffn_up.weight",
    "mlp.down_proj.linear.weight": "ffn_down.weight",
}
FILE_TYPE = {
    Q.F32: gguf.LlamaFileType.ALL_F32,
    Q.BF16: gguf.LlamaFileType.MOSTLY_BF16,
    Q.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
}


def general(g, name, kind, quant):
    g.add_type(kind)
    g.add_name(name)
    g.add_description(DESCRIPTION)
    g.add_license("EUPL-1.2")
    g.add_size_label("6M")
    g.add_file_type(FILE_TYPE[quant])
    g.add_quantization_version(2)


def tensor(g, name, a, quant):
    a = np.ascontiguousarray(a)
    if quant == Q.F32:
        g.add_tensor(name, a)
    else:
        g.add_tensor(name, gguf.quants.quantize(a, quant), raw_dtype=quant)


def finish(g):
    g.write_header_to_file()
    g.write_kv_data_to_file()
    g.write_tensors_to_file()
    g.close()


def write_text(path, weights, cfg, tok, quant):
    t = cfg["text_config"]
    sliding = [k == "sliding_attention" for k in t["layer_types"]]
    g = gguf.GGUFWriter(path, "gemma4")
    general(g, "Lemmy Nano", "model", quant)
    rope = t["rope_parameters"]
    numbers = {
        "block_count": t["num_hidden_layers"],
        "context_length": t["max_position_embeddings"],
        "embedding_length": t["hidden_size"],
        "feed_forward_length": t["intermediate_size"],
        "attention.head_count": t["num_attention_heads"],
        "attention.key_length": t["global_head_dim"],
        "attention.value_length": t["global_head_dim"],
        "attention.key_length_swa": t["head_dim"],
        "attention.value_length_swa": t["head_dim"],
        "attention.sliding_window": t["sliding_window"],
        "attention.shared_kv_layers": 0,
        "embedding_length_per_layer_input": 0,
        "expert_count": t["num_experts"],
        "expert_used_count": t["top_k_experts"],
        "expert_feed_forward_length": t["moe_intermediate_size"],
        "rope.dimension_count": t["global_head_dim"],
        "rope.dimension_count_swa": t["head_dim"],
    }
    for k, v in numbers.items():
        g.add_uint32("gemma4." + k, v)
    for k, v in (
        ("attention.layer_norm_rms_epsilon", t["rms_norm_eps"]),
        ("final_logit_softcapping", t["final_logit_softcapping"]),
        ("rope.freq_base", rope["full_attention"]["rope_theta"]),
        ("rope.freq_base_swa", rope["sliding_attention"]["rope_theta"]),
    ):
        g.add_float32("gemma4." + k, v)
    g.add_array(
        "gemma4.attention.head_count_kv",
        [t["num_key_value_heads"] if s else t["num_global_key_value_heads"] for s in sliding],
    )
    g.add_array("gemma4.attention.sliding_window_pattern", sliding)

    model = tok["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].get)
    kind = gguf.TokenType

    def token_type(p):
        if p in tokenizer.USER_DEFINED:
            return kind.USER_DEFINED
        if p in tokenizer.CONTROL:
            return kind.CONTROL
        if p in tokenizer.BYTES:
            return kind.BYTE
        return kind.UNUSED if p.startswith("<unused") else kind.NORMAL

    g.add_string("tokenizer.ggml.model", "gemma4")
    g.add_array("tokenizer.ggml.tokens", pieces)
    g.add_array("tokenizer.ggml.scores", [-1000.0] * len(pieces))
    g.add_array("tokenizer.ggml.token_type", [int(token_type(p)) for p in pieces])
    g.add_array("tokenizer.ggml.merges", [" ".join(m) for m in model["merges"]])
    for name, piece in (
        ("bos", "<bos>"),
        ("eos", "<eos>"),
        ("unknown", "<unk>"),
        ("padding", "<pad>"),
        ("mask", "<mask>"),
    ):
        g.add_uint32(f"tokenizer.ggml.{name}_token_id", model["vocab"][piece])
    g.add_bool("tokenizer.ggml.add_bos_token", True)
    g.add_bool("tokenizer.ggml.add_space_prefix", False)
    g.add_string("tokenizer.chat_template", render.TEMPLATE.read_text(encoding="utf-8"))

    # proportional RoPE: the first quarter of the pairs turn, the others are divided down to no angle
    half = t["global_head_dim"] // 2
    turning = int(t["global_head_dim"] * rope["full_attention"]["partial_rotary_factor"] / 2)
    tensor(g, "rope_freqs.weight", np.array([1.0] * turning + [1e30] * (half - turning), np.float32), Q.F32)
    prefix = "model.language_model."
    for n, a in weights.items():
        if n.startswith(prefix):
            n = n.removeprefix(prefix)
            if n == "embed_tokens.weight":
                name = "token_embd.weight"
            elif n == "norm.weight":
                name = "output_norm.weight"
            else:
                _, i, rest = n.split(".", 2)
                name = f"blk.{i}.{TEXT[rest]}"
            tensor(g, name, a, Q.F32 if a.ndim == 1 or name.endswith("ffn_gate_inp.weight") else quant)
    finish(g)


def write_vision(path, weights, cfg, quant):
    t, v = cfg["text_config"], cfg["vision_config"]
    g = gguf.GGUFWriter(path, "clip")
    general(g, "Lemmy Nano vision", "mmproj", quant)
    g.add_bool("clip.has_vision_encoder", True)
    c = "clip.vision."
    numbers = {
        "projection_dim": t["hidden_size"],
        "image_size": 224,
        "patch_size": v["patch_size"],
        "embedding_length": v["hidden_size"],
        "feed_forward_length": v["intermediate_size"],
        "block_count": v["num_hidden_layers"],
        "attention.head_count": v["num_attention_heads"],
    }
    for k, x in numbers.items():
        g.add_uint32(c + k, x)
    g.add_array(c + "image_mean", [0.0] * 3)
    g.add_array(c + "image_std", [1.0] * 3)
    g.add_string(c + "projector_type", "gemma4v")
    g.add_float32(c + "attention.layer_norm_epsilon", v["rms_norm_eps"])
    g.add_bool("clip.use_gelu", True)
    for n, a in weights.items():
        if n == "model.embed_vision.embedding_projection.weight":
            tensor(g, "mm.input_projection.weight", a, quant)
        elif n.startswith("model.vision_tower."):
            n = n.removeprefix("model.vision_tower.")
            if n.startswith("encoder.layers."):
                _, _, i, rest = n.split(".", 3)
                tensor(g, f"v.blk.{i}.{VISION[rest]}", a, quant if a.ndim == 2 else Q.F32)
            elif n == "patch_embedder.input_proj.weight":  # columns (y, x, colour) become (colour, y, x)
                p = v["patch_size"]
                tensor(g, "v.patch_embd.weight", a.reshape(-1, p, p, 3).transpose(0, 3, 1, 2), Q.F32)
            elif n == "patch_embedder.position_embedding_table":
                tensor(g, "v.position_embd.weight", a, Q.F32)
            else:
                tensor(g, "v." + n, a, Q.F32)
    finish(g)


def export(folder=files.ORIGINAL, out=files.MODELS, quants=("q8_0",)):
    """GGUF files of the named types ("f32", "bf16", "q8_0") in `out`."""
    weights = {k: v.float().numpy() for k, v in load_file(folder / "model.safetensors").items()}
    cfg = files.read_config(folder)
    tok = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    for name in quants:
        quant = Q[name.upper()]
        write_text(out / f"lemmy-nano-{name}.gguf", weights, cfg, tok, quant)
        write_vision(out / f"mmproj-lemmy-nano-{name}.gguf", weights, cfg, quant)
