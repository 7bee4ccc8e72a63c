"""Wick's jobs and PyTorch's in turn on the same GPU: the table of ratios.

    python benches/gpu.py [ROUNDS] [--jobs PATH] [--divide N] [--json]

The net is that of layer-stats: 2000×800 through ten tanh layers of 750, 700, … 300, f32, no bias, TF32 off in
both. The times are medians over rounds (15) in which every job runs twice and the second run is timed, with
the device synchronized before and after each; every other round goes through the jobs backwards. Without
PyTorch, Wick's times alone are printed. `--jobs` is a `gpu-jobs` program that has been built already;
`--divide` makes the large sizes smaller, to try the script on a small device.
"""
import argparse
import importlib.metadata
import json
import shutil
import subprocess
import sys

from common import SAMPLES, Jobs, cargo, medians, timed_second, torch_net

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("rounds", nargs="?", type=int, default=15)
parser.add_argument("--jobs")
parser.add_argument("--divide", type=int, default=1)
parser.add_argument("--json", action="store_true")
options = parser.parse_args()

LARGE = 2**28 // options.divide
GOALS = {  # Wick's time over the peer's.
    ("wick forward_statistics", "torch forward_compiled"): 1.0,
    ("wick forward_statistics", "wick forward"): None,
    ("wick forward", "torch forward"): None,
    ("wick forward_graph", "torch forward_compiled"): None,
    ("wick training", "torch training"): 0.7,
    ("wick training", "torch training_compiled"): 1.0,
    ("wick training_graph", "torch training_compiled"): None,
    ("wick normals", "torch normals"): 1.0,
}


def cublas_of_wheels():
    for name in ("nvidia-cublas", "nvidia-cublas-cu13", "nvidia-cublas-cu12"):
        try:
            return f", cuBLAS {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            pass
    return ""


def torch_jobs():
    import torch

    if not torch.cuda.is_available():
        raise ImportError("it has no CUDA device")
    torch.backends.cuda.matmul.allow_tf32 = False
    weights, x, g, forward = torch_net(torch, max(SAMPLES // options.divide, 1), device="cuda")
    drawn = torch.empty(100_000_000 // options.divide, device="cuda")
    adamw = torch.optim.AdamW(weights, lr=1e-9, fused=True)

    def loss(x, weights):
        return (forward(x, weights) * g).sum()

    def training(loss):
        for w in weights:
            w.grad = None
        loss(x, weights).backward()
        adamw.step()

    def inference(forward):
        with torch.no_grad():
            forward(x, weights)

    def synchronized(job):
        def run():
            torch.cuda.synchronize()
            job()
            torch.cuda.synchronize()

        return run

    jobs = {
        "forward": lambda: inference(forward),
        "training": lambda: training(loss),
        "normals": drawn.normal_,
    }
    try:
        fast, fast_loss = torch.compile(forward), torch.compile(loss)
        inference(fast)
        training(fast_loss)
        jobs |= {"forward_compiled": lambda: inference(fast), "training_compiled": lambda: training(fast_loss)}
    except Exception as error:  # The compiler depends on what is installed.
        print(f"torch.compile does not work here: {str(error).splitlines()[0]}", file=sys.stderr)
    version = f"PyTorch {torch.__version__} (CUDA {torch.version.cuda}{cublas_of_wheels()})"
    return version, {name: synchronized(job) for name, job in jobs.items()}


features = ("--features", "cuda", "--bin", "gpu-jobs", "--")
divide = str(options.divide)
ours = Jobs(options.jobs, divide) if options.jobs else cargo(*features, divide)
wick = ours.ask("version")
runs = {f"wick {job}": lambda job=job: ours.time_second(job) for job in ours.ask("list").split()}
try:
    peer, jobs = torch_jobs()
    runs |= {f"torch {name}": lambda run=run: timed_second(run) for name, run in jobs.items()}
except ImportError as error:
    peer = f"no PyTorch: {error}"

median = medians(runs, options.rounds, backwards=True)
ours.close()
copied = 2 * 4 * LARGE / median["wick copy"] * 1e-6
read = 4 * LARGE / median["wick statistics"] * 1e-6
device = "unknown"
if shutil.which("nvidia-smi"):
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    device = (subprocess.run(query, capture_output=True, text=True).stdout.splitlines() or [device])[0]
if options.json:
    result = {"device": device, "wick": wick, "peer": peer, "median_ms": median, "copy_gb_s": copied, "statistics_gb_s": read}
    print(json.dumps(result | {"rounds": options.rounds, "divide": options.divide}, indent=1))
    sys.exit()
print(f"{device}; {wick}; {peer}; medians of {options.rounds} rounds")
for name, ms in median.items():
    print(f"{name:28} {ms:10.3f} ms")
print()
for (job, other), goal in GOALS.items():
    if job in median and other in median:
        wanted = "" if goal is None else f"   (goal: at most {goal:.2f})"
        print(f"{job} / {other}: {median[job] / median[other]:.2f}{wanted}")
print(f"statistics of {4 * LARGE / 2**30:.2f} GiB: {read:.0f} GB/s, {100 * read / copied:.0f} % of a copy's {copied:.0f}"
      "   (goal: at least 80 %)")
