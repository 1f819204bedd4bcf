"""Makes features.safetensors: what PyTorch and transformers compute with small random networks.

    python features.py            needs torch, transformers, safetensors, numpy

Weights are not stored: both sides draw them from a seed and the parameter's name.
"""

import tempfile

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from transformers import Dinov2Config, Dinov2Model

SEED = 11
MASK = (1 << 64) - 1


def mix(z):
    z = (z + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def draw(name, shape):
    """gendr_model::draw_parameter"""
    bound = np.float32(1.0) / np.sqrt(np.float32(int(np.prod(shape[1:]))))
    key = mix(SEED)
    for byte in name.encode():
        key = mix(key ^ byte)
    unit = [np.float32(mix((key + i) & MASK) >> 40) / np.float32(1 << 23) - np.float32(1.0) for i in range(int(np.prod(shape)))]
    return (np.array(unit, np.float32) * bound).reshape(shape)


def parameter(name, shape):
    """Vectors: factors about one, others about zero. Positions and linear layers of a size that matters."""
    values = draw(name, shape)
    if name.startswith("lin"):
        return np.abs(values)
    if name == "pos_embed":
        return values * 20
    if len(shape) > 1:
        return values * (2 if name.startswith("features") else 1)
    return (1 if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "gamma")) else 0) + 0.3 * values


def picture(name, shape):
    return torch.tensor(draw(name, shape)) * np.float32(np.sqrt(np.prod(shape[1:])))


out = {}

# Perceptual distances: torchvision's layers, LPIPS's arithmetic.
NETWORKS = {
    "vgg16": {0: (3, 4), 2: (4, 4), "M": 2, 5: (4, 6), 7: (6, 6), 10: (6, 8), 12: (8, 8), 14: (8, 8),
              17: (8, 8), 19: (8, 8), 21: (8, 8), 24: (8, 8), 26: (8, 8), 28: (8, 8)},
    "alexnet": {0: (3, 6), 3: (6, 8), 6: (8, 8), 8: (8, 6), 10: (6, 6)},
}
LEVELS = {
    "vgg16": [(0, [0, 2]), (2, [5, 7]), (2, [10, 12, 14]), (2, [17, 19, 21]), (2, [24, 26, 28])],
    "alexnet": [(0, [0]), (3, [3]), (3, [6]), (0, [8]), (0, [10])],
}
GEOMETRY = {("alexnet", 0): (11, 4, 2), ("alexnet", 3): (5, 1, 2)}


def features(network, x):
    shift = torch.tensor([-0.030, -0.088, -0.188]).reshape(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).reshape(1, 3, 1, 1)
    x = (x - shift) / scale
    maps = []
    for pool, layers in LEVELS[network]:
        if pool:
            x = F.max_pool2d(x, pool, 2)
        for layer in layers:
            kernel, stride, padding = GEOMETRY.get((network, layer), (3, 1, 1))
            inner, outer = NETWORKS[network][layer]
            weight = torch.tensor(parameter(f"features.{layer}.weight", [outer, inner, kernel, kernel]))
            bias = torch.tensor(parameter(f"features.{layer}.bias", [outer]))
            x = F.relu(F.conv2d(x, weight, bias, stride=stride, padding=padding))
        maps.append(x)
    return maps


def distance(network, a, b, calibrated):
    total = 0
    for level, (a, b) in enumerate(zip(features(network, a), features(network, b))):
        unit = lambda x: x / (torch.sqrt((x * x).sum(1, keepdim=True) + 1e-20) + 1e-10)
        squares = (unit(a) - unit(b)) ** 2
        if calibrated:
            squares = squares * torch.tensor(parameter(f"lin{level}.model.1.weight", [1, a.shape[1], 1, 1]))
        total = total + squares.sum(1).mean()
    return total


for network, side in (("vgg16", 32), ("alexnet", 48)):
    a = picture("output", [2, 3, side, side]).requires_grad_()
    b = picture("reference", [2, 3, side, side])
    for calibrated in (False, True):
        value = distance(network, a, b, calibrated)
        (gradient,) = torch.autograd.grad(value, a)
        name = f"{network}.{'lpips' if calibrated else 'plain'}"
        out[f"{name}.value"] = np.array([value.item()], np.float32)
        # The first picture's gradient; the second's mean of absolute values.
        out[f"{name}.gradient"] = gradient[0].numpy()
        print(name, value.item(), gradient.abs().max().item())

