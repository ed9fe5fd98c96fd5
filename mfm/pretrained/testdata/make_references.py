"""Makes the reference values of this folder with PyTorch, timm, diffusers, transformers, open_clip,
efficientnet-lite-pytorch and pytorch-fid.

    pip install torch torchvision timm diffusers transformers open-clip-torch safetensors numpy
    pip install efficientnet-lite-pytorch pytorch-fid
    python make_references.py                           the small files beside this script
    python make_references.py --size XL/2 --out F       a transformer of that size with random weights
    python make_references.py --size inception --out F  pytorch-fid's network with random weights
"""

import argparse
import collections
import json
import math
import pathlib
import sys
import types
from unittest import mock

import numpy as np
import torch
from safetensors.torch import save_file
from timm.layers import Mlp, PatchEmbed
from timm.models.vision_transformer import Attention
from torch import nn

here = pathlib.Path(__file__).parent


def time_embedder(width):
    embedder = nn.Module()
    embedder.mlp = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
    return embedder


def embed_time(embedder, t):
    phase = t[:, None] * torch.exp(-math.log(10000) * torch.arange(128) / 128)
    return embedder.mlp(torch.cat([phase.cos(), phase.sin()], -1))


def modulation(width, parts):
    return nn.Sequential(nn.SiLU(), nn.Linear(width, parts * width))


def modulate(x, shift, scale):
    return x * (1 + scale[:, None]) + shift[:, None]


class RMSNorm(nn.Module):
    """The norm of queries and keys in the code of arXiv 2601.14430."""

    def __init__(self, width, **options):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.scale


class Block(nn.Module):
    def __init__(self, width, heads, qk_norm, norm=nn.LayerNorm):
        super().__init__()
        self.attn = Attention(width, heads, qkv_bias=True, qk_norm=qk_norm, norm_layer=norm)
        self.mlp = Mlp(width, 4 * width, act_layer=lambda: nn.GELU(approximate="tanh"))
        self.adaLN_modulation = modulation(width, 6)
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)

    def forward(self, x, c, x_cond):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c).chunk(6, -1)
        x = x + gate1[:, None] * self.attn(modulate(self.norm(x), shift1, scale1))
        return x + gate2[:, None] * self.mlp(modulate(self.norm(x), shift2, scale2))


