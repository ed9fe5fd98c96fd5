"""Makes JPEGs of colored noise and what PIL decodes them to: pip install pillow numpy."""

import pathlib

import numpy as np
from PIL import Image

here = pathlib.Path(__file__).parent
for name, subsampling, size in [("420", 2, (33, 27)), ("422", 1, (33, 27)), ("444", 0, (16, 16))]:
    noise = np.random.default_rng(0).integers(0, 256, (size[1] // 3, size[0] // 3, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize(size, Image.BICUBIC)
    picture.save(here / f"jpeg_{name}.jpg", quality=90, subsampling=subsampling)
    Image.open(here / f"jpeg_{name}.jpg").convert("RGB").save(here / f"jpeg_{name}.png")