# DINOv2: two blocks of two heads, 5x5 positions, asked for a grid of 4x6.
WIDTH, PATCH, SIDE, DEPTH, GRID = 128, 14, 5, 2, (4, 6)
config = Dinov2Config(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=2, mlp_ratio=2,
                      image_size=SIDE * PATCH, patch_size=PATCH, attn_implementation="eager")


def block(i, name, shape):
    return torch.tensor(parameter(f"blocks.{i}.{name}", shape))


state = {
    "embeddings.cls_token": parameter("cls_token", [1, 1, WIDTH]),
    "embeddings.mask_token": np.zeros([1, WIDTH], np.float32),
    "embeddings.position_embeddings": parameter("pos_embed", [1, SIDE * SIDE + 1, WIDTH]),
    "embeddings.patch_embeddings.projection.weight": parameter("patch_embed.proj.weight", [WIDTH, 3, PATCH, PATCH]),
    "embeddings.patch_embeddings.projection.bias": parameter("patch_embed.proj.bias", [WIDTH]),
    "layernorm.weight": parameter("norm.weight", [WIDTH]),
    "layernorm.bias": parameter("norm.bias", [WIDTH]),
}
state = {name: torch.tensor(values) for name, values in state.items()}
for i in range(DEPTH):
    layer = f"encoder.layer.{i}"
    weight = block(i, "attn.qkv.weight", [3 * WIDTH, WIDTH])
    bias = block(i, "attn.qkv.bias", [3 * WIDTH])
    for which, name in enumerate(["query", "key", "value"]):
        state[f"{layer}.attention.attention.{name}.weight"] = weight[which * WIDTH:(which + 1) * WIDTH]
        state[f"{layer}.attention.attention.{name}.bias"] = bias[which * WIDTH:(which + 1) * WIDTH]
    for theirs, ours, shape in [
        ("attention.output.dense.weight", "attn.proj.weight", [WIDTH, WIDTH]),
        ("attention.output.dense.bias", "attn.proj.bias", [WIDTH]),
        ("norm1.weight", "norm1.weight", [WIDTH]), ("norm1.bias", "norm1.bias", [WIDTH]),
        ("norm2.weight", "norm2.weight", [WIDTH]), ("norm2.bias", "norm2.bias", [WIDTH]),
        ("layer_scale1.lambda1", "ls1.gamma", [WIDTH]), ("layer_scale2.lambda1", "ls2.gamma", [WIDTH]),
        ("mlp.fc1.weight", "mlp.fc1.weight", [2 * WIDTH, WIDTH]), ("mlp.fc1.bias", "mlp.fc1.bias", [2 * WIDTH]),
        ("mlp.fc2.weight", "mlp.fc2.weight", [WIDTH, 2 * WIDTH]), ("mlp.fc2.bias", "mlp.fc2.bias", [WIDTH]),
    ]:
        state[f"{layer}.{theirs}"] = block(i, ours, shape)
# Through a folder in the published layout.
with tempfile.TemporaryDirectory() as folder:
    config.save_pretrained(folder)
    save_file({name: tensor.contiguous().numpy() for name, tensor in state.items()}, f"{folder}/model.safetensors",
              metadata={"format": "pt"})
    model, loading = Dinov2Model.from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), loading
model = model.eval()
x = picture("output", [2, 3, 64, 96])
x = F.interpolate(x, (GRID[0] * PATCH, GRID[1] * PATCH), mode="bicubic", align_corners=False)
x = (x * 0.5 + 0.5 - torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
with torch.no_grad():
    tokens = model(x).last_hidden_state[:, 1:]
out["dinov2.tokens"] = tokens[:, ::2, ::2].contiguous().numpy()
print("dinov2", tokens.shape, tokens.abs().mean().item(), (tokens[0] - tokens[1]).abs().mean().item())
save_file(out, "features.safetensors")
