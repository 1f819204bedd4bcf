"""Writes the tiny torch files the tests read: python3 make_torch_files.py FOLDER (torch 2.9.1)."""

import collections
import pathlib
import sys

import torch

folder = pathlib.Path(sys.argv[1])
count = torch.arange(24, dtype=torch.float32)
state = collections.OrderedDict()
state["conv.weight"] = count.reshape(2, 3, 2, 2)
state["conv.bias"] = torch.nn.Parameter(torch.tensor([0.5, -1.5]))
state["half"] = count[:6].half().reshape(2, 3)
state["brain"] = count[:6].bfloat16().reshape(3, 2)
state["transposed"] = count[:6].reshape(2, 3).t()
state["view"] = count[20:]
state["steps"] = torch.tensor(7)
state._metadata = collections.OrderedDict({"": {"version": 1}})
checkpoint = {
    "params_ema": state,
    "rank": 4,
    "large": 2**70,
    "negative": -3,
    "modules": ["to_q", "to_k"],
    "lr": 1e-3,
    "none": None,
    "nested": [{"a": torch.ones(1)}, (torch.zeros(2),)],
}
torch.save(checkpoint, folder / "archive.pth")
torch.save(checkpoint, folder / "old.pth", _use_new_zipfile_serialization=False)

# A LoRA in the form of OSEDiff's checkpoints: whole layers and peft names, alpha left at peft's default of 8.
osediff = {
    "rank_unet": 2,
    "unet_lora_encoder_modules": ["conv_in"],
    "state_dict_unet": {
        "conv_in.base_layer.weight": torch.full((4, 3, 1, 1), 0.5),
        "conv_in.lora_A.default_encoder.weight": torch.ones(2, 3, 1, 1),
        "conv_in.lora_B.default_encoder.weight": torch.tensor([1.0, 2.0, 3.0, 4.0]).repeat(2, 1).t().reshape(4, 2, 1, 1),
    },
    "rank_vae": 1,
    "vae_lora_encoder_modules": ["encoder.conv_in"],
    "state_dict_vae": {
        "encoder.conv_in.lora_A.default_encoder.weight": torch.tensor([[1.0, 2.0]]),
        "encoder.conv_in.lora_B.default_encoder.weight": torch.tensor([[1.0], [-1.0]]),
    },
}
torch.save(osediff, folder / "osediff.pkl")
