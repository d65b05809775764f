"""The MLP step of discrete time of `examples/throughput` in PyTorch: the same networks, losses, noise and AdamW.

    pip install torch
    python3 torch_mlp.py --batch 128                       # eager
    python3 torch_mlp.py --batch 128 --compile             # torch.compile
    python3 torch_mlp.py --batch 128 --device cuda --compile

Prints one JSON object with the names that `throughput --json` has. The weights of all blocks lie side by side, so that a layer
of all blocks is one batched product; AdamW is PyTorch's fused one, the data lies on the device, and the noise is made there.
`--listed` has a list of blocks in the place of that.
"""

import argparse
import json
import math
import resource
import statistics
import time

START = time.perf_counter()

import torch
import torch.nn.functional as F

Z, X = 10, 784


def levels(blocks):
    t = torch.arange(blocks + 1, dtype=torch.float64) / blocks
    alpha = (torch.cos((1 - t + 0.008) / 1.008 * math.pi / 2) ** 2).clamp(0.001, 0.999)
    return alpha, alpha / (1 - alpha)


def parameters(blocks, width, device):
    def dense(i, o):
        bound = i**-0.5
        weight = torch.empty(blocks, i, o, device=device).uniform_(-bound, bound)
        bias = torch.empty(blocks, 1, o, device=device).uniform_(-bound, bound)
        return [weight.requires_grad_(), bias.requires_grad_()]

    return [dense(Z, width), dense(X, width), dense(width, width), dense(width, width), dense(width, Z)]


def forward(p, z, x):
    """z: [blocks, batch, Z], x: [batch, X]."""
    apply = lambda layer, v: torch.baddbmm(layer[1], v, layer[0])
    h = apply(p[0], z) + apply(p[1], x.expand(len(z), *x.shape))
    h = F.relu(h)
    h = h + apply(p[3], F.relu(apply(p[2], h)))
    return apply(p[4], h)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--listed", action="store_true")
    o = parser.parse_args()
    device, blocks = torch.device(o.device), o.blocks

    x = torch.rand(o.batch, X, device=device) * 2 - 1
    one_hot = F.one_hot(torch.randint(Z, (o.batch,), device=device), Z).float()
    alpha, snr = levels(blocks)
    column = lambda v: v.float().to(device)[:, None, None]
    share, spread = column(alpha[:-1].sqrt()), column((1 - alpha[:-1]).sqrt())
    weight = (0.5 * blocks * 0.1 * (snr[1:] - snr[:-1])).float().to(device)
    models = [parameters(1, o.width, device) for _ in range(blocks)] if o.listed else [parameters(blocks, o.width, device)]
    each = 1 if o.listed else blocks

    def loss(p, first, noise):
        some = slice(first, first + each)
        z = share[some] * one_hot + spread[some] * noise
        logits = forward(p, z, x)
        error = ((logits.softmax(2) - one_hot) ** 2).sum(2).mean(1)
        cross_entropy = -(logits.log_softmax(2) * one_hot).sum(2).mean(1)
        return (weight[some] * error + cross_entropy).sum()

    def total():
        noise = torch.randn(blocks, o.batch, Z, device=device)
        return sum(loss(p, i * each, noise[i * each : (i + 1) * each]) for i, p in enumerate(models))

    flat = [layer for p in models for layer in p]
    groups = [
        {"params": [weight for weight, _ in flat], "weight_decay": 1e-3},
        # Biases do not decay, as in the library.
        {"params": [bias for _, bias in flat], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)
    total = torch.compile(total) if o.compile else total

    def steps(n):
        for _ in range(n):
            optimizer.zero_grad(set_to_none=True)
            value = total()
            value.backward()
            optimizer.step()
        return value.item()

    steps(1)
    first = time.perf_counter() - START
    steps(o.steps)
    rates = []
    for _ in range(5):
        start = time.perf_counter()
        steps(o.steps)
        rates.append(o.steps / (time.perf_counter() - start))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({
        "variant": "dt", "batch": o.batch, "width": o.width, "device": o.device, "compile": o.compile,
        "steps_per_s": statistics.median(rates), "min": min(rates), "max": max(rates), "first_step_s": first,
        "peak_rss_mb": memory,
        "peak_device_mb": torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None,
    }))


main()
