"""Writes torch_init.safetensors: what PyTorch draws, for the tests of wick-init's torch stream.

    pip install torch==2.15.0 safetensors numpy && python torch_init.py

Each tensor's name says how it was drawn: SEED/SPEC/DTYPE/SHAPE. Large ones are kept as the first 64 and the last
64 elements and, in the name with a `#` behind it, the FNV-1a hash of all their bits.
"""
import pathlib

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

DTYPES = {"f32": torch.float32, "f64": torch.float64, "bf16": torch.bfloat16, "f16": torch.float16}
SIZES = [1, 15, 16, 17, 33, 1000]
out = {}


def bits(tensor):
    view = {2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    return tensor.contiguous().flatten().view(view).numpy().astype(np.int64)


def fnv(values):
    with np.errstate(over="ignore"):
        hashed = np.uint64(0xCBF29CE484222325)
        for v in values.view(np.uint64):
            hashed = (hashed ^ v) * np.uint64(0x100000001B3)
    return hashed


def keep(name, tensor):
    if tensor.numel() > 2000:
        out[name + "#"] = torch.from_numpy(np.array([fnv(bits(tensor))]).view(np.int64))
        flat = tensor.flatten()
        tensor = torch.cat([flat[:64], flat[-64:]])
    out[name] = tensor.contiguous().clone()


def case(seed, spec, shape, draw, dtypes=DTYPES):
    for name, dtype in dtypes.items():
        torch.manual_seed(seed)
        tensor = torch.empty(shape, dtype=dtype)
        draw(tensor)
        keep(f"{seed}/{spec}/{name}/{'x'.join(map(str, shape))}", tensor)


for n in SIZES:
    case(n, "normal:mean=0.5,std=0.02", [n], lambda t: nn.init.normal_(t, 0.5, 0.02))
    case(n, "uniform:low=-0.3,high=0.7", [n], lambda t: nn.init.uniform_(t, -0.3, 0.7))
    case(n, "torch.trunc_normal:std=1,a=-1,b=2", [n], lambda t: nn.init.trunc_normal_(t, 0, 1, -1, 2))
    # Where PyTorch keeps uniforms with the density's chance: in std from the mean, near, and far out.
    for std, low, high in [(1, 1, 2), (1, 3, 5), (1, -9, -6), (0.3, 0.3, 0.6), (0.7, 2.1, 3.5)]:
        case(n, f"torch.trunc_normal:std={std},a={low},b={high}", [n],
             lambda t: nn.init.trunc_normal_(t, 0, std, low, high))
    case(n, "torch.trunc_normal:mean=0.1,std=0.7,a=0.8,b=2.2", [n],
         lambda t: nn.init.trunc_normal_(t, 0.1, 0.7, 0.8, 2.2))
# Intervals of few numbers, whose end rounding reaches: PyTorch puts the beginning there.
case(3, "torch.uniform:a=1,b=1.0000005", [500], lambda t: nn.init.uniform_(t, 1, 1.0000005), {"f32": torch.float32})
case(3, f"torch.uniform:a=1,b={1 + 2**-50!r}", [500], lambda t: nn.init.uniform_(t, 1, 1 + 2**-50), {"f64": torch.float64})
case(3, "torch.uniform:a=0.999,b=1", [300_000], lambda t: nn.init.uniform_(t, 0.999, 1), {"f32": torch.float32})
case(3, "torch.uniform:a=1,b=1.01", [200_000], lambda t: nn.init.uniform_(t, 1, 1.01), {"f32": torch.float32})
million = {"f32": torch.float32}
case(7, "normal:std=1", [1_000_003], lambda t: nn.init.normal_(t), million)
case(7, "uniform:low=0,high=1", [1_000_003], lambda t: nn.init.uniform_(t), million)
case(7, "torch.trunc_normal", [1_000_003], lambda t: nn.init.trunc_normal_(t), million)
for shape in [[3, 4], [50, 40], [8, 4, 3, 3]]:
    case(3, "xavier_normal", shape, lambda t: nn.init.xavier_normal_(t))
    case(3, "xavier_uniform", shape, lambda t: nn.init.xavier_uniform_(t))
    case(3, "kaiming_normal", shape, lambda t: nn.init.kaiming_normal_(t))
    case(3, "kaiming_uniform:mode=fan_out", shape, lambda t: nn.init.kaiming_uniform_(t, mode="fan_out"))
    case(3, "torch.linear", shape, lambda t: nn.init.kaiming_uniform_(t, a=5**0.5))
    case(3, "orthogonal:gain=1.5", shape, lambda t: nn.init.orthogonal_(t, 1.5),
         {k: DTYPES[k] for k in ("f32", "f64")})
for shape in [[10, 7], [40, 30]]:
    case(5, "sparse:sparsity=0.31,std=0.5", shape, lambda t: nn.init.sparse_(t, 0.31, 0.5),
         {k: DTYPES[k] for k in ("f32", "f64")})
case(1, "dirac:groups=2", [4, 2, 3], lambda t: nn.init.dirac_(t, 2), million)

torch.manual_seed(2024)
model = {
    "linear": nn.Linear(20, 30),
    "conv": nn.Conv2d(4, 6, 3, groups=2),
    "embedding": nn.Embedding(11, 5),
    "lstm": nn.LSTM(6, 5),
    "gru": nn.GRU(6, 5),
    "rnn": nn.RNN(6, 5),
    "head": nn.Linear(5, 3),
    "lstm_with_projection": nn.LSTM(6, 5, proj_size=2),
}
for layer, module in model.items():
    for name, parameter in module.named_parameters():
        out[f"layers/{layer}.{name}"] = parameter.detach().clone()
out["layers/next"] = torch.randn(3)

here = pathlib.Path(__file__).parent
save_file(out, here / "torch_init.safetensors", metadata={"torch": torch.__version__})
print(len(out), "tensors,", (here / "torch_init.safetensors").stat().st_size, "bytes, torch", torch.__version__)
