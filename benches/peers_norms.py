"""PyTorch's norms, softmax, dropout and cross entropy, as the jobs of `src/norms.rs`."""

SHAPES = {"": ((2048, 768), 10), "_128": ((2048, 128), 50), "_attention": ((8, 8, 512, 512), 1)}
OPS = {
    "layer_norm": ["", "_128"], "rms_norm": ["", "_128"], "softmax": ["", "_128", "_attention"], "log_softmax": [""],
    "dropout": ["", "_attention"], "cross_entropy": ["", "_128"],
}
# The rows of the table: Wick's job, and what it is held against.
NORM_GOALS = {
    f"{op}{shape}{way}": {
        f"torch {op}{shape}{way}": None if op in ("log_softmax", "cross_entropy") else (1.0, 1.0),
        f"candle {op}{shape}{way}": None,
    } | ({f"wick graph{shape}": None} if way else {})
    for op, shapes in OPS.items() for shape in shapes for way in ("", "_training")
}


def torch_norms(torch):
    """The jobs, each with the number of calls that are timed together."""
    functional, jobs = torch.nn.functional, {}

    def add(op, suffix):
        shape, count = SHAPES[suffix]
        width = shape[-1]
        made = []

        def forward():
            if not made:  # Not before the job is asked for.
                made.append([torch.randn(size, requires_grad=True) for size in (shape, (width,), (width,))])
                made.append(torch.arange(shape[0]) * 7919 % width)
            (x, w, b), classes = made
            if op == "layer_norm":
                return functional.layer_norm(x, (width,), w, b, 1e-5)
            if op == "rms_norm":
                return functional.rms_norm(x, (width,), w, 1e-5)
            if op == "softmax":
                return torch.softmax(x, -1)
            if op == "log_softmax":
                return torch.log_softmax(x, -1)
            if op == "dropout":
                return functional.dropout(x, 0.1)
            return functional.cross_entropy(x, classes)

        def inference():
            for _ in range(count):
                with torch.no_grad():
                    forward()

        def training():
            for _ in range(count):
                y = forward()
                for leaf in made[0]:
                    leaf.grad = None
                y.backward(torch.ones_like(y))

        jobs[f"{op}{suffix}"] = inference, count
        jobs[f"{op}{suffix}_training"] = training, count

    for op, suffixes in OPS.items():
        for suffix in suffixes:
            add(op, suffix)
    return jobs
