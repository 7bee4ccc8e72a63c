"""Wick's jobs and its peers' (PyTorch, JAX, stock candle) in turn on the same machine: the table of ratios.

    python -m venv target/peers && target/peers/bin/pip install -r benches/requirements.txt
    target/peers/bin/python benches/run.py [ROUNDS] [--json]

The net is that of layer-stats: 2000×800 through ten tanh layers of 750, 700, … 300, f32, no bias. The times
are medians over rounds in which every job runs once. A peer that is not installed is left out and named.
`--json` prints the medians.
"""
import json
import os
import platform
import statistics
import subprocess
import sys

from common import SAMPLES, SIZES, cargo, medians, timed, torch_net

arguments = [a for a in sys.argv[1:] if not a.startswith("-")]
rounds = int(arguments[0]) if arguments and arguments[0].isdigit() else 15
cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
GOALS = {  # Wick's time over the peer's.
    "forward_statistics": {"jax forward": 1.0, "torch forward": 0.55, "candle forward": 0.45},
    "training": {"jax training": 0.95, "torch training": 0.75, "candle training": 0.55},
    "training_adamw": {"jax training_adamw": 0.95, "torch training_adamw": 0.75, "candle training_adamw": 0.5},
    "forward_statistics ": {"wick forward": 1.03},
    "training_statistics": {"wick training": 1.03},
    "candle_training_probed": {"candle training": 1.10},
    "candle_training_probed_closely": {"candle training": None},
    "tanh": {"jax tanh": 1.0, "torch tanh": 0.25},
    "adamw": {"torch adamw": 1.0, "candle adamw": None},
    "sgd": {"torch sgd": None, "candle sgd": None},
    "batch_1": {"torch batch_1": 1.0},
    "batch_32": {"torch batch_32": 1.0},
    "product": {"torch product": None, "jax product": None, "candle product": None},
}


def torch_jobs():
    import torch

    torch.set_num_threads(cores)
    weights, x, g, forward = torch_net(torch)
    wide = torch.randn(2000, 750)
    adamw = torch.optim.AdamW(weights, lr=1e-9, fused=True)
    sgd = torch.optim.SGD(weights, lr=1e-9, momentum=0.9, fused=True)

    def inference(x):
        with torch.no_grad():
            forward(x, weights)

    def training():
        for w in weights:
            w.grad = None
        (forward(x, weights) * g).sum().backward()

    def training_adamw():
        training()
        adamw.step()

    first = weights[0].detach()
    return f"PyTorch {torch.__version__}", {
        "forward": lambda: inference(x), "training": training, "training_adamw": training_adamw,
        "adamw": adamw.step, "sgd": sgd.step,
        "tanh": lambda: torch.tanh(wide), "batch_1": lambda: inference(x[:1]), "batch_32": lambda: inference(x[:32]),
        "product": lambda: x @ first.t(),
    }


def jax_jobs():
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(jax.random.key(42), 13)
    init = jax.nn.initializers.glorot_normal()
    weights = [init(k, s, jnp.float32) for k, s in zip(keys, SIZES)]
    x, g = jax.random.normal(keys[10], (2000, 800)), jax.random.normal(keys[11], (2000, 300))
    wide = jax.random.normal(keys[12], (2000, 750))

    def forward(weights, x):
        for w in weights:
            x = jnp.tanh(x @ w)
        return x

    gradient = jax.grad(lambda weights, x, g: (forward(weights, x) * g).sum())

    def adamw(weights, state, x, g):
        steps, first, second = state
        steps = steps + 1
        moved = []
        for w, m, v, d in zip(weights, first, second, gradient(weights, x, g)):
            m, v = 0.9 * m + 0.1 * d, 0.999 * v + 0.001 * d * d
            step = m / (1 - 0.9**steps) / (jnp.sqrt(v / (1 - 0.999**steps)) + 1e-8)
            moved.append((w * (1 - 1e-11) - 1e-9 * step, m, v))
        weights, first, second = (list(part) for part in zip(*moved))
        return weights, (steps, first, second)

    forward_jit, gradient_jit, tanh = jax.jit(forward), jax.jit(gradient), jax.jit(jnp.tanh)
    adamw_jit, product = jax.jit(adamw, donate_argnums=(0, 1)), jax.jit(lambda a, b: a @ b)
    zeros = lambda: [jnp.zeros_like(w) for w in weights]
    trained = [[jnp.copy(w) for w in weights], (jnp.float32(0), zeros(), zeros())]

    def training_adamw():
        trained[:] = adamw_jit(trained[0], trained[1], x, g)
        jax.block_until_ready(trained)

    return f"JAX {jax.__version__}", {
        "forward": lambda: forward_jit(weights, x).block_until_ready(),
        "training": lambda: jax.block_until_ready(gradient_jit(weights, x, g)),
        "training_adamw": training_adamw,
        "tanh": lambda: tanh(wide).block_until_ready(),
        "batch_1": lambda: forward_jit(weights, x[:1]).block_until_ready(),
        "batch_32": lambda: forward_jit(weights, x[:32]).block_until_ready(),
        "product": lambda: product(x, weights[0]).block_until_ready(),
    }


