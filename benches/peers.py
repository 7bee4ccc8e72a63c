"""The jobs of PyTorch and JAX, and what holds both to the vectors of a level."""
import os

from common import CORES, SIZES, torch_net
from peers_norms import torch_norms

# What limits a library to a level, before it is loaded. PyTorch's products are MKL's or oneDNN's.
LIMITS = {
    "avx2": {
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2", "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "avx512": {},
}
# Samples of the data, and the training steps: features, widths, batch, steps that are timed together (as in
# `src/step.rs`).
DATA = 4096
STEPS = {
    "step_32": (784, [512, 256, 10], 32, 20),
    "step_128": (784, [512, 256, 10], 128, 10),
    "step_512": (784, [512, 256, 10], 512, 5),
    "step_small": (64, [32, 32, 10], 32, 200),
}
RATE = 1e-9
# Whole epochs, of as many images of bytes as Fashion-MNIST has (as in `src/epochs.rs`), and the batch.
IMAGES, BATCH = 60_000, 128


def torch_jobs():
    import torch

    torch.set_num_threads(CORES)
    weights, x, g, forward = torch_net(torch)
    wide = torch.randn(2000, 750)
    adamw = torch.optim.AdamW(weights, lr=RATE, fused=True)
    sgd = torch.optim.SGD(weights, lr=RATE, momentum=0.9, fused=True)

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
    jobs = {
        "forward": lambda: inference(x), "training": training, "training_adamw": training_adamw,
        "adamw": adamw.step, "sgd": sgd.step,
        "tanh": lambda: torch.tanh(wide), "batch_1": lambda: inference(x[:1]), "batch_32": lambda: inference(x[:32]),
        "product": lambda: x @ first.t(),
    }
    jobs |= torch_epochs(torch)
    jobs |= torch_attention(torch)
    jobs |= torch_images(torch)
    level = torch.backends.cpu.get_cpu_capability()
    steps = {name: torch_steps(torch, *step) for name, step in STEPS.items()}
    return f"PyTorch {torch.__version__} ({level})", jobs, steps | torch_norms(torch)


def torch_classifier(torch, features, widths):
    sizes = list(zip([features] + widths, widths))
    layers = [layer for i, o in sizes for layer in (torch.nn.Linear(i, o), torch.nn.ReLU())][:-1]
    model = torch.nn.Sequential(*layers)
    return model, torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)


def torch_epochs(torch):
    """An epoch by a DataLoader, and one by tensors that are indexed in memory."""
    features, widths, *_ = STEPS["step_128"]
    model, adamw = torch_classifier(torch, features, widths)
    images = torch.randint(0, 256, (IMAGES, features), dtype=torch.uint8)
    classes = torch.arange(IMAGES) * 7919 % 10
    data = torch.utils.data.TensorDataset(images, classes)
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=0)

    def step(x, y):
        adamw.zero_grad()
        torch.nn.functional.cross_entropy(model(x.float().div_(255)), y).backward()
        adamw.step()

    def epoch_loader():
        for x, y in loader:
            step(x, y)

    def epoch():
        for chosen in torch.randperm(IMAGES).split(BATCH):
            step(images[chosen], classes[chosen])

    return {"epoch_loader": epoch_loader, "epoch": epoch}


