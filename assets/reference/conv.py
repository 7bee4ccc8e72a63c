"""Writes conv.safetensors: PyTorch's convolutions, pools, images of another size and indexed ops, with their gradients.

    pip install torch==2.15.0 safetensors numpy && python conv.py

A case is CASE/TYPE/TENSOR: x, w and b go in, y comes out; g is the gradient of y, and dx, dw and db are those of the
others. The settings of each case stand in `tests/tests/layers/conv/torch.rs` too. f32 is computed from the rounded f64.
"""
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

torch.set_num_threads(1)
torch.backends.mkldnn.enabled = False
rng = np.random.default_rng(1)
out = {}


def case(name, function, x, *weights, ties=False):
    """function(x, *weights) for inputs of these shapes; with ties, x has few different numbers."""
    data = [rng.normal(size=shape) for shape in (x, *weights)]
    if ties:
        data[0] = np.round(data[0])
    g = None
    for dtype in ("f64", "f32"):
        kind = {"f64": torch.float64, "f32": torch.float32}[dtype]
        inputs = [torch.tensor(values, dtype=kind, requires_grad=True) for values in data]
        y = function(*inputs)
        g = rng.normal(size=y.shape) if g is None else g
        gradient = torch.tensor(g, dtype=kind)
        gradients = torch.autograd.grad(y, inputs, gradient)
        named = dict(zip(["x", "w", "b"], inputs)) | {"y": y, "g": gradient}
        named |= dict(zip(["dx", "dw", "db"], gradients))
        for key, value in named.items():
            out[f"{name}/{dtype}/{key}"] = np.ascontiguousarray(value.detach().numpy())


case("conv2d.plain", lambda x, w, b: F.conv2d(x, w, b), (2, 3, 6, 7), (4, 3, 3, 3), (4,))
case("conv2d.strided", lambda x, w, b: F.conv2d(x, w, b, (2, 2), (1, 1)), (2, 3, 8, 5), (4, 3, 3, 3), (4,))
case("conv2d.unequal", lambda x, w, b: F.conv2d(x, w, b, (3, 1), (2, 0), (1, 2)), (1, 2, 7, 8), (3, 2, 4, 2), (3,))
case("conv2d.grouped", lambda x, w, b: F.conv2d(x, w, b, 1, 1, 1, 2), (2, 4, 5, 5), (6, 2, 3, 3), (6,))
case("conv2d.depthwise", lambda x, w, b: F.conv2d(x, w, b, 2, 1, 1, 3), (2, 3, 7, 6), (6, 1, 3, 3), (6,))
case("conv2d.pointwise", lambda x, w, b: F.conv2d(x, w, b), (2, 5, 3, 4), (4, 5, 1, 1), (4,))
case("conv1d", lambda x, w, b: F.conv1d(x, w, b, 2, 3, 2), (3, 4, 11), (5, 4, 3), (5,))
case("conv_transpose2d", lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1), (2, 3, 4, 5), (3, 2, 3, 3), (2,))
case("conv_transpose2d.grouped",
     lambda x, w, b: F.conv_transpose2d(x, w, b, (2, 3), (1, 0), (1, 2), 2, (1, 2)), (2, 4, 3, 3), (4, 3, 3, 2), (6,))
case("conv_transpose1d", lambda x, w, b: F.conv_transpose1d(x, w, b, 3, 1, 2), (2, 3, 5), (3, 2, 4), (2,))
case("max_pool2d", lambda x: F.max_pool2d(x, 3, 2, 1), (2, 2, 8, 7), ties=True)
case("max_pool2d.dilated", lambda x: F.max_pool2d(x, (2, 3), (2, 1), (1, 0), (2, 2)), (2, 2, 8, 7), ties=True)
case("avg_pool2d", lambda x: F.avg_pool2d(x, 3, 2, 1), (2, 2, 8, 7))
case("avg_pool2d.inside", lambda x: F.avg_pool2d(x, (3, 2), (2, 3), (1, 1), count_include_pad=False), (2, 2, 8, 7))
case("nearest", lambda x: F.interpolate(x, (5, 3), mode="nearest"), (2, 2, 3, 7))
case("bilinear", lambda x: F.interpolate(x, (5, 3), mode="bilinear", align_corners=False), (2, 2, 3, 7))
case("bilinear.aligned", lambda x: F.interpolate(x, (4, 9), mode="bilinear", align_corners=True), (2, 2, 3, 7))
# Narrower than x, with repeated places; scatter has no repeated ones, whose order PyTorch leaves open.
repeated, single = torch.tensor([[[3, 0], [1, 1]]]), torch.tensor([[[3, 0], [1, 2]]])
case("gather", lambda x: x.gather(2, repeated), (2, 3, 4))
case("scatter_add", lambda x, w: x.scatter_add(2, repeated, w), (2, 3, 4), (1, 2, 2))
case("scatter", lambda x, w: x.scatter(2, single, w), (2, 3, 4), (1, 2, 2))

path = pathlib.Path(__file__).with_suffix(".safetensors")
save_file(out, path, {"torch": torch.__version__, "numpy": np.__version__})
