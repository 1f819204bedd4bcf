"""Seconds a pair of pictures: pyiqa and scikit-image against gendr-metrics, on the same files and number of threads, in one run.

    cargo build --release -p gendr-metrics --example speed
    python tools/compare_metric_speed.py OUTPUT REFERENCE [--threads 1] [--runs 5] [--rounds 3]

OUTPUT and REFERENCE hold pictures of the same names. Needs pyiqa, scikit-image, torch and Pillow. Pictures are decoded beforehand,
or each time with --files: by Pillow there, by gendr-image here. In memory every program has them in the form it computes on: pyiqa
float tensors, scikit-image bytes, gendr-metrics float planes, and bytes for psnr-bytes. Every program scores all pairs RUNS times a round, rounds take turns, and the least time counts for each.
"""
import argparse
import json
import os
import subprocess
import tempfile
import time
import warnings

ARGUMENTS = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ARGUMENTS.add_argument("output")
ARGUMENTS.add_argument("reference")
ARGUMENTS.add_argument("--threads", type=int, default=1)
ARGUMENTS.add_argument("--runs", type=int, default=5)
ARGUMENTS.add_argument("--rounds", type=int, default=3)
ARGUMENTS.add_argument("--metrics", default="psnr-bytes,psnr,ssim,ssim-y,ms-ssim,niqe")
ARGUMENTS.add_argument("--files", action="store_true")
ARGUMENTS.add_argument("--program", default="target/release/examples/speed")
o = ARGUMENTS.parse_args()
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = str(o.threads)
warnings.filterwarnings("ignore")

import numpy as np
import scipy.io
import torch
from PIL import Image
from pyiqa.archs.niqe_arch import NIQE
from pyiqa.archs.psnr_arch import PSNR
from pyiqa.archs.ssim_arch import MS_SSIM, SSIM
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

torch.set_num_threads(o.threads)
names = sorted(os.listdir(o.output))


def array(folder, name):
    return np.asarray(Image.open(os.path.join(folder, name)).convert("RGB"))


def tensor(a):
    return torch.from_numpy(a.copy()).permute(2, 0, 1)[None].float() / 255


def load(name, as_tensors):
    pair = array(o.output, name), array(o.reference, name)
    return [tensor(a) for a in pair] if as_tensors else pair


loaded = {kind: [load(name, kind) for name in names] for kind in (False, True)}


def pristine_model():
    """The published NIQE model in the format of pyiqa, from the file of this project, so that nothing is downloaded."""
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "../crates/gendr-metrics/src/niqe/pristine.json")) as file:
        model = json.load(file)
    path = os.path.join(tempfile.mkdtemp(), "niqe.mat")
    mean, covariance = np.array(model["mean"]), np.array(model["covariance"])
    scipy.io.savemat(path, {"mu_prisparam": mean[None], "cov_prisparam": covariance.reshape(36, 36)})
    return path


psnr, ssim_y, ms_ssim_y, niqe = PSNR(), SSIM(), MS_SSIM(), NIQE(pretrained_model_path=pristine_model())
GAUSSIAN = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)
PSNR_PEERS = [
    ("pyiqa", lambda x, y: float(psnr(x, y))),
    ("scikit-image", lambda a, b: peak_signal_noise_ratio(b, a, data_range=255)),
]
PEERS = [
    *[(metric, *peer) for metric in ("psnr-bytes", "psnr") for peer in PSNR_PEERS],
    ("ssim", "scikit-image", lambda a, b: structural_similarity(b, a, channel_axis=2, **GAUSSIAN)),
    ("ssim-y", "pyiqa", lambda x, y: float(ssim_y(x, y))),
    ("ms-ssim", "pyiqa", lambda x, y: float(ms_ssim_y(x, y))),
    ("niqe", "pyiqa", lambda x, y: float(niqe(x))),
]


def ours(metric):
    run = subprocess.run([o.program, metric, "files" if o.files else "memory", str(o.runs), o.output, o.reference], capture_output=True, text=True, check=True)
    return [float(field) for field in run.stdout.split()]


def peer(name, function):
    as_tensors, least = name == "pyiqa", float("inf")
    with torch.no_grad():
        for _ in range(o.runs):
            start = time.perf_counter()
            pairs = (load(name, as_tensors) for name in names) if o.files else loaded[as_tensors]
            scores = [function(*pair) for pair in pairs]
            least = min(least, time.perf_counter() - start)
    return [least / len(names), float(np.mean(scores))]


print(f"{len(names)} pairs from {'files' if o.files else 'memory'}, {o.threads} threads, least of {o.rounds} x {o.runs} runs")
print("metric     peer          peer ms   ours ms   ratio   peer score  our score")
for metric, name, function in PEERS:
    if metric not in o.metrics.split(",") or (o.files and metric == "psnr-bytes"):
        continue
    rounds = [(peer(name, function), ours(metric)) for _ in range(o.rounds)]
    (theirs, their_score), (own, own_score) = min(r[0] for r in rounds), min(r[1] for r in rounds)
    print(f"{metric:<10} {name:<12} {theirs * 1e3:8.3f}  {own * 1e3:8.3f}  {theirs / own:6.1f}  {their_score:10.4f} {own_score:10.4f}")
