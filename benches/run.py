"""Wick's jobs and its peers' (PyTorch, JAX, stock candle) in turn on the same machine: the table of ratios.

    python -m venv target/peers && target/peers/bin/pip install -r benches/requirements.txt
    target/peers/bin/python benches/run.py [ROUNDS] [--simd avx2|avx512] [--free-peers] [--jobs NAME,…] [--json]

The net is that of layer-stats: 2000×800 through ten tanh layers of 750, 700, … 300, f32, no bias. The steps
are whole training steps of a classifier with ReLU layers and biases: a batch of 32, 128 or 512 through
784-512-256-10, or of 32 through 64-32-32-10 (`step_small`), cross entropy with classes, AdamW. The epochs are of
60,000 images of bytes in batches of 128 through the former: Wick's trainer beside bare loops (`epoch_bare` loads
its batches as the trainer does, `epoch_bare_cut` finds them ready as `f32`), PyTorch with a DataLoader and with
tensors indexed in memory, and JAX. The loader is that of all batches of an epoch, the checkpoint one of that net,
held against the ten seconds between two, and the far batch that of step 10⁹. The times are
medians over rounds in which every job runs once. A peer that is not installed is left out and named.

`--simd` limits Wick to a level, and PyTorch and JAX with it, unless `--free-peers` leaves them as they are; a peer
that beats the peak of the level has not kept to it, and is named. (candle's products have no AVX-512.) `--jobs` runs the rows that begin with one
of the names. `--json` prints the medians.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

from common import CORES, SAMPLES, SIZES, cargo, medians, timed
from peers import LAYERS, LIMITS, jax_jobs, torch_jobs
from peers_norms import NORM_GOALS

# Wick's job, what it is held against, and the goal for its time over the other's: at AVX2 and at AVX-512.
GOALS = {
    "product": {"jax product": None, "torch product": None, "candle product": None},
    "forward_statistics": {
        "jax forward": (0.80, 0.84), "torch forward": (0.62, 0.72), "candle forward": None, "wick forward": (1.04, 1.03),
    },
    "training": {"jax training": (0.78, 0.90), "torch training": (0.72, 0.82), "candle training": (0.45, 0.55)},
    "training_statistics": {"wick training": (1.03, 1.03)},
    "training_adamw": {"jax training_adamw": None, "torch training_adamw": None, "candle training_adamw": None},
    "candle_training_probed": {"candle training": (1.10, 1.10)},
    "candle_training_probed_closely": {"candle training": None},
    "tanh": {"jax tanh": (1.0, 1.0), "torch tanh": (0.25, 0.25), "candle tanh": None},
    "adamw": {"torch adamw": (1.0, 1.0), "candle adamw": None},
    "sgd": {"torch sgd": None, "candle sgd": None},
    "batch_1": {"torch batch_1": (1.0, 1.0)},
    "batch_32": {"torch batch_32": (1.0, 1.0)},
    "step_32": {"jax step_32": (0.45, 0.45), "torch step_32": (0.40, 0.40), "candle step_32": (0.15, 0.15)},
    "step_128": {"jax step_128": (0.75, 0.75), "torch step_128": (0.60, 0.60), "candle step_128": (0.20, 0.20)},
    "step_512": {"jax step_512": (0.75, 0.75), "torch step_512": (0.75, 0.75), "candle step_512": (0.32, 0.32)},
    "step_small": {
        "jax step_small": (0.30, 0.30), "torch step_small": (0.06, 0.06), "candle1 step_small": (0.30, 0.30),
    },
    "epoch": {
        "jax epoch": (0.85, 0.85), "torch epoch": (0.60, 0.60), "torch epoch_loader": (0.60, 0.60),
        "wick epoch_bare": (1.02, 1.02), "wick epoch_bare_cut": None,
    },
    "attention_forward": {"torch attention_forward": (1.0, 1.0), "candle attention_forward": None},
    "attention_causal_forward": {"torch attention_causal_forward": (1.0, 1.0)},
    "attention_training": {"torch attention_training": (1.0, 1.0), "candle attention_training": None},
    "attention_causal_training": {"torch attention_causal_training": (1.0, 1.0)},
    "gpt_forward": {"torch gpt_forward": None},
    "gpt_step": {"torch gpt_step": (1.0, 1.0), "candle gpt_step": (0.40, 0.40)},
    "leaves_8": {"wick epoch": None},
    "loader": {"wick epoch_bare": (0.02, 0.02)},
    "checkpoint": {"wick ten_seconds": (0.01, 0.01)},
    "far_batch": {"wick millisecond": (1.0, 1.0)},
    **{f"{layer}_{way}": {f"torch {layer}_{way}": None}
       for layer in LAYERS for way in ("forward", "input", "weight") if (layer, way) != ("conv_first", "input")},
    "conv_first": {"torch conv_first": (1.0, 1.0), "candle conv_first": (0.11, 0.11)},
    "conv_second": {"torch conv_second": (1.0, 1.0), "candle conv_second": (0.11, 0.11)},
    "conv_3x3": {"torch conv_3x3": None, "candle conv_3x3": None},
    "conv_3x3_stride": {"torch conv_3x3_stride": None, "candle conv_3x3_stride": None},
    "conv_deep": {"torch conv_deep": None, "candle conv_deep": None},
    "conv_depthwise": {"torch conv_depthwise": (1.2, 1.2)},
    "conv_depthwise_stride": {"torch conv_depthwise_stride": (1.2, 1.2)},
    "conv_pointwise": {"torch conv_pointwise": (1.2, 1.2), "candle conv_pointwise": None},
    "pool_2x2": {"torch pool_2x2": None, "candle pool_2x2": None},
    "pool_3x3": {"torch pool_3x3": None},
    "cnn_step": {"torch cnn_step": None, "candle cnn_step": None},
    "cnn_trainer": {"torch cnn_trainer": (1.0, 1.0)},
} | NORM_GOALS
LEVELS = ["avx2", "avx512"]
# The least share of the level's peak, in percent.
SHARES = {
    "wick product": (88, 90), "wick1 product": (90, 92), "wick forward_statistics": (82, 90), "wick training": (84, 88),
}
FORWARD = 2 * SAMPLES * sum(i * o for i, o in SIZES)
BACKWARD = FORWARD + 2 * SAMPLES * sum(i * o for i, o in SIZES[1:])  # The input wants no gradient.
WORKS = {
    "product": 2 * SAMPLES * SIZES[0][0] * SIZES[0][1], "forward": FORWARD, "forward_statistics": FORWARD,
    "training": FORWARD + BACKWARD, "deep": 2 * 2000 * 100 * 500**2, "wide": 2 * 500 * (8000 * 7500 + 7500 * 7000),
}


def parse():
    parser = argparse.ArgumentParser(description="Times Wick's jobs and its peers' in turn.")
    parser.add_argument("rounds", nargs="?", type=int, default=15)
    parser.add_argument("--simd", choices=LEVELS, help="the level that Wick and its peers are held to")
    parser.add_argument("--free-peers", action="store_true", help="leaves the peers as they are")
    parser.add_argument("--jobs", default="", help="the rows to run, by the beginnings of their names")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory-of-torch", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def memory_of_torch():
    """Prints the MB that PyTorch's training steps take, in a process of their own."""
    def megabytes(field):
        with open("/proc/self/status") as status:
            return next(float(line.split()[1]) for line in status if line.startswith(field)) / 1e3

    _, jobs, _ = torch_jobs()
    before = megabytes("VmRSS")
    for _ in range(3):
        jobs["training_adamw"]()
    print(megabytes("VmHWM") - before)


