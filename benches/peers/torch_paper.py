"""The peer of `throughput --model paper` in PyTorch: the paper's image network, T blocks in discrete time.

    pip install torch
    python3 torch_paper.py --batch 128 --steps 4                       # eager
    python3 torch_paper.py --batch 128 --steps 4 --compile             # torch.compile
    python3 torch_paper.py --batch 1024 --device cuda --compile

Without batch norm and dropout, as there; one JSON object. Each block has a network of its own, of cuDNN's convolutions on a GPU;
AdamW is PyTorch's fused one, the data lies on the device, and the noise is made there.
"""

import argparse

import torch_steps  # First, since it starts the clock.
import torch
import torch.nn.functional as F
from torch import nn

Z, H = 10, 256


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        conv = lambda i, o: [nn.Conv2d(i, o, 3, padding=1), nn.ReLU()]
        pool = lambda: [nn.MaxPool2d(2)]
        trunk = [*conv(1, 32), *pool(), *conv(32, 64), *conv(64, 128), *pool(), nn.Flatten(), nn.Linear(6272, H)]
        self.x = nn.Sequential(*trunk)
        self.z = nn.Linear(Z, H)
        self.residual = nn.Sequential(nn.ReLU(), nn.Linear(H, H), nn.ReLU(), nn.Linear(H, H))
        joined = [nn.ReLU(), nn.Linear(H, H), nn.ReLU(), nn.Linear(H, H // 2), nn.ReLU(), nn.Linear(H // 2, Z)]
        self.joined = nn.Sequential(*joined)

    def forward(self, z, x):
        z = self.z(z)
        return self.joined(z + self.residual(z) + self.x(x))


def main():
    o = torch_steps.options(argparse.ArgumentParser())
    device, count = torch.device(o.device), o.blocks
    images = torch.rand(o.batch, 1, 28, 28, device=device) * 2 - 1
    # The layout that convolutions are fastest in.
    x = images.to(memory_format=torch.channels_last)
    one_hot = F.one_hot(torch.randint(Z, (o.batch,), device=device), Z).float()
    alpha, snr = torch_steps.levels(count)
    share, spread = alpha.sqrt().tolist(), (1 - alpha).sqrt().tolist()
    weight = (0.5 * count * 0.1 * (snr[1:] - snr[:-1])).tolist()
    blocks = nn.ModuleList(Block() for _ in range(count)).to(device, memory_format=torch.channels_last)

    def total():
        noise = torch.randn(count, o.batch, Z, device=device)
        sum = 0.0
        for t, block in enumerate(blocks):
            logits = block(share[t] * one_hot + spread[t] * noise[t], x)
            error = ((logits.softmax(1) - one_hot) ** 2).sum(1).mean()
            sum = sum + weight[t] * error - (logits.log_softmax(1) * one_hot).sum(1).mean()
        return sum

    all = dict(blocks.named_parameters())
    weights = [p for name, p in all.items() if name.endswith("weight")]
    biases = [p for name, p in all.items() if name.endswith("bias")]
    torch_steps.measure(o, total, weights, biases, {"model": "paper", "parameters": sum(p.numel() for p in all.values())})


main()
