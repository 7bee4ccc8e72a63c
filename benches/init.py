"""Drawing initial weights: Wick, candle and PyTorch in turn on the same machine, medians of interleaved rounds.

Each job runs twice, and the second run counts: so nobody pays for what the other has pushed out of the caches. Uniforms are
compared with writing as many numbers, too.

    pip install -r benches/requirements.txt && python benches/init.py [ROUNDS]

Where torch is not installed, its column says so.
"""
import os
import statistics
import subprocess
import sys
import time

COUNT = 3_225_000  # The weights of the layer-stats job.
rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15

try:
    import torch

    torch.set_num_threads(os.cpu_count())
    peers = {
        "normal": lambda: torch.empty(COUNT).normal_(),
        "uniform": lambda: torch.empty(COUNT).uniform_(-1, 1),
        "truncated_normal": lambda: torch.nn.init.trunc_normal_(torch.empty(COUNT)),
        "torch_stream_normal": lambda: torch.empty(COUNT).normal_(),
        "orthogonal": lambda: torch.nn.init.orthogonal_(torch.empty(800, 800)),
        "write": lambda: torch.zeros(COUNT),
    }
    peer = f"torch {torch.__version__}, {torch.get_num_threads()} threads"
except ImportError:
    peers, peer = {}, "torch is not installed"

goals = {"normal": 1 / 4, "truncated_normal": 1 / 20, "torch_stream_normal": 1, "orthogonal": 1}
ours = subprocess.Popen(
    ["cargo", "bench", "--quiet", "-p", "wick-init", "--bench", "draw"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
)


def wick(job):
    answered(job)
    return answered(job)


def answered(job):
    ours.stdin.write(job + "\n")
    ours.stdin.flush()
    return float(ours.stdout.readline())


def timed(job):
    job()
    start = time.perf_counter()
    job()
    return (time.perf_counter() - start) * 1e3


jobs = ["normal", "uniform", "truncated_normal", "write", "torch_stream_normal", "orthogonal"]
times = {}
for n in range(rounds + 1):  # The first round warms up.
    for job in jobs + ["candle_randn"]:
        times.setdefault(("wick", job), []).append(wick(job))
        if job in peers:
            times.setdefault(("torch", job), []).append(timed(peers[job]))
ours.stdin.close()
median = {key: statistics.median(values[1:]) for key, values in times.items()}

print(f"{COUNT} f32 (orthogonal: 800×800), medians of {rounds} interleaved rounds, {os.cpu_count()} cores, {peer}")
print(f"{'job':<22}{'wick ms':>10}{'torch ms':>10}{'ratio':>8}{'goal':>7}")
for job in jobs:
    torch_ms = median.get(("torch", job))
    goal = f"{goals[job]:.2f}" if job in goals else ""
    row = f"{torch_ms:10.2f}{median['wick', job] / torch_ms:8.3f}" if torch_ms else f"{'–':>10}{'–':>8}"
    print(f"{job:<22}{median['wick', job]:10.2f}{row}{goal:>7}")
write = median["wick", "write"]
print(f"{'uniform':<22}{median['wick', 'uniform']:10.2f}   against writing zeros ({write:.2f} ms): {median['wick', 'uniform'] / write:.2f}")
ratio = median["wick", "normal"] / median["wick", "candle_randn"]
print(f"{'candle randn':<22}{median['wick', 'candle_randn']:10.2f}   normal against it: {ratio:.3f} (goal 0.125)")
