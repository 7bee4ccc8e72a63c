"""Writes attention.safetensors: PyTorch's attention, rotary positions and embedding with their gradients.

    pip install torch==2.15.0 safetensors numpy && python attention.py

Each case has its inputs in f64, which a run rounds to its type, and NAME/TYPE/out with the gradients NAME/TYPE/d… of
Σ out·cotangent. Attention is `scaled_dot_product_attention`; rows that are masked whole are left out, since PyTorch's
differ between its kernels. Rotary positions are those of Llama (halves) and GPT-J (interleaved).
"""
import pathlib

import numpy as np
import torch
from safetensors.numpy import save_file

TYPES = {"f32": torch.float32, "f64": torch.float64}
# Name: q heads, kv heads, queries, keys, width, value width, scale, mask.
ATTENTION = {
    "plain": (2, 2, 5, 7, 8, 8, None, None),
    "causal": (2, 2, 9, 9, 4, 6, 0.3, "causal"),
    "grouped": (4, 2, 6, 11, 8, 8, None, None),
    "added": (2, 1, 7, 5, 3, 3, 0.5, "added"),
    "kept": (2, 2, 7, 13, 5, 4, None, "kept"),
    "long": (1, 1, 70, 130, 4, 4, 0.4, None),
}
rng = np.random.default_rng(1)
out = {}


def tensors(name, shapes, dtype):
    """The inputs of a case as variables, drawn once."""
    for key, shape in shapes.items():
        if f"{name}/{key}" not in out:
            out[f"{name}/{key}"] = rng.normal(size=shape)
    return {k: torch.from_numpy(out[f"{name}/{k}"]).to(dtype).requires_grad_() for k in shapes}


def keep(name, kind, result, inputs, wanted):
    if f"{name}/cotangent" not in out:
        out[f"{name}/cotangent"] = rng.normal(size=tuple(result.shape))
    (result * torch.from_numpy(out[f"{name}/cotangent"]).to(result.dtype)).sum().backward()
    out[f"{name}/{kind}/out"] = result.detach().numpy()
    for key in wanted:
        out[f"{name}/{kind}/d{key}"] = inputs[key].grad.numpy()


for kind, dtype in TYPES.items():
    for name, (heads, kv_heads, queries, keys, width, value_width, scale, mask) in ATTENTION.items():
        shapes = {"q": (2, heads, queries, width), "k": (2, kv_heads, keys, width), "v": (2, kv_heads, keys, value_width)}
        x = tensors(name, shapes, dtype)
        given = {}
        if mask == "causal":
            given["is_causal"] = True
        elif mask == "added":
            out.setdefault(f"{name}/mask", rng.normal(size=(heads, queries, keys)))
            given["attn_mask"] = torch.from_numpy(out[f"{name}/mask"]).to(dtype)
        elif mask == "kept":
            if f"{name}/mask" not in out:
                kept = rng.uniform(size=(2, 1, queries, keys)) < 0.6
                kept[..., 0] = True
                out[f"{name}/mask"] = kept.astype(np.uint8)
            given["attn_mask"] = torch.from_numpy(out[f"{name}/mask"]).bool()
        result = torch.nn.functional.scaled_dot_product_attention(
            x["q"], x["k"], x["v"], scale=scale, enable_gqa=heads != kv_heads, **given)
        keep(name, kind, result, x, "qkv")

    for name in ["rope", "rope_i"]:
        x = tensors(name, {"x": (2, 3, 5, 8)}, dtype)
        angles = torch.arange(5, dtype=torch.float64)[:, None] * 10.0 ** -torch.arange(4, dtype=torch.float64)
        out[f"{name}/cos"], out[f"{name}/sin"] = angles.cos().numpy(), angles.sin().numpy()
        cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
        if name == "rope":
            a, b = x["x"].chunk(2, dim=-1)
            result = torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
        else:
            a, b = x["x"][..., ::2], x["x"][..., 1::2]
            result = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)
        keep(name, kind, result, x, "x")

    x = tensors("embedding", {"table": (7, 4)}, dtype)
    out["embedding/ids"] = np.array([[3, 0, 3, 6], [3, 1, 6, 0]], dtype=np.uint32)
    result = torch.nn.functional.embedding(torch.from_numpy(out["embedding/ids"].astype(np.int64)), x["table"])
    keep("embedding", kind, result, x, ["table"])

path = pathlib.Path(__file__).with_suffix(".safetensors")
save_file({key: np.ascontiguousarray(value) for key, value in out.items()}, path,
          {"torch": torch.__version__, "numpy": np.__version__})
