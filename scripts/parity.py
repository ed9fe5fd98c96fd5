"""Runs the comparisons of scripts/parity and joins their results in a file."""

import json
import os
import pathlib
import subprocess
import sys
import time

work, out, arguments = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
torch = "mfm/pretrained/testdata/tiny_autoencoder.py"


def run(*command):
    """Returns the JSON and the standard error that a command writes, its seconds and its memory."""
    with open(work / "out", "w+") as stdout, open(work / "err", "w+") as stderr:
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        _, status, usage = os.wait4(process.pid, 0)
        cost = {"seconds": round(time.monotonic() - start, 1), "peak_rss_mb": round(usage.ru_maxrss / 1024)}
        stdout.seek(0)
        stderr.seek(0)
        text = stderr.read()
        if status:
            sys.exit(f"parity.py: {' '.join(command)}: {text.strip().splitlines()[-1:]}")
        return json.load(stdout), text, cost


def references(file):
    """Returns the result of a file of reference values."""
    errors, stderr, cost = run(work / "mfm", "parity", file, "--json")
    kind = next(line.removeprefix("network: ") for line in stderr.splitlines() if line.startswith("network: "))
    return {"network": pathlib.Path(file).stem, "kind": kind, "largest": max(errors.values()), "errors": errors} | cost


def autoencoder(folder, encoder, decoder):
    """Returns the result of a tiny autoencoder."""
    weights = work / "tiny.safetensors"
    convert = ["weights", "convert", encoder, "--decoder", decoder, "--kind", "tiny-autoencoder", "--to", weights]
    run(work / "mfm", *convert, "--json")
    ours, _, cost = run(work / "mfm", "eval", "autoencoder", "--checkpoint", weights, "--data", folder, "--size", "64", "--json")
    theirs, _, _ = run(os.environ.get("PYTHON", "python3"), torch, folder, encoder, decoder)
    ours = ours["all"]
    if theirs["pictures"] != ours["pictures"]:
        sys.exit(f"parity.py: {folder}: {ours['pictures']} pictures here, {theirs['pictures']} in PyTorch")
    return {"network": pathlib.Path(encoder).stem.removesuffix("_encoder"), "kind": "tiny autoencoder"} | ours | {
        "torch_psnr": theirs["psnr"], "difference": ours["psnr"] - theirs["psnr"]} | cost


if arguments[0] == "--pictures":
    found = [autoencoder(*arguments[1:])]
else:
    found = [references(file) for file in arguments]
results = {result["network"]: result for result in json.loads(out.read_text())} if out.exists() else {}
results |= {result["network"]: result for result in found}
out.write_text(json.dumps([results[name] for name in sorted(results)], indent=1) + "\n")
print(json.dumps(found, indent=1))
