"""The MLP step of discrete time of the experiment `throughput` in PyTorch: the same networks, losses, noise and AdamW.

    pip install torch
    python3 torch_mlp.py --batch 128                       # eager
    python3 torch_mlp.py --batch 128 --compile             # torch.compile
    python3 torch_mlp.py --batch 128 --device cuda --compile

Prints one JSON object with the names that `throughput --json` has. The weights of all blocks lie side by side, so that a layer
of all blocks is one batched product; AdamW is PyTorch's fused one, the data lies on the device, and the noise is made there.
`--listed` has a list of blocks in the place of that.
"""

import argparse

import torch_steps  # First, since it starts the clock.
import torch
import torch.nn.functional as F

Z, X = 10, 784


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
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--listed", action="store_true")
    o = torch_steps.options(parser)
    device, blocks = torch.device(o.device), o.blocks

    x = torch.rand(o.batch, X, device=device) * 2 - 1
    one_hot = F.one_hot(torch.randint(Z, (o.batch,), device=device), Z).float()
    alpha, snr = torch_steps.levels(blocks)
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
    weights, biases = [weight for weight, _ in flat], [bias for _, bias in flat]
    torch_steps.measure(o, total, weights, biases, {"model": "mlp", "width": o.width})


main()