class JointBlock(nn.Module):
    """Its queries also see keys and gated values of tokens of the context."""

    def __init__(self, width, heads, c):
        super().__init__()
        self.heads = heads
        self.x_cond_embedder = PatchEmbed(c["input_size"], c["patch_size"], c["in_channels"], width)
        self.register_buffer("pos_embed", positions(c["input_size"] // c["patch_size"], width))
        self.joint_attn = nn.Module()
        self.joint_attn.qkv, self.joint_attn.kv_cond = nn.Linear(width, 3 * width), nn.Linear(width, 2 * width)
        self.joint_attn.proj = nn.Linear(width, width)
        for name in ["q_norm", "k_norm", "k_cond_norm"]:
            setattr(self.joint_attn, name, RMSNorm(width // heads) if c["qk_norm"] else nn.Identity())
        self.mlp = Mlp(width, 4 * width, act_layer=lambda: nn.GELU(approximate="tanh"))
        self.adaLN_modulation = modulation(width, 7)
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)

    def forward(self, x, c, x_cond):
        shift1, scale1, gate1, shift2, scale2, gate2, gate = self.adaLN_modulation(c).chunk(7, -1)
        q, k, v = self.joint_attn.qkv(modulate(self.norm(x), shift1, scale1)).chunk(3, -1)
        k_cond, v_cond = self.joint_attn.kv_cond(self.x_cond_embedder(x_cond) + self.pos_embed).chunk(2, -1)
        q, k, k_cond, v = (t.unflatten(-1, (self.heads, -1)) for t in (q, k, k_cond, torch.cat([v, v_cond * gate[:, None]], 1)))
        k = torch.cat([self.joint_attn.k_norm(k), self.joint_attn.k_cond_norm(k_cond)], 1)
        q, k, v = (t.transpose(1, 2) for t in (self.joint_attn.q_norm(q), k, v))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + gate1[:, None] * self.joint_attn.proj(mixed)
        return x + gate2[:, None] * self.mlp(modulate(self.norm(x), shift2, scale2))


class Transformer(nn.Module):
    """The transformer of arXiv 2601.14430, in the names of its released weights."""

    def __init__(self, c, rms):
        super().__init__()
        self.c = c
        width, channels, patch = c["hidden_size"], c["in_channels"], c["patch_size"]
        embed = lambda: PatchEmbed(c["input_size"], patch, channels, width)
        self.x_embedder, self.x_cond_embedder = embed(), embed()
        self.x_cond_adaLN = modulation(width, 2)
        for name in ["s_embedder", "t_embedder", "t_cond_embedder", "s_embedder_second", "t_embedder_second"]:
            setattr(self, name, time_embedder(width))
        for name, rows in [
            ("y_embedder", c["label_dim"] + 1),
            ("guidance_embedder", (1 + len(c["model_guidance_class_ws"])) * (1 + len(c["model_guidance_x_cond_ws"]))),
        ]:
            table = nn.Module()
            table.embedding_table = nn.Embedding(rows, width)
            setattr(self, name, table)
        block = lambda: Block(width, c["num_heads"], c["qk_norm"], RMSNorm if rms else nn.LayerNorm)
        if c.get("use_joint_attention"):
            block = lambda: JointBlock(width, c["num_heads"], c)
        self.blocks = nn.ModuleList(block() for _ in range(c["depth"]))
        self.final_layer = nn.Module()
        self.final_layer.linear = nn.Linear(width, patch * patch * channels)
        self.final_layer.adaLN_modulation = modulation(width, 2)
        self.final_layer.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)

    def forward(self, s, u, t, x, x_cond, y, class_scale, context_scale):
        c = self.c
        if c["is_zero_data"]:
            s, u = 1 - s, 1 - u
        context_time = embed_time(self.t_cond_embedder, t)
        shift, scale = self.x_cond_adaLN(context_time).chunk(2, -1)
        if c["preserve_t_cond_0"]:
            shift, scale = shift * t[:, None], scale * t[:, None] - 1
        h = self.x_embedder(x) + modulate(self.x_cond_embedder(x_cond), shift, scale)
        h = h + positions(c["input_size"] // c["patch_size"], c["hidden_size"])
        nearest = lambda v, scales: (v[:, None] - torch.tensor([1.0] + scales)).abs().argmin(1)
        index = nearest(class_scale, c["model_guidance_class_ws"]) + nearest(
            context_scale, c["model_guidance_x_cond_ws"]
        ) * (1 + len(c["model_guidance_class_ws"]))
        label = self.y_embedder.embedding_table(y)
        first = embed_time(self.s_embedder, s) + embed_time(self.t_embedder, u) + context_time + label
        first = first + self.guidance_embedder.embedding_table(index)
        second = embed_time(self.s_embedder_second, s) + embed_time(self.t_embedder_second, u) + context_time + label
        for i, block in enumerate(self.blocks):
            h = block(h, first if i < c["encoder_depth"] else second, x_cond)
        shift, scale = self.final_layer.adaLN_modulation(second).chunk(2, -1)
        h = self.final_layer.linear(modulate(self.final_layer.norm(h), shift, scale))
        n, p, channels = c["input_size"] // c["patch_size"], c["patch_size"], c["in_channels"]
        h = h.reshape(-1, n, n, p, p, channels).permute(0, 5, 1, 3, 2, 4).reshape(-1, channels, n * p, n * p)
        return -h if c["is_zero_data"] else h


class SiT(nn.Module):
    """SiT of arXiv 2401.08740 and the flow map of arXiv 2510.24474, in the names of their released weights."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        width, channels, patch = c["hidden_size"], c["in_channels"], c["patch_size"]
        self.outputs = channels * (1 + c["learn_sigma"])
        self.x_embedder = PatchEmbed(c["input_size"], patch, channels, width)
        self.t_embedder = time_embedder(width)
        self.y_embedder = nn.Module()
        self.y_embedder.embedding_table = nn.Embedding(c["label_dim"] + 1, width)
        self.blocks = nn.ModuleList(Block(width, c["num_heads"], c["qk_norm"]) for _ in range(c["depth"]))
        self.final_layer = nn.Module()
        self.final_layer.linear = nn.Linear(width, patch * patch * self.outputs)
        self.final_layer.adaLN_modulation = modulation(width, 2)
        self.final_layer.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        if c["logvar"]:
            self.logvar_linear = nn.Linear(256, 1)

    def forward(self, x, t, r, y):
        """The average velocity from t to r; at r = t the SiT's velocity."""
        c = self.c
        h = self.x_embedder(x) + positions(c["input_size"] // c["patch_size"], c["hidden_size"])
        label = self.y_embedder.embedding_table(y)
        first, second = embed_time(self.t_embedder, t) + label, embed_time(self.t_embedder, r) + label
        for i, block in enumerate(self.blocks):
            h = block(h, first if i < c["encoder_depth"] else second, None)
        shift, scale = self.final_layer.adaLN_modulation(second).chunk(2, -1)
        h = self.final_layer.linear(modulate(self.final_layer.norm(h), shift, scale))
        n, p = c["input_size"] // c["patch_size"], c["patch_size"]
        h = torch.einsum("nhwpqc->nchpwq", h.reshape(-1, n, n, p, p, self.outputs)).reshape(-1, self.outputs, n * p, n * p)
        return h.chunk(2, 1)[0] if c["learn_sigma"] else h


def sit(c, path, batch):
    """in.s and in.u are times of this package, from noise at 0 to data at 1."""
    torch.manual_seed(1)
    model = SiT(c).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape) * 0.1)
    side = c["input_size"]
    x, s, y = torch.randn(batch, c["in_channels"], side, side), torch.rand(batch), torch.randint(c["label_dim"] + 1, (batch,))
    u = s + (1 - s) * torch.rand(batch) if c["logvar"] else s
    with torch.no_grad():
        v = -model(x, 1 - s, 1 - u, y) if c["is_zero_data"] else model(x, s, u, y)
    values = {"in.s": s, "in.u": u.clone(), "in.x": x, "in.class": y.int(), "out.v": v}
    values |= {"weight." + k: v for k, v in model.state_dict().items()}
    values["weight.pos_embed"] = positions(side // c["patch_size"], c["hidden_size"])
    save_file({k: v.detach().clone().contiguous() for k, v in values.items()}, path, {k: str(v) for k, v in c.items()})


def positions(side, width):
    quarter = width // 4
    omega = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    parts = []
    for axis in (column, row):
        phase = axis.reshape(-1, 1) * omega
        parts += [phase.sin(), phase.cos()]
    return torch.cat(parts, 1).float()[None]


def transformer(c, path, batch, derivatives, rms=False):
    torch.manual_seed(0)
    model = Transformer(c, rms).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            small = 0.02 if p.ndim > 1 and p.shape[-1] > 300 else 0.1
            p.copy_(torch.randn(p.shape) * (3 if name.endswith("_norm.scale") else small))
    side = c["input_size"]
    image = lambda: torch.randn(batch, c["in_channels"], side, side)
    u = torch.rand(batch)
    s = u * torch.rand(batch)
    x, x_cond, tangent = image(), image(), image()
    t = torch.rand(batch)
    scales = lambda name: torch.tensor(([1.0] + c[name])[-1:] * batch)
    y = torch.randint(c["label_dim"] + 1, (batch,))
    rest = (y, scales("model_guidance_class_ws"), scales("model_guidance_x_cond_ws"))
    values = {"in.s": s, "in.u": u, "in.t": t, "in.x": x, "in.x_cond": x_cond, "in.tangent": tangent}
    values |= {"in.class": y.int(), "in.cfg_scale": rest[1], "in.x_cond_scale": rest[2]}
    with torch.no_grad():
        values["out.v"] = model(s, u, t, x, x_cond, *rest)
    if derivatives:
        f = lambda s, u, x: model(s, u, t, x, x_cond, *rest)
        zero, one = torch.zeros_like(s), torch.ones_like(s)
        with nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH):
            values["out.jvp_s_x"] = torch.func.jvp(f, (s, u, x), (one, zero, tangent))[1]
            values["out.jvp_u"] = torch.func.jvp(f, (s, u, x), (zero, one, torch.zeros_like(x)))[1]
            leaf = x_cond.clone().requires_grad_()
            (model(s, u, t, x, leaf, *rest) * tangent).sum().backward()
            values["out.grad_x_cond"] = leaf.grad
    weights = {"weight." + k: v for k, v in model.state_dict().items()}
    weights["weight.pos_embed"] = positions(side // c["patch_size"], c["hidden_size"])
    all_values = {k: v.detach().clone().contiguous() for k, v in (weights | values).items()}
    save_file(all_values, path, {k: str(v) for k, v in c.items()})


def autoencoder(path, shape=(2, 3, 8, 8), tile=None):
    """tile is the side of tiles in pixels, twice that in latents."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    c = {"in_channels": 3, "out_channels": 3, "latent_channels": 2, "block_out_channels": (4, 8),
         "layers_per_block": 1, "norm_num_groups": 2, "down_block_types": ("DownEncoderBlock2D",) * 2,
         "up_block_types": ("UpDecoderBlock2D",) * 2}
    model = AutoencoderKL(**c).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape) * (0.2 if p.ndim > 1 else 0.1) + (p.ndim == 1) * 0.5)
    if tile:
        model.enable_tiling()
        model.tile_sample_min_size, model.tile_latent_min_size = tile, tile // 2
        c["tile_sample_min_size"] = tile
    image, w = torch.randn(shape), torch.randn(shape)
    latent = torch.randn(shape[0], 2, shape[2] // 2, shape[3] // 2, requires_grad=True)
    posterior = model.encode(image).latent_dist
    decoded = model.decode(latent).sample
    (decoded * w).sum().backward()
    values = {"in.image": image, "in.latent": latent, "in.w": w, "out.mean": posterior.mean,
              "out.logvar": posterior.logvar, "out.image": decoded, "out.grad_latent": latent.grad}
    values |= {"weight." + k: v for k, v in model.state_dict().items()}
    save_file({k: v.detach().clone().contiguous() for k, v in values.items()}, path, {k: str(v) for k, v in c.items()})


def efficientnet(path):
    """An EfficientNet-Lite of few channels, on images of odd sides."""
    from efficientnet_lite_pytorch import EfficientNet

    torch.manual_seed(0)
    model = EfficientNet.from_name("efficientnet-lite0", width_coefficient=0.05, depth_coefficient=0.5, num_classes=5,
                                   fix_head_stem=False, image_size=None).eval()
    with torch.no_grad():
        for name, p in model.state_dict().items():
            if name.endswith(("running_var", "bn0.weight", "bn1.weight", "bn2.weight")):
                p.copy_(0.5 + torch.rand(p.shape))
            elif p.ndim > 1:
                p.copy_(torch.randn(p.shape) * 2 / p[0].numel() ** 0.5)
            elif p.ndim == 1:
                p.copy_(torch.randn(p.shape) * 0.3)
    stages, channels = [], model._conv_stem.out_channels
    for block in model._blocks:
        a = block._block_args
        # The first stride of a stage is a list. The package compares it with 1, and so leaves out the skip
        # connection of TensorFlow's original if the stride is [1] and the numbers of channels are equal.
        stride = a.stride[0] if isinstance(a.stride, list) else a.stride
        block._block_args = a._replace(stride=stride)
        stages.append([1, a.kernel_size, stride, a.expand_ratio, block._project_conv.out_channels])
    c = {"stem": channels, "features": model._conv_head.out_channels, "classes": 5, "stages": stages}
    image, w = (2 * torch.rand(2, 3, 29, 26) - 1).requires_grad_(), torch.randn(2, 5)
    pixels = ((image + 1) * 127.5 - 127) / 128
    features, logits = model.extract_features(pixels).mean((2, 3)), model(pixels)
    (logits * w).sum().backward()
    values = {"in.image": image, "in.w": w, "out.features": features, "out.logits": logits, "out.grad_image": image.grad}
    values |= {"weight." + k: v for k, v in model.state_dict().items()}
    save_file({k: v.detach().clone().contiguous() for k, v in values.items()}, path, {k: str(v) for k, v in c.items()})


def fill(model):
    """Random weights that keep activations of a size of about one, with gains near one."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name == "logit_scale":
                p.fill_(1.5)
            elif p.ndim > 1:
                p.copy_(torch.randn(p.shape) * 1.5 / p[0].numel() ** 0.5)
            else:
                p.copy_(torch.randn(p.shape) * 0.2 + name.endswith("weight"))
    return model.eval()


def clip_inputs(vocabulary, tokens, side, end):
    pixels = torch.randn(3, 3, side, side, requires_grad=True)
    ids = torch.randint(end, (2, tokens))
    for row, length in enumerate([4, tokens - 1]):
        ids[row, length:] = end
    return pixels, ids


def clip_transformers(path):
    """CLIP of transformers with the exact GELU, and texts of several lengths."""
    from transformers import CLIPConfig, CLIPModel

    common = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "hidden_act": "gelu"}
    text = common | {"num_attention_heads": 2, "vocab_size": 30, "max_position_embeddings": 9, "eos_token_id": 29}
    vision = common | {"num_attention_heads": 4, "image_size": 12, "patch_size": 4}
    model = fill(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=10)))
    pixels, ids = clip_inputs(30, 9, 12, 29)
    out = model(input_ids=ids, pixel_values=pixels)
    out.logits_per_image.sum().backward()
    save_clip(path, model, pixels, ids, out.image_embeds, out.text_embeds, out.logits_per_image,
              {"text": json.dumps(text), "vision": json.dumps(vision)})


