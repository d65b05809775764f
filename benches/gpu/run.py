"""All that is to be measured on a machine with a card, by one command: speed and memory beside PyTorch and JAX, the largest
model that trains, and the runs that accuracy takes.

    cargo build --release -p experiments --features cuda --bin throughput
    cargo build --release --features cuda --example mnist
    pip install torch "jax[cuda13]"
    python3 benches/gpu/run.py --programs target/release
    python3 benches/gpu/run.py --programs target/release --parts accuracy --mnist path/to/mnist --fashion path/to/fashion

Parts are `speed`, `largest` and `accuracy`; all are run if none is named, and accuracy is only listed where no data is given. All
products are in single precision, unless `--tf32` allows PyTorch and JAX less. `--device cpu` tries everything out on a machine
without a card: with `--batches 8 --steps 1 --rounds 1 --most-blocks 4` in minutes.

Figures are the median over the rounds of a run's own median, with the smallest and the largest round beside it. Memory on the
card is what its driver says of a process, looked at several times a second, so that it is the same figure for all of them: it
includes some 500 MB of CUDA's own. PyTorch's and JAX's own count is beside it.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "peers"))
import compare

FIGURES = [
    ("training, steps/s", "steps_per_s", 1, True),
    ("on the card, MB", "device_mb", 0, False),
    ("by its own count, MB", "peak_device_mb", 0, False),
    ("first step after, s", "first_step_s", 2, False),
    ("in the host's memory, MB", "peak_rss_mb", 0, False),
]
# JAX would take three quarters of the card at once, and say nothing of what it needs.
ENVIRONMENT = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def smi(query):
    """What the driver says, a list for each line."""
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    out = subprocess.run(command, capture_output=True, text=True).stdout
    return [[part.strip() for part in line.split(",")] for line in out.splitlines()]


def used():
    """The memory in use on all cards, in MB."""
    return sum(int(line[0]) for line in smi("--query-gpu=memory.used") if line[0].isdigit())


class Watch:
    """The most memory that a process has on the card, as the driver sees it: by its number, or where the driver knows processes by
    other numbers (in a container) by how much more is in use than before."""

    def __init__(self):
        self.own, self.rise, self.done = None, None, threading.Event()
        self.before = used() if shutil.which("nvidia-smi") else None

    def start(self, pid):
        self.pid, self.thread = str(pid), threading.Thread(target=self.look, daemon=True)
        if self.before is not None:
            self.thread.start()

    def look(self):
        while not self.done.wait(0.2):
            self.rise = max(self.rise or 0, used() - self.before)
            for pid, memory, *_ in smi("--query-compute-apps=pid,used_memory"):
                if pid == self.pid and memory.isdigit():
                    self.own = max(self.own or 0, int(memory))

    def stop(self):
        self.done.set()
        return self.rise if self.own is None else self.own


class Failed(Exception):
    """A run that gave no result, with its last words."""


def run(command, limit=None):
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        watch = Watch()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=ENVIRONMENT)
        watch.start(process.pid)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failed(f"not done after {limit} s") from None
        finally:
            memory = watch.stop()
        out.seek(0)
        err.seek(0)
        lines, words = out.read().strip().splitlines(), err.read().strip().splitlines()
    if code != 0 or not lines:
        # 1 is an error that the program has reported itself; 101 a panic; below 0 a signal.
        how = {1: "an error", 101: "a panic"}.get(code, f"ended with {code}")
        # Of a panic the message follows the place; of anything else it is the last word.
        at = next((i for i, line in enumerate(words) if "panicked at" in line), len(words) - 2)
        raise Failed(f"{how}: {words[at + 1] if words else 'no message'}")
    return {**json.loads(lines[-1]), "device_mb": memory}


def or_nothing(command):
    """A peer that is not there, or that has no memory left, leaves its cells empty."""
    try:
        return run(command)
    except Failed as failed:
        print(f"{' '.join(command)}: {failed}", file=sys.stderr)
        return {}


def speed(o):
    own = lambda *options: [str(o.programs / "throughput"), "--no-inference", "--json", *options]
    tf32 = ["--tf32"] if o.tf32 else []
    peers = ["PyTorch, eager", "PyTorch, compiled", "JAX"]
    compare.header(peers)
    for model in o.models:
        for batch in o.batches:
            steps = o.steps or {"mlp": 200, "paper": 20}[model]
            options = ["--batch", str(batch), "--blocks", str(o.blocks), "--steps", str(steps)]
            torch = compare.script(f"torch_{model}.py", *options, "--device", o.device, *tf32)
            commands = {
                "ours": own("--model", model, *options),
                "PyTorch, eager": torch,
                "PyTorch, compiled": [*torch, "--compile"],
                "JAX": compare.script(f"jax_{model}.py", *options, *tf32),
            }
            runs = compare.in_turns(commands, o.rounds, or_nothing)
            for figure in FIGURES:
                compare.row(f"{model} | {batch}", figure, runs, peers)


def largest(o):
    """For each width twice as many blocks until they do not train."""
    print("| width | blocks | parameters | steps/s | on the card, MB |\n|---|---|---|---|---|")
    for width in o.widths:
        blocks = 1
        while blocks <= o.most_blocks:
            options = ["--width", str(width), "--blocks", str(blocks), "--steps", "2", "--no-inference", "--json"]
            try:
                r = run([str(o.programs / "throughput"), *options], o.limit)
            except Failed as failed:
                print(f"| {width} | {blocks} | {failed} | | |", flush=True)
                break
            memory = r["device_mb"] or ""
            print(f"| {width} | {blocks} | {r['parameters']:,} | {r['steps_per_s']:.2f} | {memory} |", flush=True)
            blocks *= 2


def accuracy(o):
    """The paper's MNIST (99.54 ± 0.04 %) and Fashion-MNIST."""
    for name, folder in [("mnist", o.mnist), ("fashion", o.fashion)]:
        found = []
        for seed in range(o.seeds):
            options = ["--data", folder or f"path/to/{name}", "--net", "paper", "--epochs", str(o.epochs)]
            more = ["--fashion"] if name == "fashion" else []
            command = [str(o.programs / "examples" / "mnist"), *options, *more, "--seed", str(seed), "--json"]
            print(" ".join(command), flush=True)
            if folder:
                try:
                    found.append(100 * run(command)["test_accuracy"])
                except Failed as failed:
                    print(failed)
        if found:
            deviation = statistics.stdev(found) if len(found) > 1 else 0.0
            print(f"{name}: {statistics.mean(found):.2f} ± {deviation:.2f} % over {len(found)} seeds: {found}", flush=True)


