"""Writes jax_init.safetensors: what JAX and Flax draw on the CPU, for the tests of wick-init's jax stream.

    pip install jax==0.10.2 flax==0.12.8 safetensors numpy && JAX_PLATFORMS=cpu python jax_init.py

The names: keys/SEED, keys_x64/SEED, split/SEED/COUNT, fold_in/SEED/NUMBER, bits/SEED, draw/SEED/SPEC/SHAPE (the shape
is JAX's, the inputs before the outputs), flax/MODEL/SEED/PARAMETER and nnx/SEED/PLACE. Large ones are kept as the
first 64 and the last 64 elements and, in the name with a `#` behind it, the FNV-1a hash of all their bits.
"""
import pathlib

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.nn import initializers as init
from safetensors.numpy import save_file

out = {}


def fnv(values):
    with np.errstate(over="ignore"):
        hashed = np.uint64(0xCBF29CE484222325)
        for v in values.view(np.uint32).astype(np.uint64):
            hashed = (hashed ^ v) * np.uint64(0x100000001B3)
    return hashed


def keep(name, array):
    array = np.ascontiguousarray(array)
    if array.dtype == np.uint32:
        array = array.astype(np.int64)
    if array.size > 5000:
        flat = array.ravel()
        out[name + "#"] = np.array([fnv(flat)]).view(np.int64)
        array = np.concatenate([flat[:64], flat[-64:]])
    out[name] = array


words = jax.random.key_data
for seed in [0, 1, 42, 2**31, 2**32 - 1, 2**32 + 5, 2**63 - 1, -1]:
    keep(f"keys/{seed % 2**64}", words(jax.random.key(seed)))
    with jax.enable_x64(True):
        keep(f"keys_x64/{seed % 2**64}", words(jax.random.key(seed)))
for seed, count in [(0, 1), (1, 2), (42, 5), (2**32 - 1, 1000)]:
    keep(f"split/{seed}/{count}", words(jax.random.split(jax.random.key(seed), count)))
for seed, number in [(0, 0), (1, 7), (42, 2**31 + 3), (42, 2**32 - 1)]:
    keep(f"fold_in/{seed}/{number}", words(jax.random.fold_in(jax.random.key(seed), np.uint32(number))))
for seed in [0, 7]:
    keep(f"bits/{seed}", jax.random.bits(jax.random.key(seed), (1000,)))


def case(seed, spec, shape, draw):
    keep(f"draw/{seed}/{spec}/{'x'.join(map(str, shape))}", draw(jax.random.key(seed), shape))


def random_normal(mean, std):
    return lambda key, shape: jax.random.normal(key, shape) * jnp.float32(std) + jnp.float32(mean)


def random_uniform(low, high):
    return lambda key, shape: jax.random.uniform(key, shape, minval=low, maxval=high)


for seed, n in [(0, 1), (1, 7), (2, 1000), (3, 4096)]:
    case(seed, "normal:std=1", (n,), jax.random.normal)
    case(seed, "normal:mean=0.5,std=0.02", (n,), random_normal(0.5, 0.02))
    case(seed, "uniform:low=0,high=1", (n,), jax.random.uniform)
    case(seed, "uniform:low=-0.3,high=0.7", (n,), random_uniform(-0.3, 0.7))
    case(seed, "uniform:low=-0.05,high=0.05", (n,), random_uniform(-0.05, 0.05))
    case(seed, "jax.normal:stddev=0.03", (n,), init.normal(0.03))
    case(seed, "jax.uniform:scale=0.03", (n,), init.uniform(0.03))
    case(seed, "jax.truncated_normal:stddev=0.3", (n,), init.truncated_normal(0.3))
    case(seed, "jax.truncated_normal:stddev=1,lower=-1.5,upper=3", (n,), init.truncated_normal(1.0, lower=-1.5, upper=3.0))
    case(seed, "jax.truncated_normal:stddev=1,lower=2,upper=4", (n,), init.truncated_normal(1.0, lower=2.0, upper=4.0))
    case(seed, "constant:value=0.1", (n,), init.constant(0.1))
million = (1_000_003,)
case(7, "normal:std=1", million, jax.random.normal)
case(7, "uniform:low=0,high=1", million, jax.random.uniform)
case(7, "uniform:low=-0.3,high=0.7", million, random_uniform(-0.3, 0.7))
case(7, "jax.truncated_normal:stddev=1", million, init.truncated_normal(1.0))
for shape in [(4, 3), (40, 50), (3, 3, 4, 8), (5, 2, 6)]:
    for name in ["lecun", "glorot", "he"]:
        case(11, f"jax.{name}_normal", shape, getattr(init, f"{name}_normal")())
        case(12, f"jax.{name}_uniform", shape, getattr(init, f"{name}_uniform")())
    for mode in ["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]:
        for distribution in ["normal", "truncated_normal", "uniform"]:
            spec = f"jax.variance_scaling:scale=1.7,mode={mode},distribution={distribution}"
            case(13, spec, shape, init.variance_scaling(1.7, mode, distribution))
    case(14, "zeros", shape, init.zeros)
    case(14, "ones", shape, init.ones)
    case(15, "orthogonal:gain=1.5", shape, init.orthogonal(1.5))
    if len(shape) > 2:
        case(16, "jax.delta_orthogonal:scale=1.5", shape, init.delta_orthogonal(1.5))


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        y = nn.LayerNorm()(x)
        y = nn.MultiHeadDotProductAttention(num_heads=2)(y)
        y = nn.Dense(20, name="up")(x + y)
        return x + nn.Dense(8, use_bias=False, name="down")(nn.relu(y))


class Net(nn.Module):
    @nn.compact
    def __call__(self, tokens, image):
        x = nn.Embed(11, 8)(tokens)
        for layer in range(2):
            x = Block(name=f"layers_{layer}")(x)
        y = nn.Conv(6, (3, 3))(image)
        y = nn.BatchNorm(use_running_average=True)(y)
        y = nn.Conv(4, (3, 5), feature_group_count=2)(y)
        y = nn.Conv(5, (1,))(y.reshape(1, -1, 4))
        return nn.Dense(3)(x.mean(1)) + nn.Dense(3)(y.mean(1))


def parameters(tree, path=()):
    for name, value in tree.items():
        if hasattr(value, "items"):
            yield from parameters(value, (*path, name))
        else:
            yield ".".join((*path, name)), value


models = {"net": (Net(), jnp.zeros((1, 5), jnp.int32), jnp.zeros((1, 6, 6, 3))), "dense": (nn.Dense(30), jnp.zeros((1, 20)))}
for label, (model, *inputs) in models.items():
    for seed in [0, 2024]:
        for name, value in parameters(model.init(jax.random.key(seed), *inputs)["params"]):
            keep(f"flax/{label}/{seed}/{name}", value)

rngs = nnx.Rngs(5)
first, second = nnx.Linear(6, 4, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)
keep("nnx/5/0", first.kernel[...])
keep("nnx/5/2", second.kernel[...])

here = pathlib.Path(__file__).parent
versions = {"jax": jax.__version__, "flax": flax.__version__}
save_file(out, here / "jax_init.safetensors", metadata=versions)
print(len(out), "tensors,", (here / "jax_init.safetensors").stat().st_size, "bytes,", versions)
