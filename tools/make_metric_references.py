"""Writes the references of the learned metrics' tests: pyiqa 0.1.16 with small networks.

    python tools/make_metric_references.py

Run at the root of the repository; needs pyiqa==0.1.16. Weights come from a formula of the tensor's name and the value's index, which
the tests have as well, so that the file holds names, shapes and scores alone.
"""
import json
import os
import tempfile
import warnings

warnings.filterwarnings("ignore")

import clip
import numpy as np
import timm
import torch
from PIL import Image
from pyiqa.archs import clipiqa_arch, clip_model, fid_arch, inception, maniqa_arch, musiq_arch, topiq_arch
from scipy import linalg

PAIRS = ("bicubic4", "mixed", "noise", "blur", "jpeg25", "tint")
GOLDEN = 0x9E3779B97F4A7C15
ALL = (1 << 64) - 1


def values(name, shape):
    """The weights called `name`: SplitMix64 of the hash of the name and the index, scaled by the kind of tensor."""
    start = 0xCBF29CE484222325
    for byte in name.encode():
        start = (start ^ byte) * 0x100000001B3 & ALL
    count = int(np.prod(shape, dtype=np.int64))
    with np.errstate(over="ignore"):
        z = np.uint64(start) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    uniform = (z >> np.uint64(40)).astype(np.float64) / (1 << 23) - 1
    if len(shape) == 0:
        numbers = 2.5 + 0.1 * uniform
    elif name.endswith("running_var"):
        numbers = 1 + 0.5 * uniform
    elif len(shape) == 1:
        numbers = 1 + 0.2 * uniform if name.endswith("weight") else 0.1 * uniform
    else:
        # Small questions keep MANIQA's attention among channels from jumping between values, where rounding would decide.
        gain = 2 if len(shape) == 4 else 0.01 if ".c_q." in name else 1
        numbers = np.sqrt(3 * gain / np.prod(shape[1:])) * uniform
    return torch.from_numpy(numbers.astype(np.float32).reshape(shape))


def fill(network, only=lambda name: True):
    """Gives the network its weights, and returns names and shapes."""
    shapes = {}
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and "attn_mask" not in name and only(name):
            shapes[name] = list(tensor.shape)
            tensor.copy_(values(name, tensor.shape))
    network.eval()
    return shapes


def picture(name):
    image = Image.open(f"fixtures/metrics/images/{name}.png").convert("RGB")
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 255


def small(x):
    """A part of odd size."""
    return x[..., :77, :101]


def scores(function, names, change=lambda x: x, kind=torch.float32):
    with torch.no_grad():
        return {name: float(function(change(picture(name)).to(kind))) for name in names}


ALONE = ["mixed_dist", "niqe_noise", "niqe_clean"]
references = {}

for grades in (1, 10):
    network = musiq_arch.MUSIQ(hidden_size=48, mlp_dim=96, num_layers=2, num_class=grades, pretrained=False)
    tensors = fill(network)
    references[f"musiq-{grades}"] = {"tensors": tensors, "scores": scores(network, ALONE), "small": scores(network, ALONE, small)}

network = clip_model.CLIP(64, 64, (2, 1, 1, 2), 16, None, 77, 49408, 64, 1, 2)
tensors = fill(network)
clipiqa_arch.load = lambda *_: network
judge = clipiqa_arch.CLIPIQA(pretrained=False).eval()
references["clipiqa"] = {"tensors": tensors, "scores": scores(judge, ALONE), "small": scores(judge, ALONE, small)}

create = timm.create_model
timm.create_model = lambda *_, **__: timm.models.vision_transformer.VisionTransformer(
    img_size=224, patch_size=28, embed_dim=128, depth=10, num_heads=2
)
network = maniqa_arch.MANIQA(embed_dim=128, patch_size=28, dim_mlp=96, scale=0.8, pretrained=False)
timm.create_model = create
tensors = fill(network, lambda name: "head" not in name and "vit.norm" not in name)
network.double()
double = torch.float64
references["maniqa"] = {
    "tensors": tensors,
    "scores": scores(network, ALONE, kind=double),
    "small": scores(network, ALONE, small, double),
}

for paired in (False, True):
    network = topiq_arch.CFANet("resnet26", backbone_pretrain=False, pretrained=False, use_ref=paired, inter_dim=32, num_attn_layers=2)
    tensors = fill(network)
    if paired:
        with torch.no_grad():
            found = {pair: float(network(picture(f"{pair}_dist"), picture(f"{pair}_ref"))) for pair in PAIRS[:3]}
        references["topiq-fr"] = {"tensors": tensors, "scores": found}
    else:
        references["topiq-nr"] = {"tensors": tensors, "scores": scores(network, ALONE), "small": scores(network, ALONE, small)}

shapes = {}
inception.load_pretrained_network = lambda network, _: shapes.update(fill(network, lambda name: not name.startswith(("fc.", "AuxLogits"))))
fid = fid_arch.FID()


def features(folder):
    return fid_arch.get_folder_features(
        folder, fid.model, num_workers=0, batch_size=1, device=torch.device("cpu"), verbose=False
    ).astype(np.float64)


def distance(a, b):
    """The distance with the root of the product by way of symmetric matrices: scipy's root of a singular product, which pyiqa takes,
    loses digits where there are fewer pictures than features."""
    a_cov, b_cov = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    eigenvalues, vectors = linalg.eigh(a_cov)
    half = vectors * np.sqrt(np.maximum(eigenvalues, 0))
    root = np.sqrt(np.maximum(linalg.eigvalsh(half.T @ b_cov @ half), 0)).sum()
    apart = a.mean(0) - b.mean(0)
    return float(apart @ apart + np.trace(a_cov) + np.trace(b_cov) - 2 * root)


def patches(image):
    for shift in (0, 128):
        for y in range(shift, image.height - 255, 256):
            for x in range(shift, image.width - 255, 256):
                yield image.crop((x, y, x + 256, y + 256))


with tempfile.TemporaryDirectory() as root:
    found = {}
    for kind in ("dist", "ref"):
        os.mkdir(f"{root}/{kind}")
        os.mkdir(f"{root}/patches-{kind}")
        for pair in PAIRS:
            image = Image.open(f"fixtures/metrics/images/{pair}_{kind}.png").convert("RGB")
            image.save(f"{root}/{kind}/{pair}.png")
            # Twice as large, so that there are patches.
            large = image.resize((2 * image.width, 2 * image.height), Image.NEAREST)
            for index, patch in enumerate(patches(large)):
                patch.save(f"{root}/patches-{kind}/{pair}-{index}.png")
        found[kind], found[f"patches-{kind}"] = features(f"{root}/{kind}"), features(f"{root}/patches-{kind}")
    pyiqa_fid = fid(f"{root}/dist", f"{root}/ref", num_workers=0, device=torch.device("cpu"), verbose=False)
    own = distance(found["dist"], found["ref"])
    print("fid by pyiqa", pyiqa_fid, "by symmetric matrices", own)
    references["fid"] = {
        "tensors": shapes,
        "features": found["dist"][sorted(PAIRS).index("mixed"), ::64].tolist(),
        "scores": {"fid": own, "patch-fid": distance(found["patches-dist"], found["patches-ref"])},
        "pyiqa": float(pyiqa_fid),
    }

for name, reference in references.items():
    print(name, len(reference["tensors"]), {key: value for key, value in reference.items() if key not in ("tensors", "features")})
with open("crates/gendr-metrics/tests/data/networks.json", "w") as file:
    json.dump(references, file, separators=(",", ":"))
