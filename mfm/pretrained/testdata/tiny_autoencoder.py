"""Prints the mean peak signal-to-noise ratio of pictures after a round trip through a tiny autoencoder.

    pip install torch pillow numpy
    python tiny_autoencoder.py FOLDER ENCODER DECODER

ENCODER and DECODER are files of the TAESD family, with or without the branch of taef2 at the coarsest
level. The pictures of FOLDER and its subfolders must have 64x64 pixels. The network is PyTorch's, of
the layers that names and shapes of the weights imply.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from PIL import Image
from torch import nn


class Block(nn.Module):
    def __init__(self, weights):
        super().__init__()
        layers = []
        for i in range(3):
            layers += [convolution(weights, f"conv.{2 * i}."), nn.ReLU()]
        self.conv = nn.Sequential(*layers[:-1])
        self.pool = None
        if "pool.0.weight" in weights:
            wide, narrow = weights["pool.0.weight"].shape[:2]
            self.pool = nn.Sequential(nn.Conv2d(narrow, wide, 1, bias=False), nn.GroupNorm(4, wide), nn.ReLU(),
                                      nn.Conv2d(wide, narrow, 1, bias=False))

    def forward(self, x):
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(x + self.conv(x))


class Squash(nn.Module):
    def forward(self, x):
        return 3 * torch.tanh(x / 3)


def convolution(weights, prefix="", stride=1):
    out, channels = weights[prefix + "weight"].shape[:2]
    return nn.Conv2d(channels, out, 3, stride, 1, bias=prefix + "bias" in weights)


def network(file, decoder):
    """The layers of a sequence; those without weights have no name in the file."""
    weights = {name: w.float() for name, w in torch.load(file, map_location="cpu", weights_only=True).items()}
    layers = []
    for i in range(1 + max(int(name.split(".")[0]) for name in weights)):
        own = {name.partition(".")[2]: w for name, w in weights.items() if name.split(".")[0] == str(i)}
        if "conv.0.weight" in own:
            layers.append(Block(own))
        elif own:
            # Convolutions without bias follow a change of the resolution in the decoder, and make it in the encoder.
            layers.append(convolution(own, stride=1 if decoder or "bias" in own else 2))
        else:
            layers.append(Squash() if i == 0 else nn.ReLU() if i == 2 else nn.Upsample(scale_factor=2))
    model = nn.Sequential(*layers)
    model.load_state_dict(weights)
    return model.eval()


folder, encoder, decoder = sys.argv[1:]
encoder, decoder = network(encoder, False), network(decoder, True)
files = sorted(f for f in pathlib.Path(folder).rglob("*") if f.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
decibels = []
with torch.no_grad():
    for i in range(0, len(files), 16):
        pixels = np.stack([np.asarray(Image.open(f).convert("RGB"), np.float32) / 255 for f in files[i : i + 16]])
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        square = (decoder(encoder(x)).clamp(0, 1) - x).double().square().mean((1, 2, 3))
        decibels += (-10 * square.log10()).tolist()
mean = sum(decibels) / len(decibels)
print(json.dumps({"pictures": len(decibels), "psnr": mean}))
