"""The peer of `throughput --model paper`: the paper's image network, T blocks in discrete time, in JAX.

    python3 benches/peers/jax_paper.py --batch 128 --steps 4

Without batch norm and dropout, on two cores; one JSON object. Images are channels last, which is what XLA is fast in here.
"""

import time

START = time.perf_counter()

import argparse
import json
import resource
import statistics

import jax
import jax.numpy as jnp

Z, H = 10, 256


def dense(key, i, o):
    a, b = jax.random.split(key)
    s = i**-0.5
    return {"w": jax.random.uniform(a, (i, o), minval=-s, maxval=s), "b": jax.random.uniform(b, (o,), minval=-s, maxval=s)}


def conv(key, i, o):
    a, b = jax.random.split(key)
    s = (9 * i)**-0.5
    return {"w": jax.random.uniform(a, (3, 3, i, o), minval=-s, maxval=s), "b": jax.random.uniform(b, (o,), minval=-s, maxval=s)}


def block(key):
    k = iter(jax.random.split(key, 12))
    return {
        "c": [conv(next(k), 1, 32), conv(next(k), 32, 64), conv(next(k), 64, 128)], "x": dense(next(k), 6272, H),
        "z": [dense(next(k), Z, H), dense(next(k), H, H), dense(next(k), H, H)],
        "o": [dense(next(k), H, H), dense(next(k), H, H // 2), dense(next(k), H // 2, Z)],
    }


def linear(p, h):
    return h @ p["w"] + p["b"]


def convolve(p, h):
    y = jax.lax.conv_general_dilated(h, p["w"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jax.nn.relu(y + p["b"])


def pool(h):
    return jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def forward(p, z, x):
    h = pool(convolve(p["c"][0], x.reshape(-1, 28, 28, 1)))
    h = pool(convolve(p["c"][2], convolve(p["c"][1], h)))
    h = linear(p["x"], h.reshape(len(x), -1))
    a = linear(p["z"][0], z)
    a = a + linear(p["z"][2], jax.nn.relu(linear(p["z"][1], jax.nn.relu(a))))
    h = jax.nn.relu(a + h)
    h = jax.nn.relu(linear(p["o"][0], h))
    return linear(p["o"][2], jax.nn.relu(linear(p["o"][1], h)))


def alpha_bars(blocks):
    t = jnp.arange(blocks + 1) / blocks
    return jnp.clip(jnp.cos((1 - t + 0.008) / 1.008 * jnp.pi / 2) ** 2, 0.001, 0.999)


def loss(params, key, x, labels):
    blocks = len(params)
    one_hot, bars, total = jax.nn.one_hot(labels, Z), alpha_bars(blocks), 0.0
    snr = bars / (1 - bars)
    for t in range(blocks):
        noise = jax.random.normal(jax.random.fold_in(key, t), one_hot.shape)
        z = jnp.sqrt(bars[t]) * one_hot + jnp.sqrt(1 - bars[t]) * noise
        o = forward(params[t], z, x)
        error = ((jax.nn.softmax(o) - one_hot) ** 2).sum(-1).mean()
        ce = -(one_hot * jax.nn.log_softmax(o)).sum(-1).mean()
        total += blocks / 2 * 0.1 * (snr[t + 1] - snr[t]) * error + ce
    return total


def step(params, state, count, key, x, labels):
    value, grads = jax.value_and_grad(loss)(params, key, x, labels)
    m, v = state
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    c1, c2 = 1 - 0.9**count, 1 - 0.999**count
    params = jax.tree.map(lambda p, m, v: p * (1 - 1e-6) - 1e-3 * m / c1 / (jnp.sqrt(v / c2) + 1e-8), params, m, v)
    return params, (m, v), value


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--tf32", action="store_true", help="products with 10 bits of mantissa, on a GPU that has them")
    o = parser.parse_args()
    device = jax.devices()[0]
    if device.platform != "cpu" and not o.tf32:
        jax.config.update("jax_default_matmul_precision", "highest")
    key = jax.random.key(0)
    params = [block(k) for k in jax.random.split(key, o.blocks)]
    state = (jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params))
    x = jax.random.uniform(key, (o.batch, 784), minval=-1.0)
    labels = jax.random.randint(key, (o.batch,), 0, Z)
    jitted, count = jax.jit(step, donate_argnums=(0, 1)), 0

    def steps(params, state, n):
        nonlocal count
        for _ in range(n):
            count += 1
            params, state, value = jitted(params, state, float(count), jax.random.fold_in(key, count), x, labels)
        value.block_until_ready()
        return params, state

    params, state = steps(params, state, 1)
    first, rates = time.perf_counter() - START, []
    for _ in range(5):
        start = time.perf_counter()
        params, state = steps(params, state, o.steps)
        rates.append(o.steps / (time.perf_counter() - start))
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    stats = device.memory_stats() or {}
    device_mb = stats["peak_bytes_in_use"] / 2**20 if "peak_bytes_in_use" in stats else None
    print(json.dumps({"variant": "dt", "model": "paper", "batch": o.batch, "steps_per_s": statistics.median(rates),
                      "min": min(rates), "max": max(rates), "first_step_s": first, "peak_rss_mb": rss, "peak_device_mb": device_mb,
                      "device": device.platform}))


main()
