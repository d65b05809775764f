"""How the cost of a step grows with blocks, width, batch and threads: runs the experiment `throughput` along one axis at a time.

    pip install matplotlib
    cargo build --release -p experiments --bin throughput
    python3 benches/growth/grow.py --ours target/release/throughput

Writes benches/growth/growth.json, docs/growth.svg, and the table of docs/performance.md on stdout.
"""

import argparse
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).parents[2]
DEFAULT = {"blocks": 10, "width": 256, "batch": 128}
AXES = {
    "blocks": ("T, the number of blocks", [10, 30, 100, 300, 1000]),
    "width": ("hidden width", [64, 128, 256, 512, 1024]),
    "batch": ("batch", [32, 128, 512, 2048]),
    "threads": ("threads", [1, 2, 4, 8]),
}


def work(options):
    """Roughly the multiply-adds of a step, to choose how many to time."""
    h = options["width"]
    return options["blocks"] * options["batch"] * (784 * h + 3 * 2 * h * h)


def run(program, axis, value):
    options = DEFAULT | {axis: value}
    steps = max(2, min(200, int(3e10 / work(options))))
    command = [program, "--no-inference", "--json", "--steps", str(steps)]
    for name, number in options.items():
        command += [f"--{name}", str(number)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def draw(results, path):
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "growth"
    figure, panels = plt.subplots(2, 4, figsize=(13, 5.5), sharex="col")
    for column, (axis, (label, _)) in zip(panels.T, AXES.items()):
        x = [point["value"] for point in results[axis]]
        times = [1000 / point["steps_per_s"] for point in results[axis]]
        memory = [point["peak_rss_mb"] for point in results[axis]]
        low = [1000 / point["max"] for point in results[axis]]
        high = [1000 / point["min"] for point in results[axis]]
        for panel, y, name in [(column[0], times, "a step, ms"), (column[1], memory, "peak memory, MB")]:
            panel.plot(x, y, "o-", color="#1f77b4")
            if axis != "threads":
                panel.plot(x, [y[-1] * v / x[-1] for v in x], ":", color="grey", label="linear")
            panel.set(xscale="log", yscale="log")
            panel.grid(alpha=0.3)
            panel.set_xticks(x, [f"{v:,}" for v in x], minor=False)
            panel.minorticks_off()
            if axis == "blocks":
                panel.set_ylabel(name)
                panel.legend(frameon=False)
        column[0].fill_between(x, low, high, color="#1f77b4", alpha=0.2)
        column[1].set_xlabel(label)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--quick", action="store_true", help="the two smallest values of each axis, to try it out")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/growth.svg")
    o = parser.parse_args()
    results = {}
    print("| | | steps/s | a step of a block, ms | memory, MB |\n|---|---|---|---|---|")
    for axis, (label, values) in AXES.items():
        results[axis] = []
        for value in values[:2] if o.quick else values:
            point = {"value": value} | run(o.ours, axis, value)
            results[axis].append(point)
            each = 1000 / point["steps_per_s"] / point["blocks"] * min(point["threads"], 2)
            print(f"| {label} | {value:,} | {point['steps_per_s']:.3g} | {each:.3g} | {point['peak_rss_mb']:,.0f} |", flush=True)
    (pathlib.Path(__file__).parent / "growth.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(results, o.out)


main()
