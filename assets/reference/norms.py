"""Writes norms.safetensors: PyTorch's norms, softmax and losses with their gradients, for the tests of wick-layers.

    pip install torch==2.15.0 safetensors numpy && python norms.py

CASE/input/N are the inputs in f64, the first of which has the values; CASE/TYPE/output and CASE/TYPE/gradient/N are what
PyTorch makes of them in that type, for the loss Σ output ⊙ CASE/cotangent. The settings stand beside the names of the
cases in `tests/tests/layers/norms.rs`.
"""
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

rng = np.random.default_rng(1)
out = {}


def case(name, op, *inputs):
    """op takes the inputs as tensors; all of them have a gradient."""
    for which, values in enumerate(inputs):
        out[f"{name}/input/{which}"] = values
    for label, dtype in [("f32", torch.float32), ("f64", torch.float64)]:
        leaves = [torch.tensor(values, dtype=dtype, requires_grad=True) for values in inputs]
        output = op(*leaves)
        key = f"{name}/cotangent"
        out.setdefault(key, rng.normal(size=tuple(output.shape)))
        (output * torch.tensor(out[key], dtype=dtype)).sum().backward()
        out[f"{name}/{label}/output"] = output.detach().numpy()
        for which, leaf in enumerate(leaves):
            out[f"{name}/{label}/gradient/{which}"] = leaf.grad.numpy()


def normal(*shape):
    return rng.normal(size=shape)


for name, shape in {"rows": (3, 4, 37), "row": (65,), "wide": (2, 300), "one": (3, 1)}.items():
    n = shape[-1]
    case(f"layer_norm.{name}", lambda x, w, b: F.layer_norm(x, (n,), w, b, 1e-5), normal(*shape), normal(n), normal(n))
    case(f"rms_norm.{name}", lambda x, w: F.rms_norm(x, (n,), w, 1e-6), normal(*shape), normal(n))
    case(f"softmax.{name}", lambda x: torch.softmax(x, -1), 3 * normal(*shape))
    case(f"log_softmax.{name}", lambda x: torch.log_softmax(x, -1), 3 * normal(*shape))
case("layer_norm.no_bias", lambda x, w: F.layer_norm(x, (9,), w, None, 0.1), normal(5, 9), normal(9))
case("softmax.middle", lambda x: torch.softmax(x, 1), 3 * normal(3, 5, 4))
for groups, shape in {1: (2, 6, 5), 2: (3, 4, 3, 5), 3: (2, 6, 17), 6: (2, 6, 4, 3)}.items():
    c = shape[1]
    case(f"group_norm.{groups}", lambda x, w, b: F.group_norm(x, groups, w, b, 1e-5), normal(*shape), normal(c), normal(c))
case("group_norm.flat", lambda x, w, b: F.group_norm(x, 2, w, b, 1e-5), normal(4, 6), normal(6), normal(6))
for name, shape in {"flat": (7, 5), "1d": (3, 4, 19), "2d": (2, 3, 4, 5)}.items():
    c = shape[1]
    case(f"batch_norm.{name}", lambda x, w, b: F.batch_norm(x, None, None, w, b, True, 0.1, 1e-5), normal(*shape), normal(c),
         normal(c))
# A layer over three steps, and in evaluation after them.
torch.manual_seed(1)
layer = torch.nn.BatchNorm1d(4, momentum=0.3, dtype=torch.float64)
steps = [1 + 2 * normal(5, 4, 3) for _ in range(3)]
for number, step in enumerate(steps):
    out[f"batch_norm.running/step/{number}"] = step
    layer(torch.tensor(step))
    out[f"batch_norm.running/mean/{number}"] = layer.running_mean.numpy().copy()
    out[f"batch_norm.running/var/{number}"] = layer.running_var.numpy().copy()
layer.eval()
out["batch_norm.running/evaluated"] = layer(torch.tensor(steps[0])).detach().numpy()

classes = torch.tensor([3, -100, 0, 6, 6, -100, 2, 1])
weights = torch.tensor(rng.uniform(0.1, 2.0, size=7))
out["cross_entropy/classes"], out["cross_entropy/weights"] = classes.numpy(), weights.numpy()
for name, options in {
    "plain": {}, "smoothed": {"label_smoothing": 0.1}, "weighted": {"weight": weights},
    "all": {"label_smoothing": 0.3, "weight": weights},
}.items():
    def loss(x, options=options):
        options = {k: v.to(x.dtype) if k == "weight" else v for k, v in options.items()}
        return F.cross_entropy(x, classes, **options)

    case(f"cross_entropy.{name}", loss, 3 * normal(8, 7))
targets, pos = torch.tensor(rng.uniform(size=(6, 5))), torch.tensor(rng.uniform(0.1, 3.0, size=5))
out["binary/targets"], out["binary/pos_weight"] = targets.numpy(), pos.numpy()
logits = 4 * normal(6, 5)
logits[0] = [-90, 90, 17, -17, 0]
case("binary.plain", lambda x: F.binary_cross_entropy_with_logits(x, targets.to(x.dtype)), logits)
case("binary.pos_weight",
     lambda x: F.binary_cross_entropy_with_logits(x, targets.to(x.dtype), pos_weight=pos.to(x.dtype)), logits)

path = pathlib.Path(__file__).with_suffix(".safetensors")
save_file({key: np.ascontiguousarray(value) for key, value in out.items()}, path,
          {"torch": torch.__version__, "numpy": np.__version__})
