#!/usr/bin/env python3
"""Write a GGUF with the shape of Gemma 4 26B-A4B and random but valid weights.

Speed does not depend on what the weights say, so it can be measured without the real ones:
true shapes, true tensor names, the tensor types that llama-quantize would choose for the requested
mixture, finite scales of ordinary size. The text such a model writes is noise; its cost is real.

    python full_size.py out.gguf                        # 30 layers, q4_k_m, about 16.8 GB
    python full_size.py cut.gguf --layers 6             # a cut for quick work, about 3.8 GB
    python full_size.py q8.gguf --layers 12 --type q8_0

Needs numpy and gguf. Blocks come from one random pool per tensor type, so the file is written at
disk speed with a few hundred MB of memory. The same arguments give the same bytes.

--tokenizer FILE copies every tokenizer.* key of another GGUF (plain or .xz, for instance
tests/fixtures/tokenizer/ggml-vocab-gemma-4.gguf.xz); without it a stub vocabulary of the right length is
written, enough for a loader and for benchmarks on token ids.
"""

import argparse
import json
import lzma
import os
import shutil
import sys
import tempfile
import time

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

HIDDEN = 2816
DENSE_FFN = 2112
EXPERT_FFN = 704
EXPERTS = 128
EXPERTS_USED = 8
HEADS = 16
VOCAB = 262144
WINDOW = 1024
HEAD_DIM = {True: 256, False: 512}  # keyed by "is a sliding layer"
KV_HEADS = {True: 8, False: 2}
ROTATED_PAIRS_GLOBAL = 64  # of 256 pairs: a quarter of the head turns, the rest stays put

WEIGHT_STD = 0.02
ALIGNMENT = 32
POOL_BYTES = 24 << 20
CHUNK_BYTES = 4 << 20

FILE_TYPE = {
    "q4_k_m": gguf.LlamaFileType.MOSTLY_Q4_K_M,
    "q5_k_m": gguf.LlamaFileType.MOSTLY_Q5_K_M,
    "q6_k": gguf.LlamaFileType.MOSTLY_Q6_K,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "bf16": gguf.LlamaFileType.MOSTLY_BF16,
}
BASE_TYPE = {"q4_k_m": T.Q4_K, "q5_k_m": T.Q5_K, "q6_k": T.Q6_K, "q8_0": T.Q8_0, "bf16": T.BF16}
# A row that 256 does not divide cannot hold a K-quant and takes the next 32-wide type up.
NARROW_ROW_TYPE = {T.Q4_K: T.Q5_0, T.Q5_K: T.Q5_1, T.Q6_K: T.Q8_0}


def is_sliding(layer: int) -> bool:
    return (layer + 1) % 6 != 0


def gets_more_bits(index: int, count: int) -> bool:
    """The rule of the _M mixtures: the first and last eighth, and every third tensor between."""
    return index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2


def matrix_type(name: str, columns: int, kind: str, layer: int, layers: int, v_index: int) -> T:
    base = BASE_TYPE[kind]
    chosen = base
    if name == "token_embd.weight":  # also the output head, which no mixture takes below Q6_K
        chosen = base if kind in ("q8_0", "bf16") else T.Q6_K
    elif kind in ("q4_k_m", "q5_k_m"):
        v_count = sum(is_sliding(i) for i in range(layers))  # global layers have no V matrix
        if "attn_v." in name and gets_more_bits(v_index, v_count):
            chosen = T.Q6_K
        elif "ffn_down" in name and gets_more_bits(layer, layers):
            chosen = T.Q6_K
    if columns % 256 != 0:
        chosen = NARROW_ROW_TYPE.get(chosen, chosen)
    return chosen


