"""Drawing initial weights: Wick, candle and PyTorch in turn on the same machine, medians of interleaved
rounds.

Each job runs twice and the second run counts, so that no job pays for what another one evicted from the
caches. Uniforms are also compared with writing as many numbers.

    pip install -r benches/requirements.txt && python benches/init.py [ROUNDS]

Without torch, its column says so.
"""
import os
import sys

from common import Jobs, medians, timed_second

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
wick = Jobs("cargo", "bench", "--quiet", "-p", "wick-init", "--bench", "draw")
jobs = ["normal", "uniform", "truncated_normal", "write", "torch_stream_normal", "orthogonal"]
runs = {}
for job in jobs + ["candle_randn"]:
    runs["wick", job] = lambda job=job: wick.time_second(job)
    if job in peers:
        runs["torch", job] = lambda job=job: timed_second(peers[job])
median = medians(runs, rounds)
wick.close()

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
