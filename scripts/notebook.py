"""Executes notebooks from top to bottom, shows how far they are, and writes them as HTML.

A notebook sees MFM_PRESET (quick or full) and MFM_HEADLESS=1: nobody is there to move a slider. The first cell that fails
ends its notebook; the HTML is written all the same, and the exit code is 1. At the end it says how long each took, and how much
memory all of it needed.
"""

import argparse
import os
import pathlib
import re
import resource
import sys
import threading
import time
from textwrap import indent

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter

NOTEBOOKS = pathlib.Path(__file__).resolve().parent.parent / "notebooks"


class Client(NotebookClient):
    """A client that prints each cell's title and time, and meanwhile what the cell prints."""

    def __init__(self, nb, **options):
        super().__init__(nb, on_cell_start=self.begin, on_cell_executed=self.end, **options)
        self.titles = titles(nb)
        self.printer = Printer()

    def begin(self, cell, cell_index):
        self.began, self.source = time.monotonic(), cell.source
        if cell_index in self.titles:
            number, title = self.titles[cell_index]
            print(f"  [{number}/{len(self.titles)}] {title}", flush=True)

    def end(self, cell, cell_index, execute_reply):
        self.printer.close()
        print(f"        {time.monotonic() - self.began:.1f} s", flush=True)

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] == "stream":
            self.printer.write(msg["content"]["text"])
        return super().process_message(msg, cell, cell_index)


class Printer:
    """Prints a stream of text indented, line by line; a progress bar moves in a terminal and is left out elsewhere."""

    def __init__(self):
        self.line = ""

    def write(self, text):
        *lines, self.line = (self.line + text).split("\n")
        for line in lines:
            self.print(line, "\n")
        self.line = self.line[max(0, self.line.rstrip("\r").rfind("\r")):]
        if self.line and sys.stdout.isatty():
            self.print(self.line, "")

    def print(self, line, end):
        line, erase = line.rstrip("\r").rpartition("\r")[2], "\r\x1b[K"
        if not sys.stdout.isatty():
            line, erase = plain(line), ""
        print(f"{erase}        {line}", end=end, flush=True)

    def close(self):
        if self.line:
            self.write("\n")


class Memory(threading.Thread):
    """Watches the memory that this process and all below it (kernel, Go's compiler, the programs of the cells) hold together.

    It looks five times a second at the sum of their resident sets, in which pages that two of them share count twice. What one
    process alone held at its most the kernel tells exactly, so that no short peak of the largest one is missed.
    """

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self.done = 0, threading.Event()

    def run(self):
        while not self.done.wait(0.2):
            self.most = max(self.most, resident(os.getpid()))

    def peak(self):
        """The most so far, in bytes."""
        return max(self.most, 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def resident(root):
    """The resident sets of a process and its descendants, in bytes."""
    children, pages = {}, {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            pages[folder.name] = int((folder / "statm").read_text().split()[1])
        except (OSError, IndexError):  # it has ended
            continue
        children.setdefault(parent, []).append(folder.name)
    found = [str(root)]
    for pid in found:
        found += children.get(pid, [])
    return resource.getpagesize() * sum(pages.get(pid, 0) for pid in found)


def plain(text):
    """The text without the terminal's colours."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


def titles(nb):
    """For each code cell by its index: its number, and the heading it stands under or else its first line."""
    found, heading = {}, ""
    for i, cell in enumerate(nb.cells):
        if cell.cell_type == "markdown":
            heading = next(iter(re.findall(r"^#+ (.*)", cell.source, re.MULTILINE)), heading)
        elif cell.cell_type == "code" and cell.source.strip():
            found[i] = (len(found) + 1, heading or cell.source.strip().splitlines()[0])
    return found


def execute(file, preset, html, timeout):
    """Executes one notebook and returns whether it succeeded, and the seconds that it took."""
    began = time.monotonic()
    print(f"{file.stem} ({preset})", flush=True)
    nb = nbformat.read(file, as_version=4)
    failure = ""
    # Errors as text rather than as HTML; the kernel's own log is of no use to a reader.
    client = Client(nb, timeout=timeout, kernel_name="gonb", extra_arguments=["--raw_error"], coalesce_streams=True,
                    resources={"metadata": {"path": str(file.parent)}})
    try:
        with open(os.devnull, "w") as devnull:
            client.execute(env=os.environ | {"MFM_PRESET": preset, "MFM_HEADLESS": "1"}, stderr=devnull)
    except CellExecutionError as error:
        failure = plain(error.evalue).strip()
    except (CellTimeoutError, DeadKernelError) as error:
        failure = str(error).strip()
    except AssertionError:
        if client.km is not None:
            raise
        sys.exit("\ninterrupted: what was being trained is saved, and goes on when this is run again")  # the client has already ended the kernel
    nb.metadata["language_info"] = {"name": "go", "pygments_lexer": "go"}
    if html:
        html.mkdir(parents=True, exist_ok=True)
        page, _ = HTMLExporter().from_notebook_node(nb, resources={"metadata": {"name": file.stem}})
        page = re.sub(r'href="([\w-]+)\.ipynb"', r'href="\1.html"', page)  # the pages of the other notebooks lie beside this one
        (html / f"{file.stem}.html").write_text(page)
    seconds = time.monotonic() - began
    if failure:
        client.printer.close()
        print(f"{file.stem}: failed after {seconds:.0f} s, in the cell\n{indent(client.source, '    ')}\n{failure}", flush=True)
    else:
        print(f"{file.stem}: {seconds:.0f} s" + (f", {html / file.stem}.html" if html else ""), flush=True)
    return not failure, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="+", help="names of files in notebooks/")
    parser.add_argument("--preset", choices=["quick", "full", "paper"], default="quick")
    parser.add_argument("--html", type=pathlib.Path, help="the folder to write NAME.html to")
    parser.add_argument("--timeout", type=float, help="seconds that one cell may take")
    parser.add_argument("--report", type=pathlib.Path, help="the file to write the last line to, instead of printing it")
    args = parser.parse_args()
    memory = Memory()
    memory.start()
    done = [execute(NOTEBOOKS / name, args.preset, args.html, args.timeout) for name in args.notebooks]
    memory.done.set()
    report = ", ".join(f"{pathlib.Path(name).stem} {seconds:.0f} s" for name, (_, seconds) in zip(args.notebooks, done))
    report += f"; peak memory {memory.peak() / 1e9:.2f} GB, of all processes together"
    if args.report:
        args.report.write_text(report + "\n")
    else:
        print(report, flush=True)
    sys.exit(not all(ok for ok, _ in done))


if __name__ == "__main__":
    main()
