"""Makes picture files and NAME.want.png, what PIL decodes and ADM makes of them: pip install pillow numpy."""

import pathlib

import numpy as np
from PIL import Image, ImageOps

here = pathlib.Path(__file__).parent
Image.MAX_IMAGE_PIXELS = None


def want(name, picture):
    picture.save(here / f"{name}.want.png", optimize=True)


def save(name, picture, **options):
    """Writes a file and what PIL reads from it."""
    picture.save(here / name, **options)
    want(name.split(".")[0], ImageOps.exif_transpose(Image.open(here / name)).convert("RGB"))


def noise(width, height):
    small = np.random.default_rng(0).integers(0, 256, (height // 3, width // 3, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.BICUBIC)


def center_crop_arr(pil_image, image_size):
    """github.com/openai/guided-diffusion, guided_diffusion/image_datasets.py."""
    while min(*pil_image.size) >= 2 * image_size:
        pil_image = pil_image.resize(tuple(x // 2 for x in pil_image.size), resample=Image.BOX)
    scale = image_size / min(*pil_image.size)
    pil_image = pil_image.resize(tuple(round(x * scale) for x in pil_image.size), resample=Image.BICUBIC)
    arr = np.array(pil_image)
    crop_y = (arr.shape[0] - image_size) // 2
    crop_x = (arr.shape[1] - image_size) // 2
    return arr[crop_y : crop_y + image_size, crop_x : crop_x + image_size]


def pattern(width, height):
    """The picture of the test's pattern: all frequencies and both extremes."""
    x, y, c = np.meshgrid(np.arange(width), np.arange(height), np.arange(3), indexing="xy")
    value = (x * x + 3 * y * y + 5 * x * y * (c + 1) + 60 * c) // 4 % 512
    return Image.fromarray(np.clip(value - 128, 0, 255).astype(np.uint8))


for name, subsampling, size in [("420", 2, (33, 27)), ("422", 1, (33, 27)), ("444", 0, (16, 16))]:
    save(f"jpeg_{name}.jpg", noise(*size), quality=90, subsampling=subsampling)
save("jpeg_cmyk.jpg", noise(18, 12).convert("CMYK"), quality=95)
save("jpeg_gray.jpg", noise(18, 12).convert("L"), quality=90)
save("jpeg_progressive.jpg", noise(18, 12), quality=90, progressive=True)
save("png_palette.png", noise(18, 12).quantize(16))
save("png_gray.png", noise(18, 12).convert("L"))
save("webp_lossy.webp", noise(33, 27), quality=90)
save("webp_lossless.webp", noise(18, 12), lossless=True)
for turn in range(2, 9):
    exif = Image.Exif()
    exif[0x0112] = turn
    save(f"turned_{turn}.jpg", noise(18, 12), quality=90, subsampling=0, exif=exif)
save("turned_png.png", noise(18, 12), exif=exif)
save("turned_webp.webp", noise(18, 12), lossless=True, exif=exif)

deep = np.arange(12 * 18, dtype=np.uint16).reshape(12, 18) * 300
Image.fromarray(deep).save(here / "png_deep.png")  # PIL clips it at 255
want("png_deep", Image.fromarray((deep >> 8).astype(np.uint8)).convert("RGB"))
frames = [noise(6, 6), noise(6, 6).rotate(90)]
for kind in "png", "webp", "gif":
    frames[0].save(here / f"animated.{kind}", save_all=True, append_images=frames[1:], duration=9)
clear, alpha = noise(6, 6), np.arange(36).reshape(6, 6) * 255 // 35
clear.putalpha(Image.fromarray(alpha.astype(np.uint8)))
save("transparent_png.png", clear)
save("transparent_gray.png", clear.convert("LA"))
save("transparent_palette.png", clear.quantize(16))
save("transparent_key.png", noise(6, 6), transparency=noise(6, 6).getpixel((1, 2)))
save("transparent_webp.webp", clear, lossless=True, exact=True)
save("transparent_lossy.webp", clear, quality=90, exact=True)

for width, height, size in [(61, 37, 16), (133, 200, 32), (20, 9, 32), (24, 24, 24), (500, 375, 64), (7, 300, 9), (48, 32, 16)]:
    want(f"crop_{width}x{height}_{size}", Image.fromarray(center_crop_arr(pattern(width, height), size)))
want("crop_jpeg_420_16", Image.fromarray(center_crop_arr(Image.open(here / "jpeg_420.jpg"), 16)))
