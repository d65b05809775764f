"""Reference values for the image layers, in float64, by JAX: `python3 make_images.py > images.json`.

Images are [batch, height, width, channels], filters [out, kernel, kernel, in]. Each case has its inputs, y, and the gradients of
sum(w * y), w being as given.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(7)


def numbers(a):
    return [float(v) for v in np.asarray(a).reshape(-1)]


def pairs(n):
    return [(n, n), (n, n)]


def convolution(x, f, b, stride, padding):
    y = jax.lax.conv_general_dilated(
        x, f, (stride, stride), pairs(padding), dimension_numbers=("NHWC", "OHWI", "NHWC"))
    return y + b


def window(x, kernel, stride, padding, start, op):
    return jax.lax.reduce_window(
        x, start, op, (1, kernel, kernel, 1), (1, stride, stride, 1), ((0, 0), *pairs(padding), (0, 0)))


def batch_norm(x, scale, shift):
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes), x.var(axes)
    return (x - mean) / jnp.sqrt(var + 1e-5) * scale + shift


def case(f, *args):
    y = f(*args)
    w = rng.normal(size=y.shape)
    grads = jax.grad(lambda *a: (w * f(*a)).sum(), argnums=tuple(range(len(args))))(*args)
    return {"shape": list(y.shape), "y": numbers(y), "w": numbers(w),
            "args": [numbers(a) for a in args], "gradients": [numbers(g) for g in grads]}


out = {"convolution": [], "max_pool": [], "average_pool": [], "batch_norm": []}
for batch, h, w, c, o, k, s, p in [(2, 5, 4, 3, 2, 3, 1, 1), (1, 7, 6, 2, 3, 3, 2, 0), (3, 4, 4, 1, 2, 1, 1, 0), (2, 6, 5, 2, 2, 5, 3, 2)]:
    x, f, b = rng.normal(size=(batch, h, w, c)), rng.normal(size=(o, k, k, c)), rng.normal(size=(o,))
    out["convolution"].append(case(lambda x, f, b: convolution(x, f, b, s, p), x, f, b))
for batch, h, w, c, k, s, p in [(2, 6, 4, 3, 2, 2, 0), (1, 7, 5, 2, 3, 2, 1), (2, 5, 5, 1, 3, 1, 0)]:
    x = rng.normal(size=(batch, h, w, c))
    out["max_pool"].append(case(lambda x: window(x, k, s, p, -jnp.inf, jax.lax.max), x))
    out["average_pool"].append(case(lambda x: window(x, k, s, p, 0.0, jax.lax.add) / (k * k), x))
for shape in [(2, 3, 4, 3), (1, 3, 3, 2), (5, 4), (1, 4)]:
    x = rng.normal(size=shape) * 2 + 1
    scale, shift = rng.normal(size=shape[-1:]), rng.normal(size=shape[-1:])
    c = case(batch_norm, x, scale, shift)
    axes = tuple(range(x.ndim - 1))
    n = x.size // x.shape[-1]
    # Running statistics after one step from 0 and 1; a single number says nothing of the variance.
    c["running_mean"] = numbers(0.1 * x.mean(axes))
    c["running_variance"] = numbers(0.9 + 0.1 * x.var(axes, ddof=1)) if n > 1 else [1.0] * x.shape[-1]
    out["batch_norm"].append(c)
print(json.dumps(out))