def torch_attention(torch):
    """Attention, and a step of a small GPT in eager mode (as in `src/attention.rs`)."""
    functional = torch.nn.functional
    q, k, v = (torch.randn(4, 8, 512, 64, requires_grad=True) for _ in range(3))
    cotangent = torch.randn(4, 8, 512, 64)

    def forward(causal):
        with torch.no_grad():
            functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

    def training(causal):
        q.grad = k.grad = v.grad = None
        functional.scaled_dot_product_attention(q, k, v, is_causal=causal).backward(cotangent)

    layers, width, heads, context, vocabulary, batch = 4, 128, 4, 128, 96, 16

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1, self.ln_2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
            self.c_attn, self.c_proj = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
            self.c_fc, self.mlp_c_proj = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

        def forward(self, x):
            parts = self.c_attn(self.ln_1(x)).split(width, dim=2)
            q, k, v = (part.view(*x.shape[:2], heads, width // heads).transpose(1, 2) for part in parts)
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.c_proj(mixed.transpose(1, 2).reshape(x.shape))
            return x + self.mlp_c_proj(functional.gelu(self.c_fc(self.ln_2(x))))

    class Gpt(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.wpe = torch.nn.Embedding(vocabulary, width), torch.nn.Embedding(context, width)
            self.blocks = torch.nn.ModuleList(Block() for _ in range(layers))
            self.ln_f, self.lm_head = torch.nn.LayerNorm(width), torch.nn.Linear(width, vocabulary, bias=False)

        def forward(self, tokens):
            x = self.wte(tokens) + self.wpe.weight[:tokens.shape[1]]
            for block in self.blocks:
                x = block(x)
            return self.lm_head(self.ln_f(x)).flatten(0, 1)

    model = Gpt()
    adamw = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)
    tokens = (torch.arange(batch * context) * 7919 % vocabulary).view(batch, context)
    following = ((torch.arange(batch * context) + 1) * 7919 % vocabulary)

    def step():
        adamw.zero_grad()
        functional.cross_entropy(model(tokens), following).backward()
        adamw.step()

    def gpt_forward():
        with torch.no_grad():
            model(tokens)

    return {
        "attention_forward": lambda: forward(False), "attention_causal_forward": lambda: forward(True),
        "attention_training": lambda: training(False), "attention_causal_training": lambda: training(True),
        "gpt_step": step, "gpt_forward": gpt_forward,
    }


# Convolutions: batch, channels, size, output channels, kernel, padding, stride, groups, whether the input wants a
# gradient; and pools: batch, channels, size, kernel, stride, padding (as in `src/images.rs`).
LAYERS = {
    "conv_first": (64, 1, 28, 32, 5, 0, 1, 1, False), "conv_second": (64, 32, 12, 64, 5, 0, 1, 1, True),
    "conv_3x3": (32, 64, 28, 64, 3, 1, 1, 1, True), "conv_3x3_stride": (32, 64, 28, 128, 3, 1, 2, 1, True),
    "conv_deep": (8, 256, 14, 256, 3, 1, 1, 1, True), "conv_depthwise": (32, 64, 28, 64, 3, 1, 1, 64, True),
    "conv_depthwise_stride": (32, 64, 28, 64, 3, 1, 2, 64, True), "conv_pointwise": (32, 64, 28, 128, 1, 0, 1, 1, True),
}
POOLS = {"pool_2x2": (64, 32, 24, 2, 2, 0), "pool_3x3": (32, 64, 28, 3, 2, 1)}


def torch_images(torch):
    """The layers forward, and forward and backward, and steps of candle's MNIST CNN without its dropout, of which 20
    (and 200 with a batch from 60,000 images) are one job."""
    functional, jobs = torch.nn.functional, {}

    def layer(n, c, size, out, k, padding, stride, groups, wants):
        x = torch.randn(n, c, size, size, requires_grad=wants)
        w, b = torch.randn(out, c // groups, k, k, requires_grad=True), torch.randn(out, requires_grad=True)
        inputs = [w, b, x] if wants else [w, b]
        conv = lambda: functional.conv2d(x, w, b, stride, padding, 1, groups)
        g = torch.randn_like(conv())

        def forward():
            with torch.no_grad():
                conv()

        def training(*inputs):
            return lambda: torch.autograd.grad(conv(), inputs, g)

        return {"_forward": forward, "_weight": training(w), "": training(*inputs)} | (
            {"_input": training(x)} if wants else {}
        )

    for name, sizes in LAYERS.items():
        jobs |= {name + way: job for way, job in layer(*sizes).items()}
    for name, (n, c, size, k, stride, padding) in POOLS.items():
        x = torch.randn(n, c, size, size, requires_grad=True)
        pool = lambda x=x, k=k, stride=stride, padding=padding: functional.max_pool2d(x, k, stride, padding)
        g = torch.randn_like(pool())
        jobs[name] = lambda x=x, g=g, pool=pool: torch.autograd.grad(pool(), x, g)

    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 32, 5), nn.MaxPool2d(2), nn.Conv2d(32, 64, 5), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10),
    )
    adamw = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)
    images = torch.randint(0, 256, (IMAGES, 1, 28, 28), dtype=torch.uint8)
    classes, fixed = torch.arange(IMAGES) * 7919 % 10, torch.randn(64, 1, 28, 28)

    def step(x, y):
        adamw.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        adamw.step()

    def steps():
        for _ in range(20):
            step(fixed, classes[:64])

    def trainer():
        for chosen in torch.randperm(IMAGES).split(64)[:200]:
            step(images[chosen].float().div_(255), classes[chosen])

    return jobs | {"cnn_step": steps, "cnn_trainer": trainer}


