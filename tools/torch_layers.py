#!/usr/bin/env python3
"""Times PyTorch on the layers of `gendr bench kernels --json > FILE` and prints both: torch_layers.py FILE [--threads N]

Convolutions run in both memory layouts, the better counts; SiLU behind a norm and the gate behind a linear layer are part
of the layer, as in our kernels. Enlargement counts with its convolution. Medians after a warm-up.
"""
import argparse, json, re, statistics, time
import torch
import torch.nn.functional as F


def median(call):
    call()
    start, times = time.perf_counter(), []
    while len(times) < 3 or (time.perf_counter() - start < 0.3 and len(times) < 50):
        t = time.perf_counter()
        call()
        times.append(time.perf_counter() - t)
    return statistics.median(times)


def conv(kernel, stride, cin, cout, side, enlarged):
    w, b = torch.randn(cout, cin, kernel, kernel), torch.randn(cout)
    x = torch.randn(1, cin, side // 2 if enlarged else side, side // 2 if enlarged else side)
    best = {}
    for name, layout in (("NCHW", torch.contiguous_format), ("NHWC", torch.channels_last)):
        xl, wl = x.contiguous(memory_format=layout), w.contiguous(memory_format=layout)

        def call():
            y = F.interpolate(xl, scale_factor=2.0, mode="nearest") if enlarged else xl
            F.conv2d(y, wl, b, stride=stride, padding=kernel // 2)
        best[name] = median(call)
    name = min(best, key=best.get)
    return best[name], name


def layer(text):
    n = [int(v) for v in re.findall(r"\d+", text)]
    if "conv" in text:
        return conv(n[0], n[2], n[3], n[4], n[5], "enlarge" in text)
    if "linear" in text:
        x, w, b = torch.randn(n[2], n[0]), torch.randn(n[1], n[0]), torch.randn(n[1])
        return median(lambda: F.linear(x, w, b)), ""
    if "geglu" in text:
        x, w, b = torch.randn(n[2], n[0]), torch.randn(2 * n[1], n[0]), torch.randn(2 * n[1])

        def gated():
            value, gate = F.linear(x, w, b).chunk(2, -1)
            return value * F.gelu(gate)
        return median(gated), ""
    if "attention" in text:
        heads, size, queries, keys = n
        q, k, v = (torch.randn(1, heads, t, size) for t in (queries, keys, keys))
        return median(lambda: F.scaled_dot_product_attention(q, k, v)), ""
    if "group norm" in text:
        x, w = torch.randn(1, n[0], n[1], n[1]), torch.randn(n[0])
        best = {}
        for name, layout in (("NCHW", torch.contiguous_format), ("NHWC", torch.channels_last)):
            xl = x.contiguous(memory_format=layout)
            norm = lambda: F.group_norm(xl, 32, w, w)
            best[name] = median((lambda: F.silu(norm())) if "silu" in text else norm)
        name = min(best, key=best.get)
        return best[name], name
    x, w = torch.randn(n[1], n[0]), torch.randn(n[0])
    return median(lambda: F.layer_norm(x, (n[0],), w, w)), ""


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("file")
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    lines = [json.loads(line) for line in open(a.file)]
    print(f"{'layer':44}{'calls':>5}{'ours ms':>10}{'torch ms':>10}{'times':>7}")
    slower, known = [], {}
    with torch.inference_mode():
        for line in lines[1:]:
            text = line["layer"]
            shape = text.split(" ", 1)[1]
            known[shape] = known.get(shape) or layer(shape)
            seconds, layout = known[shape]
            ratio = seconds / line["seconds"]
            slower += [text] if ratio < 1 else []
            print(f"{text:44}{line['calls']:5}{line['seconds'] * 1e3:10.2f}{seconds * 1e3:10.2f}{ratio:7.2f} {layout}")
    print("slower than torch:", ", ".join(slower) or "none")


if __name__ == "__main__":
    main()
