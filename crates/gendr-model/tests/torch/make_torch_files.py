"""Writes the two tiny torch files the tests read: python3 make_torch_files.py FOLDER (torch 2.9.1)."""

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
