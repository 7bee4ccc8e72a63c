"""Writes schedules.json: the learning rates of PyTorch's schedulers, for the tests of wick-train's schedules.

    pip install torch==2.15.0 && python schedules.py

Each key is a SPEC of wick-train; its values are the rates of an optimizer whose own rate is 1 at steps 0, 1, ….
"""
import json
import math
import pathlib

import torch
from torch.optim import lr_scheduler as lr


def rates(steps, make):
    """The rates of the first `steps` steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    out = []
    for _ in range(steps):
        out.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return out


def warm(optimizer, steps, then, start=None):
    """A warm-up by LinearLR, then another scheduler."""
    rise = lr.LinearLR(optimizer, start or 1 / (steps + 1), 1.0, steps)
    return lr.SequentialLR(optimizer, [rise, then], [steps])


def cosine(optimizer, steps, floor):
    return lr.CosineAnnealingLR(optimizer, steps, floor)


def linear(optimizer, steps, floor):
    return lr.LinearLR(optimizer, 1.0, floor, steps)


def constant(optimizer):
    return lr.LambdaLR(optimizer, lambda _: 1.0)


out = {
    "constant:warmup=10": rates(20, lambda o: warm(o, 10, constant(o))),
    "linear:steps=60": rates(70, lambda o: linear(o, 60, 0.0)),
    "linear:steps=60,warmup=7,start=0.25,floor=0.05": rates(
        70, lambda o: warm(o, 7, linear(o, 53, 0.05), 0.25)
    ),
    "cosine:steps=60": rates(61, lambda o: cosine(o, 60, 0.0)),
    "cosine:steps=90,warmup=13,floor=0.1": rates(91, lambda o: warm(o, 13, cosine(o, 77, 0.1))),
    "wsd:steps=80,warmup=9,decay=20,floor=0.01": rates(
        90,
        lambda o: lr.SequentialLR(
            o, [lr.LinearLR(o, 1 / 10, 1.0, 9), constant(o), linear(o, 20, 0.01)], [9, 60]
        ),
    ),
    "wsd:steps=80,warmup=9,decay=20,curve=cosine,floor=0.01": rates(
        81,
        lambda o: lr.SequentialLR(
            o, [lr.LinearLR(o, 1 / 10, 1.0, 9), constant(o), cosine(o, 20, 0.01)], [9, 60]
        ),
    ),
    "wsd:steps=80,decay=20,curve=sqrt": rates(
        90, lambda o: lr.LambdaLR(o, lambda t: 1.0 if t < 60 else max(0.0, 1.0 - math.sqrt(min(1.0, (t - 60) / 20))))
    ),
    "one_cycle:steps=100": rates(99, lambda o: lr.OneCycleLR(o, 1.0, 100)),
    "one_cycle:steps=77,rise=0.4,div=10,final_div=100,curve=linear": rates(
        76, lambda o: lr.OneCycleLR(o, 1.0, 77, pct_start=0.4, div_factor=10, final_div_factor=100, anneal_strategy="linear")
    ),
    "step:every=7,factor=0.9": rates(100, lambda o: lr.StepLR(o, 7, 0.9)),
}
here = pathlib.Path(__file__).parent
lines = [f"  {json.dumps(spec)}: {json.dumps(values)}" for spec, values in out.items()]
text = ",\n".join([f'  "torch": {json.dumps(torch.__version__)}', *lines])
(here / "schedules.json").write_text("{\n" + text + "\n}\n")