def peak_memory(wick, with_torch):
    """The peak memory of three training steps with AdamW, in MB beyond the process's memory before."""
    jobs = "memory\n" + "training_adamw\n" * 3 + "memory_peak\n"
    lines = subprocess.run(wick.command, input=jobs, capture_output=True, text=True).stdout.split()
    grown = {"wick": float(lines[-1]) - float(lines[0])}
    if with_torch:
        command = [sys.executable, __file__, "--memory-of-torch"]
        grown["torch"] = float(subprocess.run(command, capture_output=True, text=True).stdout.split()[-1])
    return grown


def name_of(job, wick="wick", candle="candle"):
    """The library and the job: the jobs program has stock candle's jobs too."""
    is_candle = job.startswith("candle_") and "probed" not in job
    return f"{candle} {job.removeprefix('candle_')}" if is_candle else f"{wick} {job}"


def processor():
    """The processor's name, where the system tells it."""
    try:
        with open("/proc/cpuinfo") as info:
            return next(line.split(":")[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main():
    options = parse()
    if options.memory_of_torch:
        return memory_of_torch()
    if options.simd:
        os.environ["WICK_SIMD"] = options.simd
        os.environ.update({} if options.free_peers else LIMITS[options.simd])
    # Candle's jobs run in a process of their own, whose threads wait for the next op as long as candle lets them.
    stock = {"CANDLE_BARRIER_POOL_SPIN_LIMIT": "25000"}
    wick, candle = cargo("--bin", "jobs"), cargo("--bin", "jobs", variables=stock)
    one_thread = cargo("--bin", "jobs", threads=1)
    simd = wick.ask("simd")
    level = LEVELS.index(simd) if simd in LEVELS else None

    beginnings = tuple(options.jobs.split(","))
    rows = {job: peers for job, peers in GOALS.items() if job.startswith(beginnings)}
    wanted = {f"wick {job}" for job in rows} | {peer for peers in rows.values() for peer in peers}
    if not options.jobs:
        wanted |= {"wick forward", "wick deep", "wick wide"}
    wanted |= {name.replace("wick", "wick1") for name in wanted if name == "wick product" or "step" in name}

    runs = {"wick ten_seconds": lambda: 10_000.0, "wick millisecond": lambda: 1.0}
    for job in wick.ask("list").split():
        name = name_of(job)
        process = wick if name.startswith("wick") and "probed" not in job else candle
        runs[name] = lambda job=job, process=process: process.time(job)
        runs[name_of(job, "wick1", "candle1")] = lambda job=job: one_thread.time(job)
    peers = []
    for name, make in [("torch", torch_jobs), ("jax", jax_jobs)]:
        try:
            version, jobs, steps = make()
        except ImportError:
            peers.append(f"{name} is not installed")
            continue
        peers.append(version)
        counts = {"cnn_step": 20, "cnn_trainer": 200}
        runs |= {f"{name} {job}": lambda job=job, run=run: timed(run) / counts.get(job, 1) for job, run in jobs.items()}
        for job, (run, count) in steps.items():
            runs[f"{name} {job}"] = lambda run=run, count=count: timed(run) / count
    # Library after library, with a pause between, since threads spin for a while after a job.
    runs = {name: runs[name] for name in sorted(runs, key=lambda name: name.split()[0]) if name in wanted}
    firsts = {name.split()[0]: name for name in reversed(runs)}
    for name in firsts.values():
        runs[name] = lambda run=runs[name]: (time.sleep(0.3), run())[1]

    peaks, peaks_1, sweeps = [], [], []

    def measure_machine(number):
        if number % 4 == 0:
            peaks.append(wick.time("peak"))
            peaks_1.append(one_thread.time("peak"))
            sweeps.append(wick.time("sweep"))

    median = medians(runs, options.rounds, after=measure_machine)
    for process in [wick, candle, one_thread]:
        process.close()
    peak, peak_1, sweep = map(statistics.median, (peaks, peaks_1, sweeps))
    linux = os.path.exists("/proc/self/status") and not options.jobs
    memory = peak_memory(wick, "torch training" in runs) if linux else {}

    if options.json:
        result = {"median_ms": median, "peak_gflops": peak, "peak_gflops_1": peak_1, "sweep_gb_s": sweep}
        result |= {"peak_memory_mb": memory, "peers": peers, "cores": CORES, "rounds": options.rounds}
        return print(json.dumps(result | {"processor": processor(), "simd": simd}, indent=1))

    held = ", PyTorch and JAX told to" if options.simd and not options.free_peers else ""
    print(f"{processor()}, {CORES} cores; Wick at {simd}{held}; {', '.join(peers)}; candle 0.11")
    print(f"medians of {options.rounds} interleaved rounds; FMA peak of {simd} {peak:.0f} GFLOP/s, of one thread "
          f"{peak_1:.0f}; memory sweep {sweep:.0f} GB/s\n")
    print(f"{'job':<31}{'ms':>9}   {'against':<24}{'ms':>9}{'ratio':>8}{'goal':>7}")
    for job, against in rows.items():
        for peer, goals in against.items():
            if peer in median:
                own = median[name_of(job)]
                goal = f"{goals[level]:7.2f}" if goals and level is not None else ""
                print(f"{job:<31}{own:9.3f}   {peer:<24}{median[peer]:9.3f}{own / median[peer]:8.3f}{goal}")
    print()
    for name, ms in median.items():
        library, job = name.split()
        limit = peak_1 if library.endswith("1") else peak
        if job not in WORKS:
            continue
        share = WORKS[job] / (ms * 1e6) / limit
        goal = f" (goal {SHARES[name][level]} %)" if name in SHARES and level is not None else ""
        if library.startswith("wick"):
            print(f"{name}: {WORKS[job] / (ms * 1e6):.0f} GFLOP/s, {share:.0%} of the peak{goal}")
        elif share > 1.02:
            print(f"{name} runs at {share:.0%} of the peak of {simd}: it is not held to that level")
    if memory:
        grown = ", ".join(f"{k} {v:.0f}" for k, v in memory.items())
        print(f"peak memory of a training step with AdamW, MB: {grown}")


if __name__ == "__main__":
    main()
