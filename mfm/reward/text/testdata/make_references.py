"""Makes the networks and the reference values of this folder.

    pip install torch torchvision timm transformers open-clip-torch ftfy pillow safetensors numpy
    python make_references.py

transformers and openclip have CLIP's networks with random weights for the vocabulary of
mfm/nn/clip/bpe/testdata, head.pth a head of the aesthetic predictor, image_reward.pt ImageReward of a
timm vision transformer and transformers' BLIP, for that of mfm/nn/blip/wordpiece/testdata.
references.safetensors has
pictures, what the originals prepare of them (with 8 bits, "NAME.rounded", and by PIL on floating-point
numbers, "NAME.prepared"), and the rewards of the latter by the original networks.
"""

import gzip
import json
import math
import pathlib
import sys

import numpy as np
import open_clip
import torch
import torchvision.transforms.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor
from timm.models.vision_transformer import VisionTransformer
from transformers import BertTokenizer, CLIPConfig, CLIPModel
from transformers.models.blip.configuration_blip import BlipTextConfig
from transformers.models.blip.modeling_blip_text import BlipTextModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

here = pathlib.Path(__file__).parent
tokens = here.parent.parent.parent / "nn/clip/bpe/testdata"
sys.path.insert(0, str(tokens))
sys.dont_write_bytecode = True
import make_tokens  # noqa: E402

size, length = 16, 12
mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
prompts = ["a photo of “the cat's” 3 hats 😀", "two dogs", "THE naïve façade &amp; a text that is longer than the network takes"]
templates = ["a photo of a {}.", "the {}", "{} in a bad photo"]
sides = {"wide": (23, 40), "high": (41, 24), "square": (32, 32), "small": (9, 12)}