def tensor_list(layers: int, kind: str):
    """(name, shape with the row length last, type) in file order."""
    out = []

    def matrix(name, *shape, layer=0, v_index=0):
        out.append((name, shape, matrix_type(name, shape[-1], kind, layer, layers, v_index)))

    def plain(name, *shape):
        out.append((name, shape, T.F32))

    if not all(is_sliding(i) for i in range(layers)):  # a loader rejects a tensor that no layer uses
        plain("rope_freqs.weight", HEAD_DIM[False] // 2)
    matrix("token_embd.weight", VOCAB, HIDDEN)
    v_index = 0
    for i in range(layers):
        p, sliding = f"blk.{i}.", is_sliding(i)
        head, kv = HEAD_DIM[sliding], KV_HEADS[sliding] * HEAD_DIM[sliding]
        plain(p + "attn_norm.weight", HIDDEN)
        matrix(p + "attn_q.weight", HEADS * head, HIDDEN)
        matrix(p + "attn_k.weight", kv, HIDDEN)
        if sliding:
            matrix(p + "attn_v.weight", kv, HIDDEN, v_index=v_index)
            v_index += 1
        matrix(p + "attn_output.weight", HIDDEN, HEADS * head)
        plain(p + "attn_q_norm.weight", head)
        plain(p + "attn_k_norm.weight", head)
        plain(p + "post_attention_norm.weight", HIDDEN)
        plain(p + "ffn_norm.weight", HIDDEN)
        matrix(p + "ffn_gate.weight", DENSE_FFN, HIDDEN)
        matrix(p + "ffn_up.weight", DENSE_FFN, HIDDEN)
        matrix(p + "ffn_down.weight", HIDDEN, DENSE_FFN, layer=i)
        plain(p + "post_ffw_norm_1.weight", HIDDEN)
        plain(p + "pre_ffw_norm_2.weight", HIDDEN)
        plain(p + "post_ffw_norm_2.weight", HIDDEN)
        plain(p + "post_ffw_norm.weight", HIDDEN)
        plain(p + "ffn_gate_inp.weight", EXPERTS, HIDDEN)
        plain(p + "ffn_gate_inp.scale", HIDDEN)
        matrix(p + "ffn_gate_up_exps.weight", EXPERTS, 2 * EXPERT_FFN, HIDDEN)
        matrix(p + "ffn_down_exps.weight", EXPERTS, HIDDEN, EXPERT_FFN, layer=i)
        plain(p + "ffn_down_exps.scale", EXPERTS)
        plain(p + "layer_output_scale.weight", 1)
    plain("output_norm.weight", HIDDEN)
    return out


# --- random valid blocks -------------------------------------------------------------------------


def f16_bytes(values: np.ndarray) -> np.ndarray:
    return values.astype("<f2").view(np.uint8).reshape(-1, 2)


def jitter(rng, n: int, centre: float) -> np.ndarray:
    return centre * rng.uniform(0.7, 1.3, n).astype(np.float32)


def pack_6bit_pairs(scale: np.ndarray, minimum: np.ndarray) -> np.ndarray:
    """Eight 6-bit scales and eight 6-bit minimums in the 12 bytes of a Q4_K or Q5_K block."""
    low = (scale[:, :4] & 63) | ((scale[:, 4:] >> 4) << 6)
    mid = (minimum[:, :4] & 63) | ((minimum[:, 4:] >> 4) << 6)
    high = (scale[:, 4:] & 15) | ((minimum[:, 4:] & 15) << 4)
    return np.concatenate([low, mid, high], axis=1).astype(np.uint8)


def pool(t: T, rng) -> np.ndarray:
    """About POOL_BYTES of valid blocks of type t, weights of mean near 0 and WEIGHT_STD."""
    block, size = gguf.GGML_QUANT_SIZES[t]
    if t == T.BF16:
        x = rng.normal(0, WEIGHT_STD, POOL_BYTES // 2).astype(np.float32)
        return (x.view(np.uint32) >> 16).astype("<u2").view(np.uint8)
    n = POOL_BYTES // size

    def codes(width):
        return rng.integers(0, 256, (n, width), dtype=np.uint8)

    if t in (T.Q4_K, T.Q5_K):
        levels = 16 if t == T.Q4_K else 32
        centre = (levels - 1) / 2
        scale = rng.integers(24, 64, (n, 8), dtype=np.uint8)
        d = jitter(rng, n, WEIGHT_STD / (44 * levels / 12**0.5))
        # the minimum of each group cancels the mean of its codes
        head = [f16_bytes(d), f16_bytes(d * centre), pack_6bit_pairs(scale, scale)]
        blocks = np.concatenate(head + [codes(size - 16)], axis=1)
    elif t == T.Q6_K:
        scale = rng.integers(32, 96, (n, 16), dtype=np.uint8)
        scale = np.where(rng.random((n, 16)) < 0.5, scale, 256 - scale.astype(np.uint16)).astype(np.uint8)
        d = jitter(rng, n, WEIGHT_STD / (66 * 64 / 12**0.5))
        blocks = np.concatenate([codes(192), scale, f16_bytes(d)], axis=1)
    elif t == T.Q8_0:
        d = jitter(rng, n, WEIGHT_STD / (256 / 12**0.5))
        blocks = np.concatenate([f16_bytes(d), codes(32)], axis=1)
    elif t == T.Q5_0:
        d = jitter(rng, n, WEIGHT_STD / (32 / 12**0.5))
        blocks = np.concatenate([f16_bytes(d), codes(20)], axis=1)
    elif t == T.Q5_1:
        d = jitter(rng, n, WEIGHT_STD / (32 / 12**0.5))
        blocks = np.concatenate([f16_bytes(d), f16_bytes(d * -15.5), codes(20)], axis=1)
    else:
        raise ValueError(f"no generator for {t.name}")
    assert blocks.shape[1] == size, (t, blocks.shape, size)
    return np.ascontiguousarray(blocks).reshape(-1)


def small_tensor(name: str, shape, rng) -> np.ndarray:
    """The f32 tensors: norms near 1, a router spread enough to have clear winners."""
    if name == "rope_freqs.weight":
        out = np.full(shape, 1e30, np.float32)
        out[:ROTATED_PAIRS_GLOBAL] = 1.0
        return out
    if name.endswith("ffn_gate_inp.weight"):
        return rng.normal(0, 1.0, shape).astype(np.float32)
    if name.endswith("layer_output_scale.weight"):
        return np.full(shape, 0.8, np.float32)
    return rng.uniform(0.8, 1.2, shape).astype(np.float32)


def write_tensor(f, name, shape, t: T, pools, rng) -> int:
    if t == T.F32:
        data = small_tensor(name, shape, rng).tobytes()
        f.write(data)
        return len(data)
    block, size = gguf.GGML_QUANT_SIZES[t]
    total = int(np.prod(shape, dtype=np.int64)) // block * size
    if t not in pools:
        pools[t] = memoryview(pool(t, rng))
    source = pools[t]
    count = len(source) // size
    left = total
    while left:
        start = int(rng.integers(0, count)) * size
        take = min(left, CHUNK_BYTES // size * size, len(source) - start)
        f.write(source[start : start + take])
        left -= take
    return total


# --- metadata ------------------------------------------------------------------------------------


def add_model_keys(w: gguf.GGUFWriter, layers: int, kind: str):
    sliding = [is_sliding(i) for i in range(layers)]
    a = "gemma4."
    w.add_type("model")
    w.add_name(f"random weights, Gemma 4 26B-A4B shape, {layers} layers, {kind}")
    w.add_file_type(FILE_TYPE[kind])
    w.add_quantization_version(2)
    for key, value in {
        "block_count": layers,
        "context_length": 262144,
        "embedding_length": HIDDEN,
        "embedding_length_per_layer_input": 0,
        "feed_forward_length": DENSE_FFN,
        "expert_feed_forward_length": EXPERT_FFN,
        "expert_count": EXPERTS,
        "expert_used_count": EXPERTS_USED,
        "attention.head_count": HEADS,
        "attention.key_length": HEAD_DIM[False],
        "attention.value_length": HEAD_DIM[False],
        "attention.key_length_swa": HEAD_DIM[True],
        "attention.value_length_swa": HEAD_DIM[True],
        "attention.sliding_window": WINDOW,
        "attention.shared_kv_layers": 0,
        "rope.dimension_count": HEAD_DIM[False],
        "rope.dimension_count_swa": HEAD_DIM[True],
    }.items():
        w.add_uint32(a + key, value)
    w.add_array(a + "attention.head_count_kv", [KV_HEADS[s] for s in sliding])
    w.add_array(a + "attention.sliding_window_pattern", sliding)
    w.add_float32(a + "attention.layer_norm_rms_epsilon", 1e-6)
    w.add_float32(a + "rope.freq_base", 1e6)
    w.add_float32(a + "rope.freq_base_swa", 1e4)
    w.add_float32(a + "final_logit_softcapping", 30.0)


def add_stub_tokenizer(w: gguf.GGUFWriter):
    kinds = gguf.TokenType
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|turn>", "<turn|>", "\n", "a", "b", "ab"]
    types = [kinds.CONTROL] * 3 + [kinds.UNKNOWN] + [kinds.CONTROL] * 3 + [kinds.NORMAL] * 4
    tokens += [f"<0x{b:02X}>" for b in range(256)]
    types += [kinds.BYTE] * 256
    tokens += [f"\u2581stub{i}" for i in range(len(tokens), VOCAB)]
    types += [kinds.NORMAL] * (VOCAB - len(types))
    w.add_tokenizer_model("gemma4")
    w.add_token_list(tokens)
    w.add_token_scores([0.0] * VOCAB)
    w.add_token_types([int(t) for t in types])
    w.add_token_merges(["a b"])
    w.add_bos_token_id(2)
    w.add_eos_token_id(1)
    w.add_pad_token_id(0)
    w.add_unk_token_id(3)
    w.add_add_bos_token(True)
    w.add_add_space_prefix(False)


def copy_tokenizer(w: gguf.GGUFWriter, path: str):
    if path.endswith(".xz"):
        with tempfile.NamedTemporaryFile(suffix=".gguf") as plain:
            with lzma.open(path) as packed:
                shutil.copyfileobj(packed, plain)
            plain.flush()
            return copy_tokenizer(w, plain.name)
    reader = gguf.GGUFReader(path)
    copied = 0
    for field in reader.fields.values():
        if not field.name.startswith("tokenizer."):
            continue
        sub_type = field.types[1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        w.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub_type)
        copied += 1
    if copied == 0:
        sys.exit(f"{path}: holds no tokenizer.* key")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("out")
    p.add_argument("--layers", type=int, default=30)
    p.add_argument("--type", choices=list(BASE_TYPE), default="q4_k_m")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--tokenizer", metavar="FILE.gguf", help="copy tokenizer.* from this GGUF (or .gguf.xz)")
    p.add_argument("--list", action="store_true", help="print tensor types and bytes, write nothing")
    args = p.parse_args()
    if args.layers < 1:
        p.error("--layers must be at least 1")
    if args.layers < 6:
        print("note: no global layer below 6 layers; llama.cpp aborts on such a file", file=sys.stderr)

    tensors = tensor_list(args.layers, args.type)
    if args.list:
        sums = {}
        for name, shape, t in tensors:
            block, size = gguf.GGML_QUANT_SIZES[t]
            n = int(np.prod(shape, dtype=np.int64)) // block * size
            role = name.split(".", 2)[2] if name.startswith("blk.") else name
            sums.setdefault((role, t.name), [0, 0])
            sums[role, t.name][0] += 1
            sums[role, t.name][1] += n
        for (role, t), (count, n) in sums.items():
            print(f"{role:32} {t:5} x{count:<3} {n / 1e6:10.2f} MB")
        print(f"{'all':32} {'':5} x{len(tensors):<3} {sum(n for _, n in sums.values()) / 1e6:10.2f} MB")
        return

    started = time.time()
    w = gguf.GGUFWriter(args.out, "gemma4")
    add_model_keys(w, args.layers, args.type)
    if args.tokenizer:
        copy_tokenizer(w, args.tokenizer)
    else:
        add_stub_tokenizer(w)
    for name, shape, t in tensors:
        block, size = gguf.GGML_QUANT_SIZES[t]
        if t == T.F32:
            w.add_tensor_info(name, shape, np.dtype(np.float32), int(np.prod(shape)) * 4)
        else:
            byte_shape = (*shape[:-1], shape[-1] // block * size)
            n = int(np.prod(byte_shape, dtype=np.int64))
            w.add_tensor_info(name, byte_shape, np.dtype(np.uint8), n, raw_dtype=t)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    w.close()

    rng = np.random.default_rng(args.seed)
    pools = {}
    with open(args.out, "r+b", buffering=0) as f:
        f.seek(0, os.SEEK_END)
        f.write(b"\0" * (-f.tell() % ALIGNMENT))
        for i, (name, shape, t) in enumerate(tensors):
            n = write_tensor(f, name, shape, t, pools, rng)
            f.write(b"\0" * (-n % ALIGNMENT))
            if sys.stderr.isatty() and i % 16 == 0:
                print(f"\r{i}/{len(tensors)} tensors, {f.tell() / 1e9:.2f} GB", end="", file=sys.stderr)
        size = f.tell()
    print(json.dumps({"file": args.out, "bytes": size, "tensors": len(tensors), "seconds": round(time.time() - started, 1)}))


if __name__ == "__main__":
    main()
