"""Makes distances.json and statistics.npz with pytorch-fid, torch-fidelity and NumPy.

    pip install numpy torch torchvision pytorch-fid torch-fidelity timm diffusers safetensors pillow
    python make_references.py
"""

import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from pytorch_fid.fid_score import calculate_activation_statistics, calculate_frechet_distance
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

here = pathlib.Path(__file__).parent
sys.path.insert(0, str(here.parents[2] / "pretrained" / "testdata"))
sys.dont_write_bytecode = True
from make_references import random_inception  # noqa: E402


def features(n, dim, phase):
    """The tests make the same ones."""
    i, j = np.meshgrid(np.arange(n, dtype=np.float64), np.arange(dim, dtype=np.float64), indexing="ij")
    return np.sin(1.7 * i + 0.3 * j * j + phase) + 0.5 * np.cos(0.37 * i * j) + phase * np.sin(2.3 * i * i)


def pictures(n, shift):
    """The tests make the same ones: uint8 [n, 8, 8, 3]."""
    i, y, x, c = np.meshgrid(np.arange(n) + shift, np.arange(8), np.arange(8), np.arange(3), indexing="ij")
    return ((37 * i * i + 61 * y * (i + 1) + 29 * x * x + 83 * c + i * x * y) % (256 - shift)).astype(np.uint8)


def statistics(x):
    return x.mean(0), np.cov(x, rowvar=False)


def balls(a, b, k):
    """The share of the rows of a in the balls of b, in float64."""
    distances = lambda x, y: ((x[:, None] - y[None]) ** 2).sum(-1)
    radii = np.sort(distances(b, b), 1)[:, k]
    return float((distances(a, b) <= radii).any(1).mean())


def compare(a, b):
    whole = kid_features_to_metric(*map(torch.tensor, (a[: len(b)], b)), kid_subsets=1, kid_subset_size=len(b), verbose=False)
    subsets = kid_features_to_metric(*map(torch.tensor, (a, b)), kid_subsets=1000, kid_subset_size=20, verbose=False)
    out = {"frechet": float(calculate_frechet_distance(*statistics(a), *statistics(b))),
           "kernel_of_whole": whole["kernel_inception_distance_mean"],
           "kernel": subsets["kernel_inception_distance_mean"], "kernel_std": subsets["kernel_inception_distance_std"],
           "precision": balls(a, b, 3), "recall": balls(b, a, 3)}
    torch_fidelity = prc_features_to_metric(*map(torch.tensor, (a, b)), prc_neighborhood=3, prc_batch_size=1000, verbose=False)
    for name in ["precision", "recall"]:
        assert abs(torch_fidelity[name] - out[name]) < 1e-6, (name, torch_fidelity, out)
    return out


def of_pictures(n):
    _, model = random_inception(16)
    found = []
    for shift in [0, 100]:
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for i, picture in enumerate(pictures(n, shift)):
                files.append(pathlib.Path(folder) / f"{i:06}.png")
                Image.fromarray(picture).save(files[-1])
            found.append(calculate_activation_statistics(files, model, dims=128, num_workers=0))
    return float(calculate_frechet_distance(*found[0], *found[1]))


a, b = features(90, 5, 0.0), features(70, 5, 1.0)
mu, sigma = statistics(b)
np.savez_compressed(here / "statistics.npz", mu=mu, sigma=sigma)
result = {"small": compare(a, b), "wide": compare(features(90, 40, 0.0), features(70, 40, 1.0)), "pictures": of_pictures(40)}
(here / "distances.json").write_text(json.dumps(result, indent=1) + "\n")
