"""The MLP steps of the experiment `throughput` in JAX: the same networks, losses, noise and AdamW, jitted as one step.

    pip install jax
    python3 jax_mlp.py --variant dt --batch 128

Prints one JSON object with the names that `throughput --json` has. The state is donated, the data lies on the device,
and the noise is made inside the step, by JAX's fastest generator.
"""

import argparse
import functools
import json
import resource
import statistics
import time

START = time.perf_counter()

import jax
import jax.numpy as jnp

jax.config.update("jax_default_prng_impl", "rbg")

Z, X, TIME = 10, 784, 64


def dense(key, i, o):
    a, b = jax.random.split(key)
    bound = i**-0.5
    return {
        "w": jax.random.uniform(a, (i, o), minval=-bound, maxval=bound),
        "b": jax.random.uniform(b, (o,), minval=-bound, maxval=bound),
    }


def network(key, width, timed):
    keys = jax.random.split(key, 6)
    params = {
        "z": dense(keys[0], Z, width),
        "x": dense(keys[1], X, width),
        "1": dense(keys[2], width, width),
        "2": dense(keys[3], width, width),
        "o": dense(keys[4], width, Z),
    }
    if timed:
        params["t"] = dense(keys[5], TIME, width)
    return params


def apply(p, v):
    return v @ p["w"] + p["b"]


