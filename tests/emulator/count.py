"""What a training step asks of a GPU, counted on the emulated one: a table for each of the commands.

    cargo build --release -p experiments --features cuda --bin throughput
    python3 tests/emulator/count.py target/release/throughput "--variant dt" "--variant fm --batch 1024"

Figures are of a step: those of runs of 64 and of 32 steps, less each other. Memory is the most that a run had allocated; a driver
and cuBLAS add some 500 MB of their own. The last column is how many steps a second the host starts where kernels take no time.
"""

import json
import pathlib
import subprocess
import sys

RUN = pathlib.Path(__file__).parent / "run"
# A warm-up and five timings, of as many steps each.
TIMES = 6


def counted(program, options, steps):
    command = [RUN, "--count", program, *options, "--steps", str(steps), "--no-inference", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    counts, result = done.stderr.splitlines()[-1], done.stdout.splitlines()[-1]
    return json.loads(counts), json.loads(result)


def main():
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    print("| | launches | products | copies to the card | copies on it | MB | steps/s at most |")
    print("|---|---|---|---|---|---|---|")
    for text in sys.argv[2:]:
        (few, _), (many, result) = [counted(sys.argv[1], text.split(), steps) for steps in (32, 64)]
        figures = [(many[k] - few[k]) / (TIMES * 32) for k in ("launches", "gemms", "htod", "dtod")]
        row = [*(f"{figure:.0f}" for figure in figures), f"{many['peak_mb']:,.0f}", f"{result['steps_per_s']:,.0f}"]
        print(f"| `{text}` | " + " | ".join(row) + " |", flush=True)


main()