PARTS = {"speed": speed, "largest": largest, "accuracy": accuracy}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--programs", type=pathlib.Path, required=True, help="the folder of throughput and examples/mnist")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--device", default="cuda", help="PyTorch's; the others take the card if they are built for it")
    parser.add_argument("--models", nargs="+", choices=["mlp", "paper"], default=["mlp", "paper"])
    parser.add_argument("--batches", nargs="+", type=int, default=[128, 1024])
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--steps", type=int, help="steps a round; 200 for the MLP and 20 for the paper's network if not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tf32", action="store_true")
    parser.add_argument("--widths", nargs="+", type=int, default=[256, 512, 1024])
    parser.add_argument("--most-blocks", type=int, default=1 << 16)
    parser.add_argument("--limit", type=int, default=900, help="seconds that one of the largest models may take")
    parser.add_argument("--mnist", help="the folder of MNIST")
    parser.add_argument("--fashion", help="the folder of Fashion-MNIST")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100)
    o = parser.parse_args()
    card = shutil.which("nvidia-smi")
    if card:
        print(subprocess.run([card, "--query-gpu=name,driver_version", "--format=csv,noheader"], capture_output=True, text=True).stdout)
    for part in o.parts:
        print(f"\n## {part}\n", flush=True)
        PARTS[part](o)


if __name__ == "__main__":
    main()
