"""Prints the numbers of a run of notebooks as short tables, and where to find figures and pages.

It prints the numbers that the run has measured; after the quick preset, which measures a part, also
the stored ones that the notebooks show. A file holds an object of numbers or an array of results.
Results that agree in their strings (such as the loss) and in n form a group. A line shows the mean
of each number over a group, and its range.
"""

import argparse
import json
import pathlib

STORED = pathlib.Path("figures")
SHOWN = {  # the stored numbers that a notebook shows in the quick preset
    "02_gmm_posterior": ["gmm_posterior.json", "gmm_sweep.json", "gmm_parametrization.json"],
    "03_mnist_posterior": ["mnist_posterior.json"],
    "04_gmm_steering": ["gmm_steering.json"],
    "05_mnist_steering": ["mnist_steering.json", "mnist_best_of.json", "mnist_gradients.json"],
    "06_finetuning_gmm": ["finetuning_gmm.json", "finetuning_distilled.json"],
    "07_finetuning_variance": ["finetuning_variance.json"],
    "08_finetuning_mnist": ["finetuning_mnist.json"],
}
KEYS = ("seed", "t", "step", "steps", "n")  # numbers that identify a measurement
HIDDEN = ("run", "images")  # strings of no interest to a reader


def number(value):
    return f"{value:.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.3g}"


def measured(row):
    return {k: v for k, v in row.items() if isinstance(v, (int, float)) and not isinstance(v, bool) and k not in KEYS}


def table_of_rows(rows):
    groups = {}
    for row in rows:
        groups.setdefault(tuple((k, v) for k, v in row.items() if k == "n" or isinstance(v, str) and k not in HIDDEN), []).append(measured(row))
    names = list(dict.fromkeys(k for key in groups for k, _ in key))
    columns = list(dict.fromkeys(k for group in groups.values() for row in group for k in row))
    yield names + columns
    for key, group in groups.items():
        cells = [str(dict(key).get(name, "")) for name in names]
        for column in columns:
            values = [row[column] for row in group if column in row]
            span = f" ({number(min(values))}..{number(max(values))})" if len(set(values)) > 1 else ""
            cells.append(number(sum(values) / len(values)) + span if values else "")
        yield cells


def table_of_object(figures, prefix=""):
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from table_of_object(value, f"{prefix}{name} ")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield [prefix + name, number(value)]
        elif isinstance(value, (str, bool)):
            yield [prefix + name, str(value)]


def lists(figures):
    """Yields the lists of results in an object, by name, as tables of their numbers."""
    for name, rows in figures.items():
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
            columns = [k for k, v in rows[0].items() if isinstance(v, (int, float))]
            yield name, [columns] + [[number(row.get(k, 0)) for k in columns] for row in rows]


def show(table):
    table = list(table)
    widths = [max(map(len, column)) for column in zip(*table)]
    for row in table:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def section(title, files):
    print(f"\n== {title}" + ("" if files else ": none"))
    for file in files:
        print(f"\n{file}")
        try:
            content = json.loads(file.read_text())
        except ValueError as error:
            print(f"  not JSON: {error}")
            continue
        if isinstance(content, list) and all(isinstance(row, dict) for row in content):
            show(table_of_rows(content))
        elif isinstance(content, dict):
            show(table_of_object(content))
            for name, table in lists(content):
                print(f"  {name}:")
                show(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path, help="folder that the notebooks wrote to")
    parser.add_argument("notebooks", nargs="+", help="names of the notebooks")
    parser.add_argument("--preset", choices=["quick", "full", "paper"], default="quick")
    parser.add_argument("--newer", type=pathlib.Path, help="file from the start of the run: older files were not measured by it")
    args = parser.parse_args()
    began = args.newer.stat().st_mtime if args.newer else 0
    measured = [f for f in sorted(args.folder.glob("*.json")) if f.stat().st_mtime >= began]
    section(f"measured by this run ({args.preset} preset)", measured)
    if args.preset == "quick":
        stored = [STORED / name for notebook in args.notebooks for name in SHOWN.get(notebook, [])]
        if stored:
            section("stored in the repository (full preset)", stored)
    figures = args.folder / "*.png"
    print("\nsee: " + " ".join(f"{STORED / name}.html" for name in args.notebooks) + f", figures {figures}")


if __name__ == "__main__":
    main()
