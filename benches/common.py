"""What the benchmarks share: the net, the jobs of a Wick program, the timing."""
import os
import statistics
import subprocess
import sys
import time

# The net of layer-stats, of tanh layers without biases, and its batch.
FEATURES, WIDTHS, SAMPLES = 800, [750, 700, 650, 600, 550, 500, 450, 400, 350, 300], 2000
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
SIZES = list(zip([FEATURES] + WIDTHS, WIDTHS))  # (fan_in, fan_out) of each layer.


class Jobs:
    """A Wick program that reads a job from stdin, runs it, and prints its milliseconds, line by line."""

    def __init__(self, *command, threads=None, variables={}):
        self.command = command
        env = os.environ | variables | ({"RAYON_NUM_THREADS": str(threads)} if threads else {})
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{' '.join(self.command)} ended at '{line}'")
        return answer.strip()

    def time(self, job):
        return float(self.ask(job))

    def time_second(self, job):
        """The second run: the first one allocates, and evicts the other jobs' data from the caches."""
        self.ask(job)
        return self.time(job)

    def close(self):
        self.process.stdin.close()


def cargo(*arguments, **options):
    """A program of the benchmarks, built in release mode, on some threads or on all."""
    return Jobs("cargo", "run", "--quiet", "--release", "-p", "wick-benches", *arguments, **options)


def timed(job):
    start = time.perf_counter()
    job()
    return (time.perf_counter() - start) * 1e3


def timed_second(job):
    job()
    return timed(job)


def medians(runs, rounds, backwards=False, after=lambda number: None):
    """The median of each run over rounds in which every run is called once. Every other round can go
    backwards. `after` is called with each round's number. Round 0 warms up and is left out."""
    times = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name in list(runs)[:: -1 if backwards and number % 2 else 1]:
            times[name].append(runs[name]())
        after(number)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def torch_net(torch, samples=SAMPLES, **where):
    """PyTorch's weights of the net, its batch, the gradient of its output, and its forward pass."""
    torch.manual_seed(42)
    weights = [torch.nn.init.xavier_normal_(torch.empty(o, i, **where)).requires_grad_() for i, o in SIZES]
    x, g = torch.randn(samples, FEATURES, **where), torch.randn(samples, WIDTHS[-1], **where)

    def forward(x, weights):
        for w in weights:
            x = torch.tanh(torch.nn.functional.linear(x, w))
        return x

    return weights, x, g, forward
