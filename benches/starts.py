"""Starting a big model: Wick and PyTorch in turn on the same machine, medians of interleaved rounds.

    cargo build --release --workspace --bins
    python benches/starts.py [ROUNDS] [--folder DIR] [--parameters 7B|1B|0.1B] [--shard-size 5GB] [--only draw|files]

`draw` times four tensors of 8192×8192 normals: Wick's with the manifest, PyTorch's `normal_` alone. Each job runs
twice and the second run counts, whose memory is fresh to the process and not to the machine: a virtual machine
that hands freed memory back to its host waits for it in the first run. `first` is the median of those. `files`
times `init-weights` as it writes a model of the Llama kind in bf16 in shards into a folder of `--folder`, beside
copying the finished shards with fsync, each the second of two runs; and its peak memory beyond that of a run that draws one number. The
folder needs twice the room of the shards. Without torch, its column says so.
"""
import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from common import CORES, Jobs, medians, timed

SIDE, TENSORS = 8192, 4
RELEASE = pathlib.Path(__file__).resolve().parent.parent / "target" / "release"
# Width, width of the feed-forward layers, layers, vocabulary.
MODELS = {"7B": (4096, 11008, 32, 32000), "1B": (2048, 5632, 22, 32000), "0.1B": (768, 2048, 12, 32000)}


def torch_peers():
    """PyTorch's jobs and its version; no jobs without torch."""
    try:
        import torch
    except ImportError:
        return {}, "torch is not installed"
    torch.set_num_threads(CORES)
    types = {"f32": torch.float32, "bf16": torch.bfloat16}

    def job(dtype):
        start = time.perf_counter()
        tensors = [torch.empty(SIDE, SIDE, dtype=dtype).normal_(0, 0.02) for _ in range(TENSORS)]
        milliseconds = (time.perf_counter() - start) * 1e3
        del tensors  # After the clock has stopped, as Wick's are.
        return milliseconds

    return {name: lambda dtype=dtype: job(dtype) for name, dtype in types.items()}, f"torch {torch.__version__}"


def draw(rounds):
    wick = Jobs(str(RELEASE / "starts"))
    peers, version = torch_peers()
    runs, alone, first = {}, {name: [] for name in ("f32", "bf16")}, {}

    def second(name, job):
        """The time of the second run; that of the first is kept."""
        def run():
            first.setdefault(name, []).append(job())
            return job()
        runs[name] = run

    for name in alone:
        def run(name=name):
            both, manifest = map(float, wick.ask(name).split())
            alone[name].append(manifest)
            return both
        second(("wick", name), run)
        if name in peers:
            second(("torch", name), peers[name])
    median = medians(runs, rounds, backwards=True)
    wick.close()
    print(f"{TENSORS} × {SIDE}² normals, medians of {rounds} interleaved rounds, {CORES} cores, {version}")
    print(f"{'type':<8}{'wick ms':>10}{'manifest':>10}{'torch ms':>10}{'ratio':>8}{'goal':>7}{'first':>8}{'torch':>8}")
    for name, manifest in alone.items():
        own, torch_ms = median["wick", name], median.get(("torch", name))
        row = f"{torch_ms:10.0f}{own / torch_ms:8.3f}" if torch_ms else f"{'–':>10}{'–':>8}"
        firsts = [statistics.median(first[peer, name]) for peer in ("wick", "torch") if (peer, name) in first]
        row += f"{0.5:7.2f}" + "".join(f"{milliseconds:8.0f}" for milliseconds in firsts)
        print(f"{name:<8}{own:10.0f}{statistics.median(manifest):10.0f}{row}")


def shapes(parameters):
    """The tensors of a model of the Llama kind, as arguments of init-weights; the largest one's numbers."""
    width, inner, layers, vocabulary = MODELS[parameters]
    tensors = {"model.embed_tokens.weight": (vocabulary, width)}
    for layer in range(layers):
        name = f"model.layers.{layer}."
        tensors |= {f"{name}self_attn.{part}_proj.weight": (width, width) for part in "qkvo"}
        tensors |= {f"{name}mlp.{part}_proj.weight": (inner, width) for part in ("gate", "up")}
        tensors[f"{name}mlp.down_proj.weight"] = (width, inner)
        tensors |= {f"{name}{part}_layernorm.weight": (width,) for part in ("input", "post_attention")}
    tensors |= {"model.norm.weight": (width,), "lm_head.weight": (vocabulary, width)}
    texts = [f"{name}={'x'.join(map(str, shape))}" for name, shape in tensors.items()]
    arguments = [part for text in texts for part in ("--shape", text)]
    return arguments + ["--preset", "llama", "--layers", str(layers)], vocabulary * width


def peak_of(command):
    """The peak memory of a run, in bytes, and its milliseconds."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command[:5])} … ended with status {status}")
    return usage.ru_maxrss * 1024, (time.perf_counter() - start) * 1e3


def copy(source, target):
    """Copies the files of a folder, each with fsync, and syncs the folder."""
    for path in sorted(source.iterdir()):
        shutil.copyfile(path, target / path.name)
        with open(target / path.name, "rb+") as file:
            os.fsync(file.fileno())
    descriptor = os.open(target, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


def files(rounds, options):
    program = str(RELEASE / "init-weights")
    arguments, largest = shapes(options.parameters)
    own, _ = peak_of([program, "--shape", "w=1", "--init", "ones"])
    times, peaks, size, count = {"write": [], "copy": []}, [], 0, 0
    for number in range(rounds):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            written, copied = pathlib.Path(folder, "written"), pathlib.Path(folder, "copied")
            written.mkdir(), copied.mkdir()
            out = ["--dtype", "bf16", "--out", str(written / "model.safetensors")]
            for _ in range(2):
                empty(written)
                os.sync()
                peak, took = peak_of([program, *arguments, *out, "--shard-size", options.shard_size])
            peaks.append(peak - own)
            times["write"].append(took)
            for _ in range(2):
                empty(copied)
                os.sync()
                took = timed(lambda: copy(written, copied))
            times["copy"].append(took)
            names = sorted(path.name for path in written.iterdir())
            size, count = sum(path.stat().st_size for path in written.iterdir()), len(names)
    median = {name: statistics.median(values) for name, values in times.items()}
    print(f"init-weights, {options.parameters} parameters in bf16, {size / 1e9:.2f} GB in {count} files ({names[-1]} …), "
          f"medians of {rounds} rounds")
    print(f"{'write s':>10}{'copy s':>10}{'ratio':>8}{'goal':>7}")
    print(f"{median['write'] / 1e3:10.2f}{median['copy'] / 1e3:10.2f}{median['write'] / median['copy']:8.3f}{1.2:7.2f}")
    print("all:", " ".join(f"{write / 1e3:.1f}/{copied / 1e3:.1f}" for write, copied in zip(*times.values())))
    print(f"peak memory: {statistics.median(peaks) / 1e6:.0f} MB beyond the program's own {own / 1e6:.0f} MB, "
          f"{statistics.median(peaks) / (2 * largest):.2f} of the largest tensor (goal 3)")


def main():
    parser = argparse.ArgumentParser(description="Times the start of a big model.")
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where the shards are written and copied")
    parser.add_argument("--parameters", choices=MODELS, default="1B")
    parser.add_argument("--shard-size", default="5GB")
    parser.add_argument("--only", choices=["draw", "files"])
    options = parser.parse_args()
    # The files first: a child's peak memory begins at that of this process, which drawing makes large.
    if options.only != "draw":
        files(options.rounds, options)
    if options.only != "files":
        draw(options.rounds)


if __name__ == "__main__":
    main()
