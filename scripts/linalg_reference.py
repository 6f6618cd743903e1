#!/usr/bin/env python3
"""Writes tests/data/linalg_reference.csv: linear algebra by PyTorch in float64: values, gradients and Hessian-vector
products. Needs PyTorch; run from the repository's root when a function is added.

Row: name; extents of a; of b (empty: none); value; gradient in a; in b; Hessian in a times v. Lists are separated by
blanks. Element i of a is
cos(0.7 i + 0.1 i^2), of b sin(0.3 i + 0.2), of v cos(0.9 i); the gradient is that of sum(value * cos(1.3 i)).
"""
import torch

LA = torch.linalg


def positive(a):
    return a @ a.mT + torch.eye(a.shape[-1], dtype=a.dtype)


CASES = {
    "solve": (lambda a, b: LA.solve(a, b), [((3, 3), (3, 2)), ((3, 3), (3,)), ((2, 3, 3), (2, 3, 1))]),
    "inv": (lambda a, b: LA.inv(a), [((3, 3), ()), ((2, 2, 2), ())]),
    "det": (lambda a, b: LA.det(a), [((3, 3), ()), ((2, 2, 2), ())]),
    "slogdet": (lambda a, b: LA.slogdet(a)[1], [((3, 3), ()), ((2, 2, 2), ())]),
    "logdet": (lambda a, b: torch.logdet(positive(a)), [((3, 3), ())]),
    "cholesky": (lambda a, b: LA.cholesky(positive(a)), [((3, 3), ()), ((2, 2, 2), ())]),
    "cholesky_solve": (lambda a, b: torch.cholesky_solve(b, LA.cholesky(positive(a))), [((3, 3), (3, 2))]),
    "triangular_lower": (lambda a, b: LA.solve_triangular(a, b, upper=False), [((3, 3), (3, 2))]),
    "triangular_upper": (lambda a, b: LA.solve_triangular(a, b, upper=True), [((3, 3), (3, 2))]),
    "lstsq": (lambda a, b: LA.pinv(a) @ b, [((4, 3), (4, 2)), ((2, 3), (2, 1))]),
    "qr_q": (lambda a, b: LA.qr(a)[0], [((4, 2), ()), ((3, 3), ())]),
    "qr_r": (lambda a, b: LA.qr(a)[1], [((4, 2), ()), ((2, 3), ())]),
    "svd_u": (lambda a, b: LA.svd(a, full_matrices=False)[0] ** 2, [((4, 2), ()), ((2, 3), ())]),
    "svd_s": (lambda a, b: LA.svd(a, full_matrices=False)[1], [((4, 2), ()), ((2, 3), ())]),
    "svd_vt": (lambda a, b: LA.svd(a, full_matrices=False)[2] ** 2, [((4, 2), ()), ((2, 3), ())]),
    "eigh_values": (lambda a, b: LA.eigh(a + a.mT)[0], [((3, 3), ()), ((2, 2, 2), ())]),
    "eigh_vectors": (lambda a, b: LA.eigh(a + a.mT)[1] ** 2, [((3, 3), ())]),
    "matrix_exp": (lambda a, b: torch.matrix_exp(a), [((3, 3), ()), ((2, 2, 2), ())]),
}


def ramp(shape, f):
    return f(torch.arange(torch.Size(shape).numel(), dtype=torch.float64)).reshape(shape)


def text(values):
    return " ".join(format(v, ".17g") for v in values)


def entry(name, f, sa, sb):
    a = ramp(sa, lambda i: torch.cos(0.7 * i + 0.1 * i * i))
    b = ramp(sb, lambda i: torch.sin(0.3 * i + 0.2))
    v = ramp(sa, lambda i: torch.cos(0.9 * i))

    def loss(a, b):
        y = f(a, b)
        return (y * ramp(y.shape, lambda i: torch.cos(1.3 * i))).sum()

    ga, gb = torch.autograd.functional.jacobian(loss, (a, b))
    hv = torch.autograd.functional.hvp(lambda a: loss(a, b), a, v)[1]
    results = [f(a, b), ga, gb if sb else torch.zeros(0), hv]
    return ";".join([name, text(sa), text(sb), *(text(t.flatten().tolist()) for t in results)])


with open("tests/data/linalg_reference.csv", "w") as out:
    for name, (f, shapes) in CASES.items():
        for sa, sb in shapes:
            out.write(entry(name, f, sa, sb) + "\n")