def torch_steps(torch, features, widths, batch, count):
    model, adamw = torch_classifier(torch, features, widths)
    xs, classes = torch.randn(DATA, features), torch.arange(DATA) * 7919 % 10
    done = [0]

    def steps():
        for _ in range(count):
            first = done[0] * batch % (DATA - batch + 1)
            done[0] += 1
            adamw.zero_grad()
            outputs = model(xs[first:first + batch])
            torch.nn.functional.cross_entropy(outputs, classes[first:first + batch]).backward()
            adamw.step()

    return steps, count


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
    forward_jit, gradient_jit, tanh = jax.jit(forward), jax.jit(gradient), jax.jit(jnp.tanh)
    adamw_jit = jax.jit(lambda weights, state, x, g: jax_adamw(weights, state, gradient(weights, x, g)), donate_argnums=(0, 1))
    product = jax.jit(lambda a, b: a @ b)
    trained = [[jnp.copy(w) for w in weights], jax_state(weights)]

    def training_adamw():
        trained[:] = adamw_jit(trained[0], trained[1], x, g)
        jax.block_until_ready(trained)

    jobs = {
        "forward": lambda: forward_jit(weights, x).block_until_ready(),
        "training": lambda: jax.block_until_ready(gradient_jit(weights, x, g)),
        "training_adamw": training_adamw,
        "tanh": lambda: tanh(wide).block_until_ready(),
        "batch_1": lambda: forward_jit(weights, x[:1]).block_until_ready(),
        "batch_32": lambda: forward_jit(weights, x[:32]).block_until_ready(),
        "product": lambda: product(x, weights[0]).block_until_ready(),
        "epoch": jax_epoch(),
    }
    return f"JAX {jax.__version__}", jobs, {name: jax_steps(*step) for name, step in STEPS.items()}


def jax_state(weights):
    """AdamW's state before the first step: the steps, and the running means."""
    import jax
    import jax.numpy as jnp

    zeros = lambda: jax.tree.map(jnp.zeros_like, weights)
    return jnp.float32(0), zeros(), zeros()


def jax_adamw(weights, state, gradients):
    """AdamW with the defaults of `wick::AdamW`: the weights and the state after a step."""
    import jax
    import jax.numpy as jnp

    steps, first, second = state
    steps = steps + 1
    first = jax.tree.map(lambda m, d: 0.9 * m + 0.1 * d, first, gradients)
    second = jax.tree.map(lambda v, d: 0.999 * v + 0.001 * d * d, second, gradients)

    def moved(w, m, v):
        step = m / (1 - 0.9**steps) / (jnp.sqrt(v / (1 - 0.999**steps)) + 1e-8)
        return w * (1 - 0.01 * RATE) - RATE * step

    return jax.tree.map(moved, weights, first, second), (steps, first, second)


def jax_classifier(features, widths):
    """The weights of a classifier, and its loss."""
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(jax.random.key(1), len(widths))
    init = jax.nn.initializers.he_normal()
    sizes = list(zip([features] + widths, widths))
    weights = [(init(k, s, jnp.float32), jnp.zeros(s[1])) for k, s in zip(keys, sizes)]

    def loss(weights, x, y):
        for w, b in weights[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = weights[-1]
        chosen = jnp.take_along_axis(jax.nn.log_softmax(x @ w + b), y[:, None], axis=1)
        return -chosen.mean()

    return weights, loss


def jax_epoch():
    """An epoch of steps by `jit`, each of which takes its samples from memory."""
    import jax
    import jax.numpy as jnp
    import numpy

    features, widths, *_ = STEPS["step_128"]
    weights, loss = jax_classifier(features, widths)
    random = numpy.random.default_rng(42)
    images = jnp.asarray(random.integers(0, 256, (IMAGES, features), dtype=numpy.uint8))
    classes = jnp.arange(IMAGES) * 7919 % 10

    def step(weights, state, images, classes, chosen):
        x = images[chosen].astype(jnp.float32) / 255
        value, gradients = jax.value_and_grad(loss)(weights, x, classes[chosen])
        return *jax_adamw(weights, state, gradients), value

    step, now = jax.jit(step, donate_argnums=(0, 1)), [weights, jax_state(weights)]

    def epoch():
        order = random.permutation(IMAGES).astype(numpy.int32)
        for first in range(0, IMAGES, BATCH):
            *now[:], value = step(*now, images, classes, order[first:first + BATCH])
        jax.block_until_ready(now)

    return epoch


def jax_steps(features, widths, batch, count):
    import jax
    import jax.numpy as jnp

    weights, loss = jax_classifier(features, widths)
    xs, classes = jax.random.normal(jax.random.key(2), (DATA, features)), jnp.arange(DATA) * 7919 % 10

    def step(weights, state, xs, classes, first):
        x = jax.lax.dynamic_slice_in_dim(xs, first, batch)
        y = jax.lax.dynamic_slice_in_dim(classes, first, batch)
        value, gradients = jax.value_and_grad(loss)(weights, x, y)
        return *jax_adamw(weights, state, gradients), value

    step, now, done = jax.jit(step, donate_argnums=(0, 1)), [weights, jax_state(weights)], [0]

    def steps():
        for _ in range(count):
            first = done[0] * batch % (DATA - batch + 1)
            done[0] += 1
            *now[:], value = step(*now, xs, classes, first)
        jax.block_until_ready(now)

    return steps, count
