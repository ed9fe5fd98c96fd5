"""Executes notebooks from top to bottom, shows their progress, and writes them as HTML pages.

A notebook sees MFM_PRESET (quick, full or paper) and MFM_HEADLESS=1, since nobody is there to move
a slider. The first cell that fails ends its notebook; the HTML is written all the same, and the exit
code is 1. At the end it reports the time of each notebook and the peak memory.
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

NOTEBOOKS = pathlib.Path(__file__).resolve().parent.parent / "notebooks"


class Client(NotebookClient):
    """A client that prints the title, the output and the time of each cell."""

    def __init__(self, nb, **options):
        super().__init__(nb, on_cell_start=self.begin, on_cell_executed=self.end, **options)
        self.titles = titles(nb)
        self.printer = Printer()

    def begin(self, cell, cell_index):
        self.began, self.source = time.monotonic(), cell.source
        if cell_index in self.titles:
            number, title = self.titles[cell_index]
            print(f"  [{number}/{len(self.titles)}] {title}".rstrip(), flush=True)

    def end(self, cell, cell_index, execute_reply):
        self.printer.close()
        print(f"        {time.monotonic() - self.began:.1f} s", flush=True)

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] == "stream":
            self.printer.write(msg["content"]["text"])
        return super().process_message(msg, cell, cell_index)


class Printer:
    """Prints text indented, line by line; a progress bar moves in a terminal and is omitted elsewhere."""

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
    """Measures the peak memory of this process and its descendants: kernel, Go's compiler, cells.

    It samples the sum of their resident sets five times a second; pages that two of them share count
    twice. The operating system reports the exact peak of a single process, so that no short peak of
    the largest one is missed.
    """

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self.done = 0, threading.Event()

    def run(self):
        while not self.done.wait(0.2):
            self.most = max(self.most, resident(os.getpid()))

    def peak(self):
        """Returns the peak so far, in bytes."""
        return max(self.most, 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def resident(root):
    """Returns the resident memory of a process and its descendants, in bytes."""
    children, pages = {}, {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            pages[folder.name] = int((folder / "statm").read_text().split()[1])
        except (OSError, IndexError):  # the process has ended
            continue
        children.setdefault(parent, []).append(folder.name)
    found = [str(root)]
    for pid in found:
        found += children.get(pid, [])
    return resource.getpagesize() * sum(pages.get(pid, 0) for pid in found)


def plain(text):
    """Returns text without terminal control codes."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


def titles(nb):
    """Returns, by index of each code cell, its number and its heading, or its first line without one.

    The further cells below a heading have none.
    """
    found, heading, last = {}, "", None
    for i, cell in enumerate(nb.cells):
        if cell.cell_type == "markdown":
            heading = next(iter(re.findall(r"^#+ (.*)", cell.source, re.MULTILINE)), heading)
        elif cell.cell_type == "code" and cell.source.strip():
            title = unformatted(heading) or cell.source.strip().splitlines()[0]
            found[i] = (len(found) + 1, "" if title == last else title)
            last = title
    return found


def unformatted(title):
    """Returns a heading without the markup of its formulas, for a terminal."""
    title = re.sub(r"\\hat\s*\{?(\w)\}?", "\\1\u0302", title)
    return re.sub(r"\$([^$]*)\$", lambda formula: re.sub(r"[\\{}]", "", formula[1]), title)


def execute(file, args):
    """Executes one notebook and returns whether it succeeded, and its time in seconds."""
    began = time.monotonic()
    print(f"{file.stem} ({args.preset})", flush=True)
    nb = nbformat.read(file, as_version=4)
    failure = ""
    # Errors come as text rather than as HTML, and the kernel's log is dropped.
    client = Client(nb, timeout=args.timeout, kernel_name="gonb", extra_arguments=["--raw_error"],
                    coalesce_streams=True, record_timing=False, resources={"metadata": {"path": str(file.parent)}})
    try:
        with open(os.devnull, "w") as devnull:
            client.execute(env=os.environ | {"MFM_PRESET": args.preset, "MFM_HEADLESS": "1"}, stderr=devnull)
    except CellExecutionError as error:
        failure = plain(error.evalue).strip()
    except (CellTimeoutError, DeadKernelError) as error:
        failure = str(error).strip()
    except AssertionError:
        if client.km is not None:
            raise
        # The client has already ended the kernel.
        sys.exit("\ninterrupted: trainings are saved, and resume when this is run again")
    nb.metadata["language_info"] = {"name": "go", "pygments_lexer": "go"}
    page = ""
    if args.html:
        import pages
        page = pages.write(nb, args.html, file.stem, [pathlib.Path(name).stem for name in args.notebooks])
    seconds = time.monotonic() - began
    if failure:
        client.printer.close()
        print(f"{file.stem}: failed after {seconds:.0f} s in the cell\n{indent(client.source, '    ')}\n{failure}", flush=True)
    else:
        print(f"{file.stem}: {seconds:.0f} s" + (f", {page}" if page else ""), flush=True)
    if args.store and not failure:
        import stored
        if failure := stored.store(file, nb, args.preset):
            print(f"{file.stem}: not stored: {failure}", flush=True)
    return not failure, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="+", help="names of files in notebooks/")
    parser.add_argument("--preset", choices=["quick", "full", "paper"], default="quick")
    parser.add_argument("--html", type=pathlib.Path, help="folder for NAME.html")
    parser.add_argument("--store", action="store_true", help="write the outputs to the notebooks")
    parser.add_argument("--timeout", type=float, help="largest time of a cell in seconds")
    parser.add_argument("--report", type=pathlib.Path, help="file for the last line, instead of printing it")
    args = parser.parse_args()
    memory = Memory()
    memory.start()
    done = [execute(NOTEBOOKS / name, args) for name in args.notebooks]
    memory.done.set()
    report = ", ".join(f"{pathlib.Path(name).stem} {seconds:.0f} s" for name, (_, seconds) in zip(args.notebooks, done))
    report += f"; peak memory {memory.peak() / 1e9:.2f} GB of all processes together"
    if args.report:
        args.report.write_text(report + "\n")
    else:
        print(report, flush=True)
    sys.exit(not all(ok for ok, _ in done))


if __name__ == "__main__":
    main()
