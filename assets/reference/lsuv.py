#!/usr/bin/env python3
"""Layer-sequential unit variance by its published recipe, in PyTorch: the values of tests/tests/data_dependent.rs.

The recipe (Mishkin and Matas 2015, arXiv 1511.06422, algorithm 1): orthonormal weights and biases of zero; then for
each layer in order, until |std - 1| <= tolerance and at most ten times: pass the batch forward, divide the layer's
weight by the standard deviation of its output (over n, as NumPy has it).

    python assets/reference/lsuv.py        # writes lsuv.safetensors beside it; needs torch and safetensors
"""

import pathlib

import torch
from safetensors.torch import save_file
from torch import nn

NETS = {
    "relu": lambda: nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 10)),
    "tanh": lambda: nn.Sequential(*[m for _ in range(6) for m in (nn.Linear(30, 30), nn.Tanh())]),
    "conv": lambda: nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(72, 10),
    ),
}
SHAPES = {"relu": (50, 30), "tanh": (50, 30), "conv": (20, 2, 8, 8)}
TOLERANCE = 0.05


def lsuv(net, batch):
    layers = [module for module in net if isinstance(module, (nn.Linear, nn.Conv2d))]
    seen = {}
    for layer in layers:
        layer.register_forward_hook(lambda module, _, output: seen.__setitem__(module, output))
    for layer in layers:
        for _ in range(10):
            net(batch)
            std = seen[layer].std(correction=0)
            if abs(std - 1) <= TOLERANCE:
                break
            layer.weight /= std


tensors = {}
with torch.no_grad():
    for seed, (name, make) in enumerate(NETS.items()):
        torch.manual_seed(seed)
        net, batch = make(), 2 * torch.randn(SHAPES[name]) + 0.5
        for parameter in net.parameters():
            nn.init.orthogonal_(parameter) if parameter.dim() > 1 else nn.init.zeros_(parameter)
        tensors[f"{name}/batch"] = batch
        tensors |= {f"{name}/start/{key}": value.clone() for key, value in net.state_dict().items()}
        lsuv(net, batch)
        tensors |= {f"{name}/after/{key}": value.clone() for key, value in net.state_dict().items()}
save_file(tensors, pathlib.Path(__file__).with_suffix(".safetensors"))
