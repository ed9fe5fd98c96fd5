"""Drives JupyterLab, as scripts/lab starts it, in a headless Chromium the way a reader does.

It opens copies of the notebooks 01 and 02, runs cells, moves a slider, stops and resumes a training,
restarts the kernel, completes a name, and closes the lab. It prints a line with the time of each
step; the first one that fails ends it with exit code 1 and leaves a screenshot in .cache.

    python scripts/browser.py CHROMIUM
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import nbformat
from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parent.parent
PATIENCE = 3600  # seconds of the longest wait: all cells of a notebook, on a busy machine
TOKEN = "browser-test"


@contextlib.contextmanager
def step(name):
    began = time.monotonic()
    print(f"  {name} ...", flush=True)
    yield
    print(f"  {name}: ok ({time.monotonic() - began:.1f} s)", flush=True)


def wait(what, ready, seconds=PATIENCE):
    """Returns the first true value of ready, or fails after that many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := ready():
            return value
        time.sleep(0.2)
    raise AssertionError(f"waited {seconds} s for {what}")


def copied(name, folder, changes=()):
    """Copies a notebook without outputs to a folder, with changes of its code."""
    nb = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    for cell in nb.cells:
        for old, new in changes:
            cell.source = cell.source.replace(old, new)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    assert all(any(new in cell.source for cell in nb.cells) for _, new in changes), f"{name} has changed: {changes}"
    nbformat.write(nb, folder / f"{name}.ipynb")


class Lab:
    """A JupyterLab of scripts/lab with settings of its own, and a page of a browser."""

    def __init__(self, folder, chromium, playwright):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address, self.folder = f"http://127.0.0.1:{port}", folder
        settings = folder / "settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings"
        settings.parent.mkdir(parents=True)
        settings.write_text('{"windowingMode": "none"}')  # keeps all outputs in the page
        self.temporary = tempfile.mkdtemp()
        self.log = (ROOT / ".cache/browser.log").open("w")
        self.process = subprocess.Popen(
            [ROOT / "scripts/lab", "--no-browser", "--ip", "127.0.0.1", "--port", str(port), "--token", TOKEN],
            env=os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "TMPDIR": self.temporary},
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True)
        wait("the server", self.kernels)
        self.browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        self.page = self.browser.new_page(viewport={"width": 1400, "height": 1000})
        self.page.set_default_timeout(180_000)

    def kernels(self):
        """Returns the running kernels in a list in a list, or None before the server answers."""
        if self.process.poll() is not None:
            raise AssertionError(f"the lab ended: see {self.log.name}")
        with contextlib.suppress(OSError):
            request = urllib.request.Request(f"{self.address}/api/kernels", headers={"Authorization": f"token {TOKEN}"})
            return [json.load(urllib.request.urlopen(request, timeout=60))]

    def open(self, name):
        self.page.goto(f"{self.address}/lab/workspaces/{name}/tree/{self.folder.name}/{name}.ipynb?reset&token={TOKEN}")
        self.notebook = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        self.notebook.locator(".jp-CodeCell").first.wait_for()
        self.page.locator("#jp-main-statusbar", has_text="(gonb) | Idle").wait_for()

    def menu(self, menu, item):
        self.page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{menu}$")).click()
        self.page.wait_for_timeout(1000)  # opening updates the items
        self.page.locator(".lm-Menu-item:not(.lm-mod-disabled) .lm-Menu-itemLabel", has_text=re.compile(f"^{item}")).first.click()

    def cell(self, text):
        """Returns the code cell with a text."""
        return self.notebook.locator(".jp-CodeCell", has=self.page.locator(".jp-InputArea", has_text=text)).first

    def run(self, cell):
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")

    def ran(self, cell, count=r"\d+"):
        """Waits until a cell is executed and returns the text of its outputs."""
        wait(f"a cell: {cell.inner_text()[:80]}", lambda: re.fullmatch(rf"\[{count}\]:", self.prompt(cell)))
        return cell.locator(".jp-Cell-outputWrapper").inner_text()

    def prompt(self, cell):
        return cell.locator(".jp-InputPrompt").inner_text().strip()

    def close(self):
        """Ends the lab by the signal of a service manager; what remains of it is a failure."""
        self.browser.close()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) in (0, 143), f"exit code {self.process.returncode}: see {self.log.name}"


