"""What the steps in PyTorch share: noise levels, AdamW, and how they are timed."""

import json
import resource
import statistics
import time

START = time.perf_counter()

import math

import torch


def options(parser):
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--tf32", action="store_true", help="products with 10 bits of mantissa, on a GPU that has them")
    o = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = o.tf32
    torch.backends.cudnn.benchmark = True
    return o


def levels(blocks):
    t = torch.arange(blocks + 1, dtype=torch.float64) / blocks
    alpha = (torch.cos((1 - t + 0.008) / 1.008 * math.pi / 2) ** 2).clamp(0.001, 0.999)
    return alpha, alpha / (1 - alpha)


def measure(o, total, weights, biases, more):
    """Times steps of AdamW on the loss `total()`, and prints the result as JSON."""
    groups = [
        {"params": weights, "weight_decay": 1e-3},
        # Biases do not decay, as in the library.
        {"params": biases, "weight_decay": 0.0},
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
    on_card = torch.device(o.device).type == "cuda"
    print(json.dumps({
        "variant": "dt", "batch": o.batch, "blocks": o.blocks, "device": o.device, "compile": o.compile, "tf32": o.tf32, **more,
        "steps_per_s": statistics.median(rates), "min": min(rates), "max": max(rates), "first_step_s": first,
        "peak_rss_mb": memory,
        "peak_device_mb": torch.cuda.max_memory_allocated() / 2**20 if on_card else None,
    }))
