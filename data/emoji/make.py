"""Makes pictures.webp and names.csv from an unpacked npm package emoji-datasource-google 16.0.0.

    python3 data/emoji/make.py PACKAGE        (needs Pillow with WebP)

Pictures are the base emoji in Unicode's order, without skin tones, on white, in tiles of 64x64,
44 a row, as lossless WebP.
"""

import csv
import json
import pathlib
import sys

from PIL import Image

SIDE, COLUMNS = 64, 44
package, here = pathlib.Path(sys.argv[1]), pathlib.Path(__file__).parent
emoji = json.loads((package / "emoji.json").read_text())
emoji = [e for e in emoji if e["has_img_google"] and e["category"] != "Component"]
emoji.sort(key=lambda e: e["sort_order"])

sheet = Image.new("RGB", (COLUMNS * SIDE, -(-len(emoji) // COLUMNS) * SIDE), "white")
for i, e in enumerate(emoji):
    picture = Image.open(package / "img/google/64" / e["image"]).convert("RGBA")
    tile = Image.new("RGBA", picture.size, "white")
    tile.alpha_composite(picture)
    sheet.paste(tile.convert("RGB"), (i % COLUMNS * SIDE, i // COLUMNS * SIDE))
sheet.save(here / "pictures.webp", lossless=True, quality=100, method=6)

with open(here / "names.csv", "w", newline="") as f:
    rows = csv.writer(f, lineterminator="\n")
    rows.writerow(["code", "name", "category", "subcategory"])
    for e in emoji:
        rows.writerow([e["unified"], e["short_name"], e["category"], e["subcategory"]])