def clip_openclip(path, quick):
    """CLIP of OpenCLIP; quick chooses its activation."""
    import open_clip

    c = {"embed_dim": 10, "quick_gelu": quick,
         "vision_cfg": {"image_size": 12, "layers": 2, "width": 24, "head_width": 8, "patch_size": 4},
         "text_cfg": {"context_length": 9, "vocab_size": 30, "width": 16, "heads": 2, "layers": 2}}
    model = fill(open_clip.CLIP(**c))
    pixels, ids = clip_inputs(30, 9, 12, 29)
    image, text, scale = model(pixels, ids)
    logits = scale * image @ text.T
    logits.sum().backward()
    save_clip(path, model, pixels, ids, image, text, logits, {"model_cfg": json.dumps(c)})


def save_clip(path, model, pixels, ids, image, text, logits, metadata):
    values = {"in.pixel_values": pixels, "in.input_ids": ids.int(), "out.image_embeds": image, "out.text_embeds": text,
              "out.logits_per_image": logits, "out.grad_pixel_values": pixels.grad}
    values |= {"weight." + k: v for k, v in model.state_dict().items()}
    save_file({k: v.detach().clone().contiguous() for k, v in values.items()}, path, metadata)


def random_inception(divisor):
    """pytorch-fid's network and its module, all of whose numbers of channels are divided, with random weights."""
    import torchvision
    from pytorch_fid import inception as original

    parts = torchvision.models.inception

    class Narrow(parts.BasicConv2d):
        def __init__(self, inputs, outputs, **options):
            super().__init__(inputs if inputs == 3 else inputs // divisor, outputs // divisor, **options)

    torch.manual_seed(0)
    with mock.patch.multiple(parts, BasicConv2d=Narrow), mock.patch.multiple(original, load_state_dict_from_url=mock.DEFAULT), \
            mock.patch.object(parts.Inception3, "load_state_dict"):
        network = original.fid_inception_v3()
    with torch.no_grad():
        for name, p in network.state_dict().items():
            if name.endswith(("running_var", "bn.weight")):
                p.copy_((0.5 + torch.rand(p.shape)).half())
            elif p.ndim > 1:
                p.copy_((torch.randn(p.shape) * (2 / p[0].numel()) ** 0.5).half())
            elif p.ndim == 1:
                p.copy_((torch.randn(p.shape) * 0.3).half())
    with mock.patch.object(original, "fid_inception_v3", lambda: network):
        return network, original.InceptionV3().eval()


def inception(path, divisor):
    network, model = random_inception(divisor)
    image = (2 * torch.rand(2, 3, 20, 23) - 1).half().float()
    with torch.no_grad():
        features = model((image + 1) / 2)[0][:, :, 0, 0]
    values = {"in.image": image, "out.features": features}
    values |= {"weight." + k: v.half() for k, v in network.state_dict().items() if v.ndim > 0 and not k.startswith("fc.")}
    save_file({k: v.detach().clone().contiguous() for k, v in values.items()}, path, {"divisor": str(divisor)})


def torch_files():
    """Files of torch.save, whose elements are their numbers in the order of the storage."""
    count = lambda n, dtype=torch.float32: torch.arange(n, dtype=dtype)
    base = count(24).reshape(4, 6)
    state = collections.OrderedDict(
        matrix=base, transposed=base.t(), column=base[:, 2], slice=base[1:3, ::2], scalar=torch.tensor(7.0),
        half=count(3).half(), brain=count(3).bfloat16(), double=count(3).double(), empty=torch.zeros(0, 3),
        long=count(3, torch.int64), bool=torch.tensor([True, False]), parameter=nn.Parameter(count(5)),
    )
    class Settings(dict):
        """A class that a reader does not know."""

        __module__ = "project"

    sys.modules["project"] = types.SimpleNamespace(Settings=Settings)
    Settings.__qualname__ = "Settings"
    settings = Settings(rate=1e-3)
    settings.path = pathlib.PurePosixPath("a/b")
    lightning = {"state_dict": {"net.w": count(4), "net.b": count(2), "model_ema.w": count(4) + 1, "model_ema.b": count(2) + 1,
                                "model_ema.decay": torch.tensor(0.99), "model_ema.num_updates": torch.tensor(3)},
                 "hyper_parameters": settings, "callbacks": {"ModelCheckpoint{}": {"best": np.float64(0.5)}},
                 "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0), "exp_avg": count(4)}},
                                       "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0]}]}],
                 "lr_schedulers": [], "loops": {"fit": collections.Counter(a=1)}, "pytorch-lightning_version": "2.5"}
    torch.save(lightning, here / "lightning.ckpt")
    checkpoint = {"epoch": 3, "state_dict": {"model." + k: v for k, v in state.items()}, "name": "text",
                  "optimizer_states": [{"state": {0: {"exp_avg": count(2)}}, "lr": 1e-3}], "ema": None}
    torch.save(checkpoint, here / "zip.pt")
    torch.save(checkpoint, here / "legacy.pt", _use_new_zipfile_serialization=False)


def npz_files():
    count = lambda *shape, dtype="f4": np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    arrays = {"half": count(3, dtype="f2"), "matrix": count(2, 3), "double": count(2, dtype="f8"),
              "int": count(3, dtype="i4"), "long": count(3, dtype="i8"), "empty": count(0, 2), "scalar": np.float32(7),
              "fortran": np.asfortranarray(count(2, 3, 4)), "layer/zeros": np.zeros((50, 100), "f4")}
    np.savez_compressed(here / "arrays.npz", **arrays)
    np.savez(here / "objects.npz", a=np.array([{"a": 1}], dtype=object))


sizes = {"S": (384, 12, 6, 8), "B": (768, 12, 12, 8), "L": (1024, 24, 16, 18), "XL": (1152, 28, 16, 20)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", help="such as XL/2")
    parser.add_argument("--out")
    args = parser.parse_args()
    common = {"is_zero_data": True, "preserve_t_cond_0": True, "qk_norm": False, "model_guidance_x_cond_ws": []}
    if args.size == "inception":
        inception(args.out, 1)
    elif args.size:
        name, patch = args.size.split("/")
        width, depth, heads, encoder = sizes[name]
        c = common | {"hidden_size": width, "depth": depth, "num_heads": heads, "encoder_depth": encoder,
                      "patch_size": int(patch), "input_size": 32, "in_channels": 4, "label_dim": 1000,
                      "model_guidance_class_ws": []}
        transformer(c, args.out, 2, False)
    else:
        c = common | {"hidden_size": 16, "depth": 2, "num_heads": 2, "encoder_depth": 1, "patch_size": 2,
                      "input_size": 4, "in_channels": 3, "label_dim": 2, "qk_norm": True,
                      "model_guidance_class_ws": [2.0, 3.0], "model_guidance_x_cond_ws": [1.5]}
        transformer(c, here / "dit_qk_norm.safetensors", 3, True)
        joint = c | {"hidden_size": 8, "qk_norm": False, "preserve_t_cond_0": False, "use_joint_attention": True}
        transformer(joint, here / "dit_joint.safetensors", 3, True)
        transformer(joint | {"qk_norm": True}, here / "dit_joint_rms.safetensors", 3, True)
        transformer(c | {"hidden_size": 8}, here / "dit_rms.safetensors", 3, True, True)
        c |= {"qk_norm": False, "model_guidance_class_ws": [], "model_guidance_x_cond_ws": [], "learn_sigma": True,
              "logvar": False, "is_zero_data": False}
        sit(c, here / "sit.safetensors", 3)
        c |= {"learn_sigma": False, "logvar": True, "is_zero_data": True, "preserve_t_cond_0": False}
        sit(c, here / "dmf.safetensors", 3)
        autoencoder(here / "autoencoder.safetensors")
        autoencoder(here / "autoencoder_tiled.safetensors", (1, 3, 12, 10), 8)
        efficientnet(here / "efficientnet.safetensors")
        clip_transformers(here / "clip.safetensors")
        clip_openclip(here / "clip_openclip.safetensors", False)
        clip_openclip(here / "clip_openclip_quick.safetensors", True)
        inception(here / "inception.safetensors", 16)
        torch_files()
        npz_files()
