"""Counts where the CPU time of the MLP's training steps goes, ours and JAX's, by kind of code.

    python scripts/profile.py MFM JAX_PYTHON [--out figures/mlp_profile.json] [--warm 20] [--seconds 20]

MFM is the built command scripts/mfm, JAX_PYTHON an interpreter with scripts/jax/requirements.txt. Needs
Linux on x86-64 with AVX-512, perf, objdump and the right to read a child's memory. The shares are those
of perf's samples after --warm seconds, by which the step must be compiled. XLA's libraries have no
symbols, so the instructions between the 5th and the 95th percentile of the samples of a block of code
decide: multiply-adds are a matrix product, loads, stores and shuffles reorder an operand.
"""

import argparse, collections, json, os, pathlib, re, subprocess, tempfile, time

arguments = argparse.ArgumentParser()
arguments.add_argument("mfm"), arguments.add_argument("jax_python")
arguments.add_argument("--out", type=pathlib.Path, default=pathlib.Path("figures/mlp_profile.json"))
for name in "--warm", "--seconds":
    arguments.add_argument(name, type=float, default=20)
a = arguments.parse_args()
os.environ["XLA_FLAGS"] = "--xla_cpu_prefer_vector_width=512"  # as mfm/backend does
LIBRARIES = {"libm.so": "libm", "libc.so": "libc", "[kernel": "system", "pjrt_c_api": "xla", "libjax_common": "xla"}
MOVES = "movss", "movups", "movlhps", "unpck", "vmov", "vinsert", "vperm", "vshuf"
KINDS = "products", "reordering", "kernels", "libm", "xla", "libc", "system", "host"


def kind(library, code):
    """Returns the kind of a block of code of a library."""
    name = os.path.basename(library)
    compiled = name.startswith(("perf-", "[JIT]", "[anon"))
    known = next((k for prefix, k in LIBRARIES.items() if name.startswith(prefix)), "host")
    if code and (compiled or known == "xla"):
        with tempfile.NamedTemporaryFile() as f:
            f.write(code), f.flush()
            command = f"objdump -D -b binary -m i386:x86-64 --no-show-raw-insn {f.name}"
            text = subprocess.check_output(command.split(), text=True)
        names = re.findall(r"^\s*[0-9a-f]+:\s+(\S+)", text, re.M)
        share = lambda prefixes: sum(i.startswith(prefixes) for i in names) / len(names)
        if share("vfmadd231ps") > 0.4:
            return "products"
        if not compiled and share(MOVES) > 0.6:
            return "reordering"
    return "kernels" if compiled else known


def profile(command):
    """Returns the share of each kind in the CPU time of a command."""
    p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(a.warm)
        with tempfile.NamedTemporaryFile() as data:
            record = f"perf record -q -e cpu-clock -F 5000 -p {p.pid} -o {data.name} -- sleep {a.seconds}"
            subprocess.check_call(record.split())
            script = f"perf script -i {data.name} -F ip,dso"
            text = subprocess.check_output(script.split(), text=True, stderr=subprocess.DEVNULL)
        blocks = collections.defaultdict(list)
        for ip, library in re.findall(r"^\s*([0-9a-f]+) \((.*)\)$", text, re.M):
            blocks[library, int(ip, 16) >> (9 if "perf-" in library else 11)].append(int(ip, 16))
        samples, shares = sum(map(len, blocks.values())), collections.Counter()
        with open(f"/proc/{p.pid}/mem", "rb", 0) as memory:
            for (library, _), at in blocks.items():
                code = b""
                if len(at) > samples / 3000 and at[0] < 1 << 47:  # not the kernel's
                    at.sort()
                    memory.seek(at[len(at) // 20])
                    code = memory.read(at[-1 - len(at) // 20] - at[len(at) // 20] + 8)
                shares[kind(library, code)] += len(at) / samples
        return {"samples": samples} | {k: round(shares[k], 4) for k in KINDS}
    finally:
        p.terminate()
        p.wait()


rows = []
for loss in "semigroup", "eulerian":
    for side, command in ("mfm", [a.mfm, "bench"]), ("jax", [a.jax_python, "scripts/jax/bench.py"]):
        command += ["--case", "mlp", "--loss", loss, "--seconds", str(a.warm + a.seconds + 60)]
        rows.append({"loss": loss, "program": side} | profile(command))
        print(rows[-1], flush=True)
a.out.write_text(json.dumps(rows, indent=1) + "\n")
