"""Writes optimizers.safetensors: 100 steps of PyTorch's and optax's optimizers, for the tests of wick-kernels.

    pip install torch==2.15.0 jax==0.10.2 optax==0.2.8 safetensors numpy && python optimizers.py

The gradient of step t at the weights w is h·(w - a) + noise[t], with `start`, `h`, `a` and `noise` from the file,
rounded to the type of the run. The variables are groups of their own: GROUPS has what the learning rate is multiplied
by and the weight decay of each. The learning rate of step t is lr·(1 - t/200), except for Schedule-Free, where it is
constant. Results are CASE/TYPE/VARIABLE; torch's Muon orthogonalizes in bf16.
"""
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from optax.contrib import muon, schedule_free_adamw, schedule_free_eval_params
from safetensors.numpy import save_file

jax.config.update("jax_enable_x64", True)
STEPS = 100
SHAPES = {"a": (3, 4), "b": (5,), "c": (6, 2)}
GROUPS = {"a": (1.0, 0.1), "b": (2.0, 0.0), "c": (0.5, 0.3)}
TYPES = {"f32": np.float32, "f64": np.float64}
rng = np.random.default_rng(1)
out = {}
for name, shape in SHAPES.items():
    out[f"start/{name}"] = rng.normal(size=shape)
    out[f"h/{name}"] = rng.uniform(0.1, 1.0, size=shape)
    out[f"a/{name}"] = rng.normal(size=shape)
    out[f"noise/{name}"] = rng.normal(size=(STEPS, *shape))


def problem(dtype):
    """The start, and the gradients at a step and weights."""
    data = {key: value.astype(dtype) for key, value in out.items() if key.split("/")[0] in ("start", "h", "a", "noise")}
    start = {name: data[f"start/{name}"] for name in SHAPES}

    def gradients(step, w):
        return {n: data[f"h/{n}"] * (w[n] - data[f"a/{n}"]) + data[f"noise/{n}"][step] for n in w}
    return start, gradients


def rate(step):
    return 1 - step / 200


def in_torch(case, make, lr, names=tuple(SHAPES), clip=None, types=("f32", "f64")):
    """make(groups) is an optimizer of parameter groups with lr and weight_decay."""
    for dtype in types:
        start, gradients = problem(TYPES[dtype])
        params = {n: torch.nn.Parameter(torch.from_numpy(start[n].copy())) for n in names}
        optimizer = make([{"params": [params[n]], "lr": lr * GROUPS[n][0], "weight_decay": GROUPS[n][1]} for n in names])
        for step in range(STEPS):
            for group, n in zip(optimizer.param_groups, names):
                group["lr"] = lr * rate(step) * GROUPS[n][0]
            for n, g in gradients(step, {n: params[n].detach().numpy() for n in names}).items():
                params[n].grad = torch.from_numpy(g)
            if clip:
                torch.nn.utils.clip_grad_norm_(list(params.values()), clip)
            optimizer.step()
        for n in names:
            out[f"{case}/{dtype}/{n}"] = params[n].detach().numpy().copy()


def in_optax(case, make, lr, clip=None, constant=False, evaluate=None):
    """make(name, lr, decay) is an optimizer of one variable."""
    for dtype in TYPES:
        start, gradients = problem(TYPES[dtype])
        w = {n: jnp.asarray(x) for n, x in start.items()}
        states = {n: make(n, lr, 0.0).init(x) for n, x in w.items()}
        # The learning rate and the decay are arguments, so that each step is compiled once.
        steps = {n: jax.jit(lambda g, state, w, lr, decay, n=n: make(n, lr, decay).update(g, state, w)) for n in w}
        clipped = jax.jit(lambda gs: optax.clip_by_global_norm(clip).update(gs, optax.EmptyState())[0])
        for step in range(STEPS):
            gs = {n: jnp.asarray(g) for n, g in gradients(step, {n: np.asarray(x) for n, x in w.items()}).items()}
            if clip:
                gs = clipped(gs)
            for n, (factor, decay) in GROUPS.items():
                now = TYPES[dtype](lr * factor * (1 if constant else rate(step)))
                updates, states[n] = steps[n](gs[n], states[n], w[n], now, TYPES[dtype](decay))
                w[n] = w[n] + updates
        for n in SHAPES:
            assert w[n].dtype == TYPES[dtype]
            out[f"{case}/{dtype}/{n}"] = np.asarray(w[n])
            if evaluate:
                out[f"{case}.eval/{dtype}/{n}"] = np.asarray(evaluate(states[n], w[n]))


def muon_of(nesterov, rms):
    def make(name, lr, decay):
        if len(SHAPES[name]) != 2:
            return optax.adamw(lr, b1=0.9, b2=0.999, eps=1e-8, weight_decay=decay)
        axes = optax.contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=0)
        return muon(lr, weight_decay=decay, nesterov=nesterov, consistent_rms=rms, muon_weight_dimension_numbers=axes)
    return make


in_torch("adamw", lambda groups: torch.optim.AdamW(groups, foreach=False), 0.02)
in_torch("sgd", lambda groups: torch.optim.SGD(groups, lr=1, foreach=False), 0.05)
in_torch("sgd.momentum", lambda groups: torch.optim.SGD(groups, lr=1, momentum=0.9, foreach=False), 0.02)
in_torch("sgd.nesterov", lambda groups: torch.optim.SGD(groups, lr=1, momentum=0.9, nesterov=True, foreach=False), 0.02)
in_torch("clip.torch", lambda groups: torch.optim.SGD(groups, lr=1, momentum=0.9, foreach=False), 0.05, clip=4.0)
in_optax("clip.optax", lambda n, lr, decay: optax.chain(optax.add_decayed_weights(decay), optax.sgd(lr, momentum=0.9)),
         0.05, clip=4.0)
in_optax("lion", lambda n, lr, decay: optax.lion(lr, weight_decay=decay), 0.01)
in_optax("muon.original", muon_of(True, None), 0.02)
in_optax("muon.match_rms_adamw", muon_of(True, 0.2), 0.05)
in_optax("muon.plain", muon_of(False, None), 0.02)
in_torch("muon.torch", lambda groups: torch.optim.Muon(groups), 0.02, names=("a", "c"), types=("f32",))
in_torch("muon.torch.match_rms_adamw", lambda groups: torch.optim.Muon(groups, adjust_lr_fn="match_rms_adamw"), 0.05,
         names=("a", "c"), types=("f32",))
in_optax("schedule_free", lambda n, lr, decay: schedule_free_adamw(lr, weight_decay=decay), 0.02, constant=True,
         evaluate=schedule_free_eval_params)
path = pathlib.Path(__file__).with_suffix(".safetensors")
metadata = {"torch": torch.__version__, "jax": jax.__version__, "optax": optax.__version__, "numpy": np.__version__}
save_file({key: np.ascontiguousarray(value) for key, value in out.items()}, path, metadata)
