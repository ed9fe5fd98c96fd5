"""Makes the pictures and the reference values of this folder.

    pip install tensorflow-cpu pillow numpy safetensors
    python make_references.py

efficientnet.safetensors has what TensorFlow's evaluation of EfficientNet-Lite prepares of the PNGs beside
it, [size, size, 3], under NAME.SIZE: the evaluation of preprocessing.py and efficientnet_lite_builder.py
in github.com/tensorflow/tpu, models/official/efficientnet, with a PNG instead of a JPEG.
"""

import pathlib

import numpy as np
import tensorflow as tf
from PIL import Image
from safetensors.numpy import save_file

here = pathlib.Path(__file__).parent
CROP_PADDING = 32
sides = {"wide": (23, 40), "high": (61, 44), "square": (64, 64), "small": (9, 12)}
sizes = [16, 40]


def picture(height, width):
    """Noise below, and above it waves with edges."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([128 + 150 * np.sin(x * x * 0.01 * (c + 1) + y * 0.3) for c in range(3)], -1)
    noise = np.random.default_rng(height).integers(0, 256, (height, width, 3))
    return np.where(y[..., None] < height // 2, np.clip(waves, 0, 255), noise).astype("u1")


def preprocess_for_eval(png, image_size):
    image = tf.image.decode_png(png, channels=3)
    image_height, image_width = tf.shape(image)[0], tf.shape(image)[1]
    padded_center_crop_size = tf.cast(
        ((image_size / (image_size + CROP_PADDING)) * tf.cast(tf.minimum(image_height, image_width), tf.float32)), tf.int32)
    offset_height = ((image_height - padded_center_crop_size) + 1) // 2
    offset_width = ((image_width - padded_center_crop_size) + 1) // 2
    image = tf.image.crop_to_bounding_box(image, offset_height, offset_width, padded_center_crop_size, padded_center_crop_size)
    image = tf.compat.v1.image.resize_bicubic([image], [image_size, image_size])[0]
    return tf.image.convert_image_dtype(image, dtype=tf.float32)


if __name__ == "__main__":
    values = {}
    for name, (height, width) in sides.items():
        path = here / f"{name}.png"
        Image.fromarray(picture(height, width)).save(path, optimize=True)
        for size in sizes:
            image = preprocess_for_eval(path.read_bytes(), size)
            values[f"{name}.{size}"] = ((image - 127.0) / 128.0).numpy()  # MEAN_RGB and STDDEV_RGB
    save_file(values, here / "efficientnet.safetensors")
