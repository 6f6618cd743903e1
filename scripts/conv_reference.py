#!/usr/bin/env python3
"""Writes tests/data/conv_reference.csv: values and gradients of convolutions and poolings by PyTorch in float64. Needs
PyTorch; run from the repository's root when an option is added.

Row: name; extents of x; of w (or the window); stride; padding; dilation; groups; y; gradient in x; gradient in w. Lists are
separated by blanks. Element i of x is cos(0.7 i + 0.1), of w sin(0.3 i + 0.2), of the cotangent cos(1.3 i).
"""
import torch
import torch.nn.functional as F

CASES = [
    # name, x, w or window, stride, padding, dilation, groups
    ("conv1d", (2, 3, 7), (4, 3, 3), (1,), (0,), (1,), 1),
    ("conv1d", (2, 4, 9), (6, 2, 3), (2,), (2,), (2,), 2),
    ("conv1d", (1, 2, 5), (2, 1, 1), (1,), (0,), (1,), 2),
    ("conv2d", (2, 3, 5, 6), (4, 3, 3, 2), (1, 1), (0, 0), (1, 1), 1),
    ("conv2d", (2, 3, 5, 6), (4, 3, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ("conv2d", (1, 4, 6, 7), (6, 2, 3, 3), (2, 1), (1, 2), (1, 2), 2),
    ("conv2d", (2, 4, 8, 8), (4, 1, 3, 3), (3, 3), (1, 1), (2, 2), 4),
    ("conv2d", (1, 1, 2, 2), (1, 1, 3, 3), (1, 1), (2, 2), (1, 1), 1),
    ("max_pool2d", (2, 2, 4, 5), (2, 2), (2, 2), (0, 0), (1, 1), 1),
    ("max_pool2d", (1, 2, 5, 5), (3, 2), (1, 2), (1, 1), (1, 1), 1),
    ("avg_pool2d", (2, 2, 4, 5), (2, 2), (2, 2), (0, 0), (1, 1), 1),
    ("avg_pool2d", (1, 2, 5, 5), (3, 2), (1, 2), (1, 1), (1, 1), 1),
]


def ramp(shape, f):
    n = 1
    for extent in shape:
        n *= extent
    return f(torch.arange(n, dtype=torch.float64)).reshape(shape)


def apply(name, x, w, stride, padding, dilation, groups):
    if name == "conv1d":
        return F.conv1d(x, w, None, stride, padding, dilation, groups)
    if name == "conv2d":
        return F.conv2d(x, w, None, stride, padding, dilation, groups)
    return getattr(F, name)(x, w, stride, padding)


def texts(*lists):
    for values in lists:
        yield " ".join(format(v, ".17g") for v in values)


with open("tests/data/conv_reference.csv", "w") as out:
    for name, xs, ws, stride, padding, dilation, groups in CASES:
        x = ramp(xs, lambda i: torch.cos(0.7 * i + 0.1)).requires_grad_()
        pool = "pool" in name
        w = ws if pool else ramp(ws, lambda i: torch.sin(0.3 * i + 0.2)).requires_grad_()
        y = apply(name, x, w, stride, padding, dilation, groups)
        inputs = [x] if pool else [x, w]
        grads = torch.autograd.grad(y, inputs, ramp(y.shape, lambda i: torch.cos(1.3 * i)))
        lists = [t.flatten().tolist() for t in (y, *grads)] + ([[]] if pool else [])
        out.write(";".join([name, *texts(xs, ws, stride, padding, dilation, [groups], *lists)]) + "\n")