def remains(lab):
    """Returns the processes of a lab, by their environment, and its files."""
    found = [str(path) for path in pathlib.Path(lab.temporary).glob("*")]
    found += [str(path) for path in lab.folder.glob("**/.ipynb_checkpoints")]
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"TMPDIR={lab.temporary}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def explore(lab):
    with step("01: opens, without a popup"):
        lab.open("01_stochastic_interpolants")
        lab.page.wait_for_timeout(2000)
        popups = lab.page.locator(".Toastify__toast, .jp-Dialog").all_inner_texts()
        assert not popups, popups
    with step("01: runs all cells"):
        lab.menu("Run", "Run All Cells")
        wait("the first cell", lambda: lab.prompt(lab.notebook.locator(".jp-CodeCell").first) != "[ ]:", 60)
        lab.ran(lab.notebook.locator(".jp-CodeCell").last)
        failures = lab.notebook.locator('[data-mime-type="application/vnd.jupyter.error"]').all_inner_texts()
        assert not failures, failures
    with step("01: shows figures and the table"):
        sizes = lab.notebook.locator(".jp-OutputArea img").evaluate_all("all => all.map(i => i.complete && i.naturalWidth)")
        assert len(sizes) >= 7 and min(sizes) > 500, sizes
        table = lab.notebook.locator(".jp-OutputArea table").first.inner_text()
        assert "linear" in table and re.search(r"\d\.\de-\d\d", table), table
    with step("01: a slider changes the numbers"):
        frame = lab.notebook.frame_locator("iframe").first
        values = lambda: (frame.locator("#tv").inner_text(), frame.locator("#words").inner_text())
        before = values()
        frame.locator("#t").focus()
        for _ in range(20):
            lab.page.keyboard.press("ArrowRight")
        after = values()
        times = [float(re.search(r"\d\.\d+", text).group()) for text, _ in (before, after)]
        assert times[1] > times[0] and after[1] != before[1], (before, after)


def complete(lab):
    with step("01: completes a name after a restart of the kernel"):
        lab.menu("Kernel", "Restart Kernel…")
        lab.page.locator(".jp-Dialog .jp-mod-accept").click()
        first, second = (lab.notebook.locator(".jp-CodeCell").nth(i) for i in (0, 1))
        lab.page.wait_for_timeout(2000)
        lab.page.locator("#jp-main-statusbar", has_text="(gonb) | Idle").wait_for()
        for count, cell in enumerate((first, second), 1):
            lab.run(cell)
            lab.ran(cell, count)
        last = lab.notebook.locator(".jp-CodeCell").last
        last.locator(".cm-content").click()
        lab.page.keyboard.press("Control+A")
        lab.page.keyboard.type("%%\nfigure.Notebo")
    with step("01: the first completion"):
        editor, found = last.locator(".cm-content"), lab.page.locator(".jp-Completer-item", has_text="Notebook")
        for attempt in range(10):  # gonb gives gopls 8 s for an answer
            lab.page.keyboard.press("Tab")
            with contextlib.suppress(AssertionError):
                wait("a completion", lambda: "figure.Notebook" in editor.inner_text() or found.count(), 20)
                break
        assert "figure.Notebook" in editor.inner_text() or found.count(), "no completion"
        print(f"    at attempt {attempt + 1}", flush=True)


def train(lab):
    text = "e.Train(ctx, Device()"
    progress = re.compile(r"(\d+)/(\d+) +\d+%")
    with step("02: trains"):
        lab.open("02_gmm_posterior")
        for i in (0, 1):
            cell = lab.notebook.locator(".jp-CodeCell").nth(i)
            lab.run(cell)
            lab.ran(cell)
        cell = lab.cell(text)
        output = cell.locator(".jp-Cell-outputWrapper")
        lab.run(cell)
        done = lambda: int(match[1]) if (match := progress.search(output.inner_text())) else 0
        wait("progress", lambda: done() > 50)
    with step("02: stops"):
        lab.page.locator('[data-command="notebook:interrupt-kernel"], button[title^="Interrupt"]').first.click()
        said = lab.ran(cell)
        stopped = re.search(r"Interrupted: .*", said)
        assert stopped, said
        step_number = done()
    with step(f"02: resumes at step {step_number}"):
        lab.run(cell)
        wait("a new run", lambda: lab.prompt(cell) == "[*]:", 60)
        first = wait("progress", lambda: done() if "Interrupted" not in output.inner_text() else 0)
        assert first >= step_number > 50, (first, step_number)
        wait("progress beyond the stop", lambda: done() > first)
        lab.page.locator('[data-command="notebook:interrupt-kernel"], button[title^="Interrupt"]').first.click()
        lab.ran(cell)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    (ROOT / ".cache").mkdir(exist_ok=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="browser-", dir=ROOT))  # cells expect the checkout in ..
    cleared = lambda: [shutil.rmtree(run) for run in (ROOT / ".cache").glob("browser-training-*")]
    try:
        cleared()
        copied("01_stochastic_interpolants", folder)
        copied("02_gmm_posterior", folder, [
            ('Folder("gmm",', 'Folder("browser-training",'), ("config.Train.Steps = 400", "config.Train.Steps = 40000"),
        ])
        with sync_playwright() as playwright:
            with step("the lab starts"):
                lab = Lab(folder, sys.argv[1], playwright)
            try:
                explore(lab)
                complete(lab)
                train(lab)
                with step("the lab ends, and leaves nothing behind"):
                    lab.close()
                    assert not (left := remains(lab)), left
            except Exception:
                with contextlib.suppress(Exception):
                    lab.page.screenshot(path=ROOT / ".cache/browser.png")
                    print(f"see {ROOT}/.cache/browser.png and browser.log", flush=True)
                raise
            finally:
                if lab.process.poll() is None:
                    lab.process.terminate()
                    lab.process.wait(60)
                shutil.rmtree(lab.temporary)
    finally:
        cleared()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
