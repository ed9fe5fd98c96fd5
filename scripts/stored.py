"""Stores the outputs of executed notebooks, and checks stored notebooks.

    python scripts/stored.py NAME.ipynb...   # the check; exit code 1 if a notebook fails it

A stored notebook has the outputs of the preset quick without what differs between two runs or two
machines: times, rates, paths, execution counts. Figures become PNGs of at most 256 colors. The
metadata has a hash of the code, so that the check finds outputs older than the code.
"""

import base64
import copy
import hashlib
import html
import io
import json
import os
import pathlib
import re
import socket
import sys
import tempfile

import nbformat
from nbformat import NotebookNode
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIMIT = 1_000_000  # bytes of a file
COLUMNS = 120  # of a line of code
REQUIRED = True  # whether a notebook without outputs fails the check

# What imageHTML of package figure writes.
FIGURE = re.compile(
    r'<figure[^>]*><img src="data:image/png;base64,([^"]*)" style="width:(\d+)px[^>]* alt="([^"]*)"/>'
    r"(?:<figcaption[^>]*>(.*?)</figcaption>)?</figure>", re.DOTALL)
PROGRESS = [  # the rate and the time of package progress
    (r"\s*\b[\d.]+ (?:\w+s/s|s/\w+)\b", ""),
    (r"\b(done|stopped) (?:in|after) (?:\d+[hms])+", r"\1"),
]
TIMES = [(r"(?<![\w.,-])(?:\d+h)?(?:\d+m)?\d+(?:\.\d+)?( ?(?:ms|s|min|h))\b", r"…\1")]
PLACES = [(f"(?<![\\w.]){re.escape(place)}(?!\\w)", name) for place, name in [
    (f"{ROOT}/", "../"), (str(ROOT), ".."), (str(pathlib.Path.home()), "~"), (socket.gethostname(), "localhost"),
]] + [(re.escape(tempfile.gettempdir()) + r"(?:/[\w.-]+)*?/gonb_\w+/?", "")]
ABSOLUTE = re.compile(r"(?<![\w.~/:-])/(?:home|root|tmp|Users|private|var|work|mnt)/[\w./-]*")


def replace(text, patterns):
    for pattern, value in patterns:
        text = re.sub(pattern, value, text)
    return text


def terminal(text):
    """Returns what a terminal shows of a text: a line after its last carriage return, no control codes."""
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


def shrink(png, width=None):
    """Returns a PNG in base64 with a palette of 256 colors, and of that width in pixels unless None."""
    image = Image.open(io.BytesIO(base64.b64decode(png)))
    if image.mode == "P":
        return png.replace("\n", "")
    image = image.convert("RGB")
    if width and width < image.width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def normalized(output, small, places):
    """Returns the outputs that are stored for one; small reduces figures to the size on the page."""
    if output.output_type == "stream":
        text = replace(terminal(output.text), PROGRESS + TIMES + places)
        return [NotebookNode(output_type="stream", name=output.name, text=text)] if text else []
    if "data" not in output:
        return [output]
    data = NotebookNode(output.data)
    output = NotebookNode(output_type="display_data", data=data, metadata=output.metadata)
    figure = FIGURE.fullmatch(data.get("text/html", "").strip())
    if figure:  # the viewers of code hosts show a PNG, but not a picture inside HTML
        png, width, alt, caption = figure.groups()
        output.data = {"image/png": png, "text/plain": html.unescape(alt)}
        output.metadata = {"image/png": {"width": int(width), "alt": html.unescape(alt)}}
        data = NotebookNode(output.data)
    if "image/png" in data:
        width = output.metadata.get("image/png", {}).get("width")
        data["image/png"] = shrink(data["image/png"], width if small else None)
    for kind in data:
        if kind.startswith("text/"):
            data[kind] = replace(data[kind], PROGRESS + places)
    output.data = data
    if not figure or not caption:
        return [output]
    text = {"text/html": f'<div style="font-size:90%">{caption}</div>', "text/plain": html.unescape(caption)}
    return [output, NotebookNode(output_type="display_data", data=NotebookNode(text), metadata={})]


def normalize(nb, small=False, places=()):
    """Returns a copy of a notebook with normalized outputs and metadata, without places of this machine."""
    nb = copy.deepcopy(nb)
    nb.metadata = NotebookNode({k: nb.metadata[k] for k in ("kernelspec", "stored") if k in nb.metadata},
                               language_info={"name": "go"})
    for cell in code(nb):
        cell.execution_count = None
        cell.metadata.pop("execution", None)
        cell.outputs = [stored for output in cell.outputs for stored in normalized(output, small, list(places))]
    return nb


def code(nb):
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def digest(nb):
    """Returns a hash of the code of a notebook."""
    return hashlib.sha256(json.dumps([cell.source for cell in code(nb)]).encode()).hexdigest()[:16]


def serialized(nb):
    return nbformat.writes(nb).rstrip("\n") + "\n"


def store(file, executed, preset):
    """Writes the outputs of an executed copy of a notebook to its file, and returns what is wrong or None."""
    nb = nbformat.read(file, as_version=4)
    if digest(nb) != digest(executed):
        return "its code has changed meanwhile"
    nb.metadata.stored = {"code": digest(nb), "preset": preset}
    for cell, done in zip(code(nb), code(executed)):
        cell.outputs = done.outputs
    for small in False, True:
        text = serialized(normalize(nb, small, PLACES))
        if len(text.encode()) < LIMIT:
            break
    else:
        return f"it would have {len(text.encode())} bytes, at least {LIMIT}: draw fewer or smaller figures"
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, file)


def problem(file):
    """Returns what is wrong with a notebook, or None."""
    nb = nbformat.read(file, as_version=4)
    outputs = [output for cell in code(nb) for output in cell.outputs]
    if not outputs:
        return "has no outputs" if REQUIRED or "stored" in nb.metadata else None
    if file.stat().st_size >= LIMIT:
        return f"has {file.stat().st_size} bytes, at least {LIMIT}"
    if any(output.output_type == "error" for output in outputs):
        return "has the output of a failure"
    if nb.metadata.get("stored", {}).get("code") != digest(nb):
        return "has outputs older than its code"
    for line in "\n".join(cell.source for cell in code(nb)).split("\n"):
        if len(line) > COLUMNS:
            return f"has a line of code of {len(line)} columns, more than {COLUMNS}: {line.strip()[:40]}..."
    text = serialized(nb)
    if text != serialized(normalize(nb)):
        return "has outputs with times, paths or counts"
    path = ABSOLUTE.search("\n".join(o.get("text", "") + json.dumps(o.get("data", "")) for o in outputs))
    return f"has the path {path[0]} in its outputs" if path else None


def main():
    if len(sys.argv) < 2:
        sys.exit("stored.py: name at least one notebook")
    problems = {name: found for name in sys.argv[1:] if (found := problem(pathlib.Path(name)))}
    for name, found in problems.items():
        print(f"{name} {found}: run scripts/run --store {pathlib.Path(name).stem}")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
