"""Writes notebooks as HTML pages that need no network: formulas become pictures inside the page.

    python scripts/pages.py FOLDER NAME.ipynb...   # pages of notebooks as they are stored
"""

import functools
import os
import pathlib
import re
import sys
from html import escape
from xml.etree import ElementTree

import nbformat
import ziamath
from jinja2 import DictLoader, pass_context
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from ziamath.tex import tex2mml

NOTEBOOKS = pathlib.Path(__file__).resolve().parent.parent / "notebooks"
SIZE = 17.0  # pixels of an em of the formulas, in text of 14 pixels
TEXT = 14.0
# nbconvert's page without the scripts that it loads from the network.
TEMPLATE = "".join(["{% extends 'index.html.j2' %}"] + [
    f"{{% block html_head_js_{script} %}}{{% endblock %}}" for script in ("requirejs", "mathjax", "mermaidjs")
] + ["""{% block data_png scoped %}<div class="jp-RenderedImage jp-OutputArea-output {{ extra_class }}">
<img src="data:image/png;base64,{{ output.data['image/png'] | replace('\n', '') }}" width="{{ output | get_metadata('width', 'image/png') }}"
alt="{{ output | get_metadata('alt', 'image/png') | escape_html }}">
</div>{% endblock %}"""])  # nbconvert's block leaves out the alternative text


@functools.cache
def formula(tex, inline):
    """Returns a formula as SVG, or as its source if it cannot be converted."""
    tex = re.sub(r"\\mathbb *(\w)", r"\\mathbb{\1}", tex)  # latex2mathml needs the braces
    try:
        if "\\" in tex2mml(tex, inline):
            raise ValueError("unknown command")
        svg = ziamath.Latex(tex, size=SIZE, inline=inline, color="currentColor").svgxml()
    except Exception as error:  # the libraries raise errors of many types
        print(f"formula {tex}: {error!r}", file=sys.stderr)
        return f'<code class="formula">{escape(tex)}</code>'
    _, top, width, height = (float(number) / TEXT for number in svg.attrib["viewBox"].split())
    style = f"width:{width:.3f}em;height:{height:.3f}em;vertical-align:{-top - height:.3f}em"
    svg.attrib = {"role": "img", "aria-label": tex, "viewBox": svg.attrib["viewBox"], "style": style}
    return ElementTree.tostring(svg, encoding="unicode")


class Renderer(IPythonRenderer):
    """Renders Markdown with formulas."""

    def inline_math(self, body):
        return formula(body, True)

    def block_math(self, body):
        return f'<span style="display:block;text-align:center;overflow-x:auto">{formula(body, False)}</span>'

    def latex_environment(self, name, body):
        return self.block_math(f"\\begin{{{name}}}{body}\\end{{{name}}}")


class Exporter(HTMLExporter):
    """Exports a notebook as a page without network."""

    def __init__(self):
        super().__init__(extra_loaders=[DictLoader({"page.html.j2": TEMPLATE})], template_file="page.html.j2")

    @pass_context
    def markdown2html(self, context, source):
        return MarkdownWithMath(renderer=Renderer(escape=False)).render(source)


def write(nb, folder, stem, stems):
    """Writes the page of a notebook to folder/stem.html and returns its path.

    Links to notebooks become links to their pages: those of stems, which are written by the same
    run, and those in the folder. Links to what does not exist become text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ziamath.config.svg2, ziamath.config.precision = False, 2

    def link(match):
        target, anchor = re.fullmatch(r"([^#]*)(#?.*)", match[1]).groups()
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        file = (NOTEBOOKS / target).resolve()
        if file.parent == NOTEBOOKS and file.suffix == ".ipynb":
            file = folder.resolve() / f"{file.stem}.html"
        if not file.exists() and file.stem not in stems:
            return match[2]
        return f'<a href="{os.path.relpath(file, folder.resolve())}{anchor}">{match[2]}</a>'

    page, _ = Exporter().from_notebook_node(nb, resources={"metadata": {"name": stem}})
    page = re.sub(r'<a href="([^"]*)">(.*?)</a>', link, page, flags=re.DOTALL)
    path = folder / f"{stem}.html"
    path.write_text(page, encoding="utf-8")
    return path


if __name__ == "__main__":
    files = [pathlib.Path(name) for name in sys.argv[2:]]
    for file in files:
        write(nbformat.read(file, as_version=4), pathlib.Path(sys.argv[1]), file.stem, {f.stem for f in files})
