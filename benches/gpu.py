"""Wick's jobs and PyTorch's in turn on the same GPU: the table of ratios.

    python benches/gpu.py [ROUNDS] [--jobs PATH] [--divide N] [--json]

The job is that of layer-stats: 2000×800 through ten tanh layers of 750, 700, … 300, f32, no bias, TF32 off in both. Medians over
rounds (15) in which every job runs twice, the device waited for before and after each, and the second run is timed; every other
round goes through the jobs backwards. Without PyTorch, Wick's times alone. `--jobs` is the program `gpu-jobs` where it has been built
already; `--divide` makes the large sizes smaller, for a try on a small device.
"""
import argparse
import importlib.metadata
import json
import shutil
import statistics
import subprocess
import sys
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("rounds", nargs="?", type=int, default=15)
parser.add_argument("--jobs")
parser.add_argument("--divide", type=int, default=1)
parser.add_argument("--json", action="store_true")
options = parser.parse_args()

WIDTHS = [750, 700, 650, 600, 550, 500, 450, 400, 350, 300]
SIZES = list(zip([800] + WIDTHS, WIDTHS))
LARGE = 2**28 // options.divide
GOALS = {  # Ours over the peer's.
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
    torch.manual_seed(42)
    torch.backends.cuda.matmul.allow_tf32 = False
    on = {"device": "cuda"}
    weights = [torch.nn.init.xavier_normal_(torch.empty(o, i, **on)).requires_grad_() for i, o in SIZES]
    samples = max(2000 // options.divide, 1)
    x, g = torch.randn(samples, 800, **on), torch.randn(samples, 300, **on)
    drawn = torch.empty(100_000_000 // options.divide, **on)
    adamw = torch.optim.AdamW(weights, lr=1e-9, fused=True)

    def forward(x, weights):
        for w in weights:
            x = torch.tanh(torch.nn.functional.linear(x, w))
        return x

    def loss(x, weights):
        return (forward(x, weights) * g).sum()

    def training(loss):
        for w in weights:
            w.grad = None
        loss(x, weights).backward()
        adamw.step()

    def quietly(forward):
        with torch.no_grad():
            forward(x, weights)

    def waiting(job):
        def run():
            torch.cuda.synchronize()
            job()
            torch.cuda.synchronize()

        return run

    jobs = {
        "forward": lambda: quietly(forward),
        "training": lambda: training(loss),
        "normals": drawn.normal_,
    }
    try:
        fast, fast_loss = torch.compile(forward), torch.compile(loss)
        quietly(fast)
        training(fast_loss)
        jobs |= {"forward_compiled": lambda: quietly(fast), "training_compiled": lambda: training(fast_loss)}
    except Exception as error:  # It compiles with what is installed, if anything.
        print(f"torch.compile does not work here: {str(error).splitlines()[0]}", file=sys.stderr)
    version = f"PyTorch {torch.__version__} (CUDA {torch.version.cuda}{cublas_of_wheels()})"
    return version, {name: waiting(job) for name, job in jobs.items()}


command = [options.jobs] if options.jobs else [
    "cargo", "run", "--quiet", "--release", "-p", "wick-benches", "--features", "cuda", "--bin", "gpu-jobs", "--",
]
ours = subprocess.Popen(command + [str(options.divide)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(line):
    ours.stdin.write(line + "\n")
    ours.stdin.flush()
    answer = ours.stdout.readline()
    if not answer:
        sys.exit(f"gpu-jobs ended at '{line}'")
    return answer.strip()


def warm(job):
    """The second run: the first of a job makes what it needs."""
    ask(job)
    return float(ask(job))


def timed(job):
    """The second run, as of ours."""
    job()
    start = time.perf_counter()
    job()
    return (time.perf_counter() - start) * 1e3


wick = ask("version")
runs = {f"wick {job}": lambda job=job: warm(job) for job in ask("list").split()}
try:
    peer, jobs = torch_jobs()
    runs |= {f"torch {name}": lambda run=run: timed(run) for name, run in jobs.items()}
except ImportError as error:
    peer = f"no PyTorch: {error}"

times = {name: [] for name in runs}
for number in range(options.rounds + 1):  # The first round warms up.
    for name in list(runs)[:: -1 if number % 2 else 1]:
        times[name].append(runs[name]())
ours.stdin.close()
median = {name: statistics.median(values[1:]) for name, values in times.items()}
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
