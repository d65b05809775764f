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


def header(columns, names):
    """The head of a table with these columns and two for each peer."""
    columns = columns + [column for name in names for column in (name, "ratio")]
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))


def figures(runs, who, key):
    return [r[key] for r in runs.get(who, []) if r.get(key) is not None]


def beside(runs, names, key, digits, more=True):
    """For each peer its figure and our ratio to it, where more is better or less is."""
    ours, cells = figures(runs, "ours", key), []
    for theirs in (figures(runs, name, key) for name in names):
        ratio = statistics.median(ours) / statistics.median(theirs) if ours and theirs else None
        cells += [spread(theirs, digits) if theirs else "", f"{ratio if more else 1 / ratio:.2f}" if ratio else ""]
    return cells


def row(what, figure, runs, names):
    """One figure of ours (name, key, digits, and whether more is better) beside that of each peer that has it."""
    name, key, digits, more = figure
    ours = figures(runs, "ours", key)
    cells = [what, name, spread(ours, digits) if ours else "", *beside(runs, names, key, digits, more)]
    print("| " + " | ".join(cells) + " |", flush=True)


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
    return max(25_600 // batch, 16 if variant == "dt" else 64)


def work(batch, count):
    return ["--batch", str(batch), "--steps", str(count)]


def peers(o):
    """The names of those that were asked for."""
    torch = ["PyTorch, eager", "PyTorch, compiled"] if o.torch else []
    return [*([] if o.no_jax else ["JAX"]), *torch, *(RUST if o.rust else {})]


def commands_of(variant, batch, more, names, o):
    """Ours, with `more` for it and for JAX, and those of the peers that have the variant."""
    count = steps(variant, batch)
    options = ["--variant", variant, *work(batch, count), *more]
    commands = {"ours": [o.ours, *options, "--json"]}
    for name in names:
        if name == "JAX":
            commands[name] = script("jax_mlp.py", *options)
        elif variant == "dt" and name in RUST:
            # Slower, and fewer steps are as many seconds.
            commands[name] = [str(o.rust / RUST[name]), *work(batch, max(count // 10, 2))]
        elif variant == "dt":
            how = ["--compile"] if "compiled" in name else []
            commands[name] = script("torch_mlp.py", *work(batch, count), *how, python=o.torch)
    return commands


def training(o):
    """Training alone, under each condition beside the peers under the same."""
    names = peers(o)
    header(["", "batch", "", "dfdx-noprop, steps/s", "of its limit", "of itself in f32"], names)
    for variant in o.variants:
        for batch in o.batches:
            quiet = None
            for condition in o.conditions:
                more, environment, load = CONDITIONS[condition]
                # Those in Rust look at the processor alone.
                able = [] if environment is None else [name for name in names if not (environment and name in RUST)]
                commands = commands_of(variant, batch, ["--no-inference"], able, o)
                commands["ours"] += more
                variables = [f"{name}={value}" for name, value in (environment or {}).items()]
                commands |= {name: ["env", *variables, *commands[name]] for name in able if name in commands}
                with busy(load):
                    runs = in_turns(commands, o.rounds)
                rates = figures(runs, "ours", "steps_per_s")
                ours = statistics.median(rates)
                quiet = quiet or (ours if condition == "f32" else None)
                share = statistics.median(figures(runs, "ours", "share_of_limit"))
                cells = [
                    spread(rates, 1),
                    "" if load else f"{100 * share:.0f} %",
                    f"{ours / quiet:.2f}" if quiet and condition != "f32" else "",
                    *beside(runs, names, "steps_per_s", 1),
                ]
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
    all_figures = [
        ("training, steps/s", "steps_per_s", 1, True),
        ("inference, rows/s", "infer_rows_per_s", 0, True),
        ("one row, µs (median)", "latency_us_p50", 0, False),
        ("memory, MB", "peak_rss_mb", 0, False),
        ("first step after, s", "first_step_s", 2, False),
    ]
    names = peers(o)
    header(["", "batch", "figure", "dfdx-noprop"], names)
    for variant in o.variants:
        for batch in o.batches:
            runs = in_turns(commands_of(variant, batch, [], names, o), o.rounds)
            for figure in all_figures:
                row(f"{variant} | {batch}", figure, runs, names)
            limit = statistics.median([r["gflops"] / r["fma_peak_gflops"] for r in runs["ours"]])
            of = statistics.median([r["gflops"] / r["gemm_gflops"] for r in runs["ours"]])
            figure = f"{100 * limit:.0f} % ({100 * of:.0f} % of the products alone)"
            print(f"| {variant} | {batch} | share of the multiply-add limit | {figure} |" + " | |" * len(names))


if __name__ == "__main__":
    main()
