"""Writes torch_script.pt, a TorchScript archive as OpenAI publishes CLIP: python make_torch_script.py (torch 2.9)."""
import torch


class Inner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 3, 1)
        self.register_buffer("steps", torch.tensor(7))
        self.conv.weight.data = torch.arange(6.0).reshape(3, 2, 1, 1)

    def forward(self, x):
        return self.conv(x) + self.steps


class Outer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(Inner(), torch.nn.ReLU())
        self.scale = torch.nn.Parameter(torch.tensor([0.5, -2.0]).half())

    def forward(self, x):
        return self.layers(x) * self.scale.sum()


torch.jit.trace(Outer().eval(), torch.ones(1, 2, 4, 4)).save("torch_script.pt")