def embed(t):
    k = jnp.arange(TIME // 2)
    f = 10_000.0 ** (-k / (TIME // 2 - 1))
    return jnp.concatenate([jnp.sin(t[:, None] * f), jnp.cos(t[:, None] * f)], 1)


def forward(p, z, x, t=None):
    h = apply(p["z"], z) + apply(p["x"], x)
    if t is not None:
        h = h + apply(p["t"], embed(t))
    h = jax.nn.relu(h)
    h = h + apply(p["2"], jax.nn.relu(apply(p["1"], h)))
    return apply(p["o"], h)


def cross_entropy(logits, one_hot):
    return -(jax.nn.log_softmax(logits) * one_hot).sum(1).mean()


def levels(blocks):
    t = jnp.arange(blocks + 1) / blocks
    alpha = jnp.clip(jnp.cos((1 - t + 0.008) / 1.008 * jnp.pi / 2) ** 2, 0.001, 0.999)
    return alpha, alpha / (1 - alpha)


def adamw(params, grads, state, k, rate=1e-3, decay=1e-3, b1=0.9, b2=0.999, eps=1e-8):
    def one(p, g, m, v):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        step = rate * (m / (1 - b1**k)) / (jnp.sqrt(v / (1 - b2**k)) + eps)
        # Biases do not decay, as in the library.
        keep = 1 - rate * decay if p.ndim > 1 else 1.0
        return keep * p - step, m, v

    def many(p, g, m, v):
        return one(p, g, m, v)

    out = jax.tree.map(many, params, grads, *state)
    pick = lambda i: jax.tree.map(lambda o: o[i], out, is_leaf=lambda o: isinstance(o, tuple))
    return pick(0), (pick(1), pick(2))


def dt_step(blocks, params, state, k, key, x, labels):
    one_hot = jax.nn.one_hot(labels, Z)
    alpha, snr = levels(blocks)
    weight = 0.5 * blocks * 0.1 * (snr[1:] - snr[:-1])

    def loss(p, t, noise):
        z = jnp.sqrt(alpha[t]) * one_hot + jnp.sqrt(1 - alpha[t]) * noise
        logits = forward(p, z, x)
        error = ((jax.nn.softmax(logits) - one_hot) ** 2).sum(1).mean()
        return weight[t] * error + cross_entropy(logits, one_hot)

    noise = jax.random.normal(key, (blocks, x.shape[0], Z))
    # A list of blocks, each with its own gradient: faster here than vmap over stacked weights.
    new, losses = [], []
    for t in range(blocks):
        value, grads = jax.value_and_grad(loss)(params[t], t, noise[t])
        p, s = adamw(params[t], grads, state[t], k)
        new.append((p, s))
        losses.append(value)
    return [p for p, _ in new], [s for _, s in new], jnp.stack(losses).mean()


def low_discrepancy(key, n):
    return (jnp.arange(n) + jax.random.uniform(key)) / n


def ct_step(params, state, k, key, x, labels):
    one_hot = jax.nn.one_hot(labels, Z)
    a, b = jax.random.split(key)

    def loss(p):
        t = low_discrepancy(a, x.shape[0])
        gamma = -6 + 12 * (1 - (1 - jnp.cos(jnp.pi * t)) / 2)
        alpha = jax.nn.sigmoid(-gamma)[:, None]
        z = jnp.sqrt(alpha) * one_hot + jnp.sqrt(1 - alpha) * jax.random.normal(b, one_hot.shape)
        logits = forward(p, z, x, t)
        error = ((jax.nn.softmax(logits) - one_hot) ** 2).sum(1).mean()
        return error + 5 * cross_entropy(logits, one_hot)

    value, grads = jax.value_and_grad(loss)(params)
    params, state = adamw(params, grads, state, k)
    return params, state, value


def fm_step(params, state, k, key, x, labels):
    one_hot = jax.nn.one_hot(labels, Z)
    a, b = jax.random.split(key)

    def loss(p):
        t = low_discrepancy(a, x.shape[0])
        start = jax.random.normal(b, one_hot.shape)
        z = t[:, None] * one_hot + (1 - t[:, None]) * start
        v = forward(p, z, x, t)
        error = ((v - (one_hot - start)) ** 2).sum(1).mean()
        return error + 50 * cross_entropy(3 * (z + (1 - t[:, None]) * v), one_hot)

    value, grads = jax.value_and_grad(loss)(params)
    params, state = adamw(params, grads, state, k)
    return params, state, value


def dt_infer(blocks, params, x):
    alpha, _ = levels(blocks)
    z = jnp.zeros((x.shape[0], Z))
    for t in range(1, blocks + 1):
        ratio = alpha[t - 1] / alpha[t]
        denominator = 1 - alpha[t - 1]
        a = jnp.sqrt(alpha[t]) * (1 - ratio) / denominator
        b = jnp.sqrt(ratio) * (1 - alpha[t]) / denominator
        logits = forward(params[t - 1], z, x)
        z = a * jax.nn.softmax(logits) + b * z
    return logits.argmax(1)


def heun(drift, z, steps=40):
    h = 1.0 / steps

    def step(i, z):
        t = i * h
        one = drift(t, z)
        return z + h / 2 * (one + drift(t + h, z + h * one))

    return jax.lax.fori_loop(0, steps, step, z)


def ct_infer(params, x):
    def drift(t, z):
        gamma = -6 + 12 * (1 - (1 - jnp.cos(jnp.pi * t)) / 2)
        slope = -12 * jnp.pi / 2 * jnp.sin(jnp.pi * t)
        alpha = jax.nn.sigmoid(-gamma)
        u = jax.nn.softmax(forward(params, z, x, jnp.full(x.shape[:1], t)))
        change = -slope * alpha * (1 - alpha)
        return change / (2 * jnp.sqrt(alpha)) * u - change / (2 * (1 - alpha)) * (z - jnp.sqrt(alpha) * u)

    z = heun(drift, jnp.zeros((x.shape[0], Z)))
    return forward(params, z, x, jnp.ones(x.shape[:1])).argmax(1)


def fm_infer(params, x):
    drift = lambda t, z: forward(params, z, x, jnp.full(x.shape[:1], t))
    return heun(drift, jnp.zeros((x.shape[0], Z))).argmax(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", default="dt", choices=["dt", "ct", "fm"])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--no-inference", action="store_true")
    parser.add_argument("--tf32", action="store_true", help="products with 10 bits of mantissa, on a GPU that has them")
    o = parser.parse_args()
    device = jax.devices()[0]
    if device.platform != "cpu" and not o.tf32:
        jax.config.update("jax_default_matmul_precision", "highest")

    key = jax.random.key(0)
    x = jax.random.uniform(key, (o.batch, X), minval=-1)
    labels = jax.random.randint(key, (o.batch,), 0, Z)
    if o.variant == "dt":
        params = [network(k, o.width, False) for k in jax.random.split(key, o.blocks)]
        step = functools.partial(dt_step, o.blocks)
        infer = functools.partial(dt_infer, o.blocks)
    else:
        params = network(key, o.width, True)
        step = {"ct": ct_step, "fm": fm_step}[o.variant]
        infer = {"ct": ct_infer, "fm": fm_infer}[o.variant]
    zeros = lambda: jax.tree.map(jnp.zeros_like, params)
    if o.variant == "dt":
        state = [(jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p)) for p in params]
    else:
        state = (zeros(), zeros())
    step = jax.jit(step, donate_argnums=(0, 1))

    count = 0

    def steps(params, state, n):
        nonlocal count
        for _ in range(n):
            count += 1
            params, state, loss = step(params, state, float(count), jax.random.fold_in(key, count), x, labels)
        loss.block_until_ready()
        return params, state

    params, state = steps(params, state, 1)
    first = time.perf_counter() - START
    params, state = steps(params, state, o.steps)
    rates = []
    for _ in range(5):
        start = time.perf_counter()
        params, state = steps(params, state, o.steps)
        rates.append(o.steps / (time.perf_counter() - start))
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    stats = device.memory_stats() or {}
    device_mb = stats["peak_bytes_in_use"] / 2**20 if "peak_bytes_in_use" in stats else None

    result = {
        "variant": o.variant, "batch": o.batch, "width": o.width,
        "steps_per_s": statistics.median(rates), "min": min(rates), "max": max(rates),
        "first_step_s": first, "peak_rss_mb": rss, "peak_device_mb": device_mb,
        "device": device.platform,
    }
    if o.no_inference:
        print(json.dumps(result))
        return

    infer = jax.jit(infer)
    many = jax.random.uniform(key, (4096, X))

    def rate(rows):
        infer(params, rows).block_until_ready()
        times = []
        for _ in range(5):
            start = time.perf_counter()
            infer(params, rows).block_until_ready()
            times.append(time.perf_counter() - start)
        return len(rows) / statistics.median(times)

    one = many[:1]
    infer(params, one).block_until_ready()
    latencies = []
    for _ in range(300):
        start = time.perf_counter()
        infer(params, one).block_until_ready()
        latencies.append(1e6 * (time.perf_counter() - start))
    latencies.sort()
    print(json.dumps(result | {
        "infer_rows_per_s": max(rate(many), rate(many[:256])),
        "latency_us_p50": latencies[150], "latency_us_p99": latencies[297],
    }))


main()