if arguments[:1] == ["memory-of-torch"]:
    import resource

    _, jobs = torch_jobs()
    with open("/proc/self/status") as status:
        before = next(float(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1e3
    for _ in range(3):
        jobs["training_adamw"]()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 - before)
    sys.exit()

wick = cargo("--bin", "jobs")


def name_of(job):
    """The library and the job: the jobs program has stock candle's jobs too."""
    return job.replace("candle_", "candle ") if job.startswith("candle_") else f"wick {job}"


runs = {name_of(job): lambda job=job: wick.time(job) for job in wick.ask("list").split()}
peers = []
for name, make in [("torch", torch_jobs), ("jax", jax_jobs)]:
    try:
        version, jobs = make()
        peers.append(version)
        runs |= {f"{name} {job}": lambda run=run: timed(run) for job, run in jobs.items()}
    except ImportError:
        peers.append(f"{name} is not installed")

peaks, sweeps = [], []


def measure_machine(number):
    if number % 4 == 0:
        peaks.append(wick.time("peak"))
        sweeps.append(wick.time("sweep"))


median = medians(runs, rounds, after=measure_machine)
wick.close()
peak, sweep = statistics.median(peaks), statistics.median(sweeps)


def peak_memory():
    """The peak memory of three training steps with AdamW, in MB beyond the process's memory before."""
    jobs = "memory\n" + "training_adamw\n" * 3 + "memory_peak\n"
    lines = subprocess.run(wick.command, input=jobs, capture_output=True, text=True).stdout.split()
    grown = {"wick": float(lines[-1]) - float(lines[0])}
    if any(name.startswith("torch") for name in runs):
        command = [sys.executable, __file__, "memory-of-torch"]
        answer = subprocess.run(command, capture_output=True, text=True).stdout.split()
        grown["torch"] = float(answer[-1])
    return grown


memory = peak_memory() if os.path.exists("/proc/self/status") else {}
if "--json" in sys.argv:
    result = {"median_ms": median, "peak_gflops": peak, "sweep_gb_s": sweep, "peak_memory_mb": memory}
    print(json.dumps(result | {"goals": GOALS, "peers": peers, "cores": cores, "rounds": rounds}, indent=1))
    sys.exit()

flop = 2 * SAMPLES * sum(i * o for i, o in SIZES)
print(f"{platform.processor() or platform.machine()}, {cores} cores; {', '.join(peers)}; candle 0.11")
print(f"medians of {rounds} interleaved rounds; FMA peak {peak:.0f} GFLOP/s, memory sweep {sweep:.0f} GB/s\n")
print(f"{'job':<31}{'ms':>9}   {'against':<24}{'ms':>9}{'ratio':>8}{'goal':>7}")
for job, against in GOALS.items():
    for peer, goal in against.items():
        if peer in median:
            own = median[name_of(job.strip())]
            goal = f"{goal:7.2f}" if goal else f"{'':>7}"
            print(f"{job:<31}{own:9.2f}   {peer:<24}{median[peer]:9.2f}{own / median[peer]:8.3f}{goal}")
fraction = flop / (median["wick forward_statistics"] * 1e-3) / (peak * 1e9)
print(f"\nforward with statistics: {fraction:.0%} of the FMA peak (goal 80 %)")
works = {"forward": flop, "deep": 2 * 2000 * 100 * 500**2, "wide": 2 * 500 * (8000 * 7500 + 7500 * 7000)}
rates = ", ".join(f"{name} {work / median[f'wick {name}'] / 1e6:.0f}" for name, work in works.items())
print(f"GFLOP/s, ten times as deep and as wide: {rates}")
print("peak memory of a training step with AdamW, MB: " + ", ".join(f"{k} {v:.0f}" for k, v in memory.items()))
