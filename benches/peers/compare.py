"""Runs `examples/throughput` and its peers in turns on this machine, and prints the table of the README.

    cargo build --release --example throughput
    python3 benches/peers/compare.py --ours target/release/examples/throughput --rounds 3

Each figure is the median over the rounds of a run's own median, with the smallest and the largest round beside it.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


def run(command):
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def spread(values, digits):
    low, mid, high = min(values), statistics.median(values), max(values)
    return f"{mid:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", nargs="+", default=["dt", "ct", "fm"])
    parser.add_argument("--batches", nargs="+", type=int, default=[128, 1024])
    o = parser.parse_args()
    figures = [
        ("training, steps/s", "steps_per_s", 1, True),
        ("inference, rows/s", "infer_rows_per_s", 0, True),
        ("one row, µs (median)", "latency_us_p50", 0, False),
        ("memory, MB", "peak_rss_mb", 0, False),
        ("first step after, s", "first_step_s", 2, False),
    ]
    print("| | batch | figure | dfdx-noprop | JAX | ratio |\n|---|---|---|---|---|---|")
    for variant in o.variants:
        for batch in o.batches:
            options = ["--variant", variant, "--batch", str(batch), "--steps", str(max(12_800 // batch, 12))]
            ours, jax = [], []
            for _ in range(o.rounds):
                ours.append(run([o.ours, *options, "--json"]))
                jax.append(run([sys.executable, str(HERE / "jax_mlp.py"), *options]))
            for name, key, digits, more in figures:
                a, b = [r[key] for r in ours], [r[key] for r in jax]
                x, y = statistics.median(a), statistics.median(b)
                ratio = x / y if more else y / x
                print(f"| {variant} | {batch} | {name} | {spread(a, digits)} | {spread(b, digits)} | {ratio:.2f} |")
            gemm = [r["gflops"] / r["fma_peak_gflops"] for r in ours]
            of = statistics.median([r["gflops"] / r["gemm_gflops"] for r in ours])
            print(f"| {variant} | {batch} | share of the multiply-add limit | {100 * statistics.median(gemm):.0f} % ({100 * of:.0f} % of the products alone) | | |")


main()
