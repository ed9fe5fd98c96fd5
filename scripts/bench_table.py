"""Joins the measurements of scripts/bench and of JAX into the first file, and prints them.

The other files have ours, and those of JAX with its own and with our flags of XLA. Each case and loss
was measured in the order ours, JAX, JAX with our flags twice, JAX, ours. Other work on the machine can
only slow a measurement down, so the fastest of each side counts, and so does the fastest matrix
product. Without JAX its rates and the ratios are null.
"""

import itertools
import json
import pathlib
import sys

files = [a for a in sys.argv[1:] if a != "--json"]
out = pathlib.Path(files.pop(0))
ours, theirs, wide = ([json.loads(line) for line in open(f)] for f in (files + ["/dev/null"] * 2)[:3])
rows = []
for i, (key, group) in enumerate(itertools.groupby(ours, key=lambda r: (r["case"], r["loss"]))):
    group = list(group)
    row = {"case": key[0], "loss": key[1]}
    rates = [r["steps_per_s"] for r in group]
    row |= {"steps_per_s": max(rates), "jax_steps_per_s": None, "ratio": None, "jax_wide_steps_per_s": None, "ratio_wide": None}
    for rate, ratio, all in ("jax_steps_per_s", "ratio", theirs), ("jax_wide_steps_per_s", "ratio_wide", wide):
        if all:
            jax = all[i * len(group) : (i + 1) * len(group)]
            if [(r["case"], r["loss"]) for r in jax] != [key] * len(group):
                sys.exit(f"bench_table.py: JAX's results do not match ours at {key[0]}, {key[1]}")
            row[rate] = max(r["steps_per_s"] for r in jax)
            row[ratio] = row["steps_per_s"] / row[rate]
    for name in ("compile_s", "forward_ms", "jvp_ms", "double_reverse_ms"):
        row[name] = min(r[name] for r in group) or None  # 0 means not measured
    for name in ("peak_rss_mb", "step_gflop", "matrix_gflops"):
        row[name] = max(r[name] for r in group) or None
    row["share"] = row["step_gflop"] and row["step_gflop"] * row["steps_per_s"] / row["matrix_gflops"]
    row["xla_flags"] = group[0]["xla_flags"]
    rows.append(row)
out.write_text(json.dumps(rows, indent=1) + "\n")
if "--json" in sys.argv:
    print(json.dumps(rows, indent=1))
else:
    names = list(rows[0])[:-1]
    print("  ".join(f"{n:>20}" for n in names))
    for r in rows:
        print("  ".join(f"{r[n]:>20.2f}" if isinstance(r[n], float) else f"{'' if r[n] is None else r[n]:>20}" for n in names))
