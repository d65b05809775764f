"""Runs the experiment `throughput` and its peers in turns on this machine, and prints the table of the README.

    cargo build --release -p experiments --bin throughput
    cargo build --release --manifest-path benches/peers/rust/Cargo.toml
    python3 benches/peers/compare.py --ours target/release/throughput \\
        --rust benches/peers/rust/target/release --rounds 3

Without --rust the peers in Rust (Candle and plain dfdx, discrete time only) are left out; --torch adds PyTorch, eager and
compiled (discrete time only), and --no-jax leaves JAX out.

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


def script(name, *options):
    return [sys.executable, str(HERE / name), *options]


def in_turns(commands, rounds, run=run):
    """The results of each command, which has one turn in each round."""
    runs = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            runs[name].append(run(command))
    return runs


def header(peers):
    print("| | batch | figure | dfdx-noprop | " + " | ".join(f"{peer} | ratio" for peer in peers) + " |")
    print("|---|---|---|---|" + "---|---|" * len(peers))


def row(what, figure, runs, peers):
    """One figure of ours (name, key, digits, and whether more is better) beside that of each peer that has it."""
    name, key, digits, more = figure
    of = lambda who: [r[key] for r in runs.get(who, []) if r.get(key) is not None]
    ours, cells = of("ours"), []
    for peer in peers:
        theirs = of(peer)
        if ours and theirs:
            x, y = statistics.median(ours), statistics.median(theirs)
            cells += [spread(theirs, digits), f"{x / y if more else y / x:.2f}"]
        else:
            cells += [spread(theirs, digits) if theirs else "", ""]
    ours = spread(ours, digits) if ours else ""
    print(f"| {what} | {name} | {ours} | " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--rust", type=pathlib.Path)
    parser.add_argument("--torch", action="store_true")
    parser.add_argument("--no-jax", action="store_true")
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
    rust = {"Candle": "candle_mlp", "plain dfdx": "dfdx_mlp"} if o.rust else {}
    torch = {"PyTorch, eager": [], "PyTorch, compiled": ["--compile"]} if o.torch else {}
    peers = [*([] if o.no_jax else ["JAX"]), *torch, *rust]
    header(peers)
    for variant in o.variants:
        for batch in o.batches:
            options = ["--variant", variant, "--batch", str(batch), "--steps", str(max(25_600 // batch, 60))]
            commands = {"ours": [o.ours, *options, "--json"]}
            if not o.no_jax:
                commands["JAX"] = script("jax_mlp.py", *options)
            if variant == "dt":
                commands |= {peer: script("torch_mlp.py", *options[2:], *how) for peer, how in torch.items()}
                commands |= {peer: [str(o.rust / name), *options[2:]] for peer, name in rust.items()}
            runs = in_turns(commands, o.rounds)
            for figure in figures:
                row(f"{variant} | {batch}", figure, runs, peers)
            limit = statistics.median([r["gflops"] / r["fma_peak_gflops"] for r in runs["ours"]])
            of = statistics.median([r["gflops"] / r["gemm_gflops"] for r in runs["ours"]])
            figure = f"{100 * limit:.0f} % ({100 * of:.0f} % of the products alone)"
            print(f"| {variant} | {batch} | share of the multiply-add limit | {figure} |" + " | |" * len(peers))


if __name__ == "__main__":
    main()
