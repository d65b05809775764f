"""Builds and runs the experiment `throughput` and its peers in turns on this machine, and prints the tables.

    pip install jax
    python3 benches/peers/compare.py

Training under each condition: f32; operands in bfloat16 (ours alone); without AVX-512, in JAX and PyTorch too; and with one
core kept busy by another process. Then training, inference and memory in f32. `--conditions`, `--variants`, `--batches` and `--rounds` take
less: `--conditions f32 --batches 128 --rounds 1` is done in three minutes, all of it in forty.

--torch adds PyTorch, eager and compiled, and --rust DIR Burn, Candle and plain dfdx, built before by
`cargo build --release --manifest-path benches/peers/rust/Cargo.toml` (discrete time only); --no-jax leaves JAX out.

Each figure is the median over the rounds of a run's own median, with the smallest and the largest round beside it.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


ROOT = HERE.parent.parent


def run(command):
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def built():
    """The experiment, built where it has to be."""
    command = ["cargo", "build", "--release", "-p", "experiments", "--bin", "throughput"]
    subprocess.run(command, check=True, cwd=ROOT)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return str(ROOT / target / "release" / "throughput")


@contextlib.contextmanager
def busy(on):
    """One core kept busy, by a process of a session of its own as another program's would be."""
    load = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True) if on else None
    try:
        yield
    finally:
        if load:
            load.kill()
            load.wait()


def spread(values, digits):
    low, mid, high = min(values), statistics.median(values), max(values)
    return f"{mid:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def script(name, *options, python=sys.executable):
    return [python, str(HERE / name), *options]


def in_turns(commands, rounds, run=run):
    """The results of each command, which has one turn in each round."""
    runs = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            runs[name].append(run(command))
    return runs


def header(names):
    return " | ".join(f"{name} | ratio" for name in names) + " |"


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


# What is added to our command, what to the environment of peers that can do the same (`None`: none
# does), and whether one core is busy. XLA's own flag does not hold for the library of its products.
CONDITIONS = {
    "f32": ([], {}, False),
    "bf16": (["--bf16"], None, False),
    "avx2": (
        ["--isa", "avx2"],
        {
            "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "ATEN_CPU_CAPABILITY": "avx2",
        },
        False,
    ),
    "busy": ([], {}, True),
}

RUST = {"Burn": "burn_mlp", "Candle": "candle_mlp", "plain dfdx": "dfdx_mlp"}


def steps(variant, batch):
    least = 16 if variant == "dt" else 64
    return ["--variant", variant, "--batch", str(batch), "--steps", str(max(25_600 // batch, least))]


def peers(o):
    """The names of those that were asked for."""
    torch = ["PyTorch, eager", "PyTorch, compiled"] if o.torch else []
    return [*([] if o.no_jax else ["JAX"]), *torch, *(RUST if o.rust else {})]


def command_of(peer, options, variant, o):
    """That of a peer; `None` where it has no such variant."""
    if peer == "JAX":
        return script("jax_mlp.py", *options)
    if variant != "dt":
        return None
    if peer in RUST:
        # Ten times as slow.
        fewer = max(int(options[5]) // 10, 2)
        return [str(o.rust / RUST[peer]), *options[2:4], "--steps", str(fewer)]
    how = ["--compile"] if "compiled" in peer else []
    return script("torch_mlp.py", *options[2:6], *how, python=o.torch)


def training(o):
    """Training alone, under each condition beside the peers under the same."""
    names = peers(o)
    print("| | batch | | dfdx-noprop, steps/s | of its limit | of itself in f32 | " + header(names))
    print("|---|---|---|---|---|---|" + "---|---|" * len(names))
    for variant in o.variants:
        for batch in o.batches:
            quiet = None
            for condition in o.conditions:
                more, environment, load = CONDITIONS[condition]
                options = [*steps(variant, batch), "--no-inference"]
                commands = {"ours": [o.ours, *options, *more, "--json"]}
                for peer in names if environment is not None else []:
                    command = command_of(peer, options, variant, o)
                    # Those in Rust look at the processor alone.
                    if command and not (environment and peer in RUST):
                        variables = [f"{name}={value}" for name, value in environment.items()]
                        commands[peer] = ["env", *variables, *command]
                with busy(load):
                    runs = in_turns(commands, o.rounds)
                of = lambda who, key="steps_per_s": [r[key] for r in runs.get(who, [])]
                ours = statistics.median(of("ours"))
                quiet = quiet or (ours if condition == "f32" else None)
                cells = [
                    spread(of("ours"), 1),
                    "" if load else f"{100 * statistics.median(of('ours', 'share_of_limit')):.0f} %",
                    f"{ours / quiet:.2f}" if quiet and condition != "f32" else "",
                ]
                for theirs in map(of, names):
                    cells += [spread(theirs, 1), f"{ours / statistics.median(theirs):.2f}"] if theirs else ["", ""]
                print(f"| {variant} | {batch} | {condition} | " + " | ".join(cells) + " |", flush=True)
    print()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", help="throughput, built already")
    parser.add_argument("--rust", type=pathlib.Path)
    parser.add_argument("--torch", nargs="?", const=sys.executable, help="PyTorch, by this Python or the one that runs this")
    parser.add_argument("--no-jax", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", nargs="+", default=["dt", "ct", "fm"])
    parser.add_argument("--batches", nargs="+", type=int, default=[128, 1024])
    parser.add_argument("--conditions", nargs="*", choices=list(CONDITIONS), default=list(CONDITIONS))
    parser.add_argument("--training", action="store_true", help="the first table alone")
    o = parser.parse_args()
    o.ours = o.ours or built()
    if o.conditions:
        training(o)
    if not o.training:
        everything(o)


def everything(o):
    """Training, inference, memory and first step, in f32, beside all peers."""
    figures = [
        ("training, steps/s", "steps_per_s", 1, True),
        ("inference, rows/s", "infer_rows_per_s", 0, True),
        ("one row, µs (median)", "latency_us_p50", 0, False),
        ("memory, MB", "peak_rss_mb", 0, False),
        ("first step after, s", "first_step_s", 2, False),
    ]
    names = peers(o)
    print("| | batch | figure | dfdx-noprop | " + header(names))
    print("|---|---|---|---|" + "---|---|" * len(names))
    for variant in o.variants:
        for batch in o.batches:
            options = steps(variant, batch)
            commands = {"ours": [o.ours, *options, "--json"]}
            asked = {peer: command_of(peer, options, variant, o) for peer in names}
            commands |= {peer: command for peer, command in asked.items() if command}
            runs = in_turns(commands, o.rounds)
            for figure in figures:
                row(f"{variant} | {batch}", figure, runs, names)
            limit = statistics.median([r["gflops"] / r["fma_peak_gflops"] for r in runs["ours"]])
            of = statistics.median([r["gflops"] / r["gemm_gflops"] for r in runs["ours"]])
            figure = f"{100 * limit:.0f} % ({100 * of:.0f} % of the products alone)"
            print(f"| {variant} | {batch} | share of the multiply-add limit | {figure} |" + " | |" * len(names))


if __name__ == "__main__":
    main()