def fill(model):
    torch.manual_seed(0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name == "logit_scale":
                p.fill_(2.0)
            elif p.ndim > 1:
                p.copy_(torch.randn(p.shape) * 1.5 / p[0].numel() ** 0.5)
            else:
                p.copy_(torch.randn(p.shape) * 0.2 + name.endswith("weight"))
    return model.eval()


class ResizeMaxSize(nn.Module):
    """That of HPSv2, hpsv2/src/open_clip/transform.py; with 8 bits by F.resize, as there."""

    def forward(self, img):
        width, height = img.size
        scale = size / float(max(height, width))
        if scale != 1.0:
            new_size = tuple(round(dim * scale) for dim in (height, width))
            img = F.resize(img, new_size, InterpolationMode.BICUBIC)
            pad_h, pad_w = size - new_size[0], size - new_size[1]
            img = F.pad(img, padding=[pad_w // 2, pad_h // 2, pad_w - pad_w // 2, pad_h - pad_h // 2], fill=0)
        return img


def shortest(height, width):
    short = min(height, width)
    return int(size * height / short), int(size * width / short)


def floating(pixels, height, width):
    """PIL's resize of floating-point channels, clipped after each axis as its 8 bits are."""
    x = pixels.astype("f4")
    for size in [(width, x.shape[0]), (width, height)]:
        channels = [Image.fromarray(x[..., c].copy(), "F").resize(size, Image.BICUBIC) for c in range(3)]
        x = np.clip(np.stack([np.asarray(c) for c in channels], -1), 0, 255)
    return x


def normalized(levels):
    x = torch.from_numpy(levels.transpose(2, 0, 1).copy()).float() / 255
    return ((x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None])[None]


def crop(x, round_half):
    top, left = ((n - size) / 2 for n in x.shape[:2])
    top, left = (int(round(n)) if round_half else math.floor(n) for n in (top, left))
    return x[top : top + size, left : left + size]


def pad(x):
    to = np.zeros((size, size, 3), "f4")
    top, left = ((size - n) // 2 for n in x.shape[:2])
    to[top : top + x.shape[0], left : left + x.shape[1]] = x
    return to


class ImageReward(nn.Module):
    """That of the package image-reward, ImageReward/ImageReward.py."""

    def __init__(self, vocabulary):
        super().__init__()
        self.blip = nn.Module()
        self.blip.visual_encoder = VisionTransformer(img_size=size, patch_size=8, embed_dim=12, depth=2, num_heads=3, num_classes=0)
        config = BlipTextConfig(vocab_size=vocabulary, hidden_size=8, encoder_hidden_size=12, intermediate_size=16,
                                num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=40, hidden_act="gelu")
        self.blip.text_encoder = BlipTextModel(config, add_pooling_layer=False)
        self.blip.vision_proj = nn.Linear(12, 4)
        self.mlp = head(8)
        self.mean, self.std = 0.16717362830052426, 1.0333394966054072

    def forward(self, ids, mask, image):
        seen = self.blip.visual_encoder.forward_features(image)
        out = self.blip.text_encoder(ids, attention_mask=mask, encoder_hidden_states=seen,
                                     encoder_attention_mask=torch.ones(seen.shape[:-1], dtype=torch.long))
        return (self.mlp.layers(out.last_hidden_state[:, 0]) - self.mean) / self.std


def head(width):
    model = nn.Module()
    model.layers = nn.Sequential(nn.Linear(width, 9), nn.Dropout(0.2), nn.Linear(9, 7), nn.Dropout(0.2), nn.Linear(7, 5),
                                 nn.Dropout(0.1), nn.Linear(5, 3), nn.Linear(3, 1))
    return fill(model)


if __name__ == "__main__":
    # The vocabulary has 600 tokens.
    tiny = here / "tiny.gz"
    tiny.write_bytes(gzip.compress((tokens / "tiny_vocabulary.txt").read_bytes()))
    simple = open_clip.tokenizer.SimpleTokenizer(str(tiny), context_length=length)
    merges = [tuple(m.split()) for m in (tokens / "tiny_vocabulary.txt").read_text().split("\n")[1:]]
    fast = make_tokens.transformers_tokenizer(merges)
    tiny.unlink()
    common = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = common | {"vocab_size": 600, "max_position_embeddings": length, "eos_token_id": 599, "bos_token_id": 598}
    vision = common | {"image_size": size, "patch_size": 8, "hidden_size": 16}
    hf = fill(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=6)))
    hf.save_pretrained(here / "transformers")
    c = {"embed_dim": 6, "vision_cfg": {"image_size": size, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
         "text_cfg": {"context_length": length, "vocab_size": 600, "width": 8, "heads": 2, "layers": 1}}
    clip = fill(open_clip.CLIP(**c))
    (here / "openclip").mkdir(exist_ok=True)
    (here / "openclip/open_clip_config.json").write_text(json.dumps({"model_cfg": c}))
    torch.save({"epoch": 1, "state_dict": clip.state_dict()}, here / "openclip/HPS_v2.1_compressed.pt")
    words = (here.parent.parent.parent / "nn/blip/wordpiece/testdata/vocabulary.txt").read_text().split("\n")[:-1]
    bert = BertTokenizer(vocab={w: i for i, w in enumerate(words)})
    bert.add_special_tokens({"bos_token": "[DEC]"})
    bert.add_special_tokens({"additional_special_tokens": ["[ENC]"]})
    image_reward = fill(ImageReward(len(bert)))
    torch.save(image_reward.state_dict(), here / "image_reward.pt")
    aesthetic = head(6)
    torch.save(aesthetic.state_dict(), here / "head.pth")

    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size},
                                      image_mean=mean, image_std=std)
    torchvision = Compose([Resize(size, interpolation=InterpolationMode.BICUBIC), CenterCrop(size), ToTensor(), Normalize(mean, std)])
    hps = Compose([ResizeMaxSize(), ToTensor(), Normalize(mean, std)])
    unit = lambda x: nn.functional.normalize(x, dim=-1)
    pooled = lambda x: getattr(x, "pooler_output", x)
    values = {}
    with torch.no_grad():
        ids = torch.tensor(fast(prompts, padding="max_length", truncation=True, max_length=length)["input_ids"])
        hf_texts = unit(pooled(hf.get_text_features(input_ids=ids)))
        clip_texts = clip.encode_text(simple(prompts), normalize=True)
        zero_shot = open_clip.build_zero_shot_classifier(clip, simple, prompts, templates)
        read = bert(prompts[:1], padding="max_length", truncation=True, max_length=35, return_tensors="pt")
        for name, (height, width) in sides.items():
            pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype("u1")
            image = Image.fromarray(pixels)
            values[name + ".pixels"] = torch.from_numpy(pixels.astype("f4"))
            scale = size / max(height, width)
            prepared = {
                "shortest": normalized(crop(floating(pixels, *shortest(height, width)), False)),
                "shortest_rounded": normalized(crop(floating(pixels, *shortest(height, width)), True)),
                "longest": normalized(pad(floating(pixels, round(height * scale), round(width * scale)))),
            }
            rounded = {
                "shortest": torch.from_numpy(np.asarray(processor(image)["pixel_values"][0]))[None],
                "shortest_rounded": torchvision(image)[None], "longest": hps(image)[None],
            }
            for fit in prepared:
                values[f"{name}.{fit}.prepared"], values[f"{name}.{fit}.rounded"] = prepared[fit], rounded[fit]
            hf_image = unit(pooled(hf.get_image_features(pixel_values=prepared["shortest"])))
            logits = hf.logit_scale.exp() * hf_image @ hf_texts.T
            values[name + ".clip_relevance"] = values[name + ".pickscore"] = logits[:, 0]
            values[name + ".text_match"] = logits.log_softmax(-1)[:, 0]
            clip_image = clip.encode_image(prepared["longest"], normalize=True)
            values[name + ".hps"] = (clip_image @ clip_texts.T)[:, 0]
            clip_image = clip.encode_image(prepared["shortest_rounded"], normalize=True)
            logits = clip.logit_scale.exp() * clip_image @ zero_shot
            values[name + ".clip_relevance_templates"] = logits[:, 0]
            values[name + ".text_match_templates"] = logits.log_softmax(-1)[:, 0]
            values[name + ".clip_relevance_openclip"] = (clip.logit_scale.exp() * clip_image @ clip_texts.T)[:, 0]
            image = prepared["shortest_rounded"]
            values[name + ".image_reward"] = image_reward(read.input_ids, read.attention_mask, image)[:, 0]
            values[name + ".aesthetic"] = aesthetic.layers(clip_image)[:, 0]
    metadata = {"prompts": json.dumps(prompts), "templates": json.dumps(templates)}
    save_file({k: v.clone().contiguous() for k, v in values.items()}, here / "references.safetensors", metadata)
