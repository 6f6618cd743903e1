#!/usr/bin/env python3
"""Writes tests/data/ops_reference.tsv: values and gradients of structured functions by PyTorch in float64. Needs PyTorch;
run from the repository's root when a case is added.

Row, separated by tabs: expression in Lua; extents of its value; the value; the gradient in x of sum(value * c), "-" where it
has none. x is 3 x 4, element i being cos(0.7 i + 0.1); y is 4 x 2, sin(0.3 i + 0.2); t is 2 x 3 x 4, cos(1.1 i); z is x with
two zeros; p, q are positions. c, of the value's shape, is cos(1.3 i).
"""
import torch

torch.set_default_dtype(torch.float64)


def ramp(shape, f):
    n = 1
    for extent in shape:
        n *= extent
    return f(torch.arange(n, dtype=torch.float64)).reshape(shape)


x = ramp((3, 4), lambda i: torch.cos(0.7 * i + 0.1)).requires_grad_()
y = ramp((4, 2), lambda i: torch.sin(0.3 * i + 0.2))
t = ramp((2, 3, 4), lambda i: torch.cos(1.1 * i))
mask = torch.ones(3, 4)
mask[0, 1] = mask[2, 2] = 0
z = x * mask
p = torch.tensor([2, 0, 2])
q = torch.tensor([[0, 2, 1, 1], [1, 1, 0, 2]])
F = torch.nn.functional

CASES = [  # Lua, PyTorch
    ("x:sum()", x.sum()),
    ("x:sum(1)", x.sum(0)),
    ("x:sum(2, {keepdim = true})", x.sum(1, keepdim=True)),
    ("(x * t):sum{1, 3}", (x * t).sum((0, 2))),
    ("x:mean(2)", x.mean(1)),
    ("z:prod()", z.prod()),
    ("z:prod(2)", z.prod(1)),
    ("z:prod(1)", z.prod(0)),
    ("x:max()", x.amax()),
    ("x:min(2)", x.amin(1)),
    ("x:argmax(2)", x.argmax(1) + 1),
    ("x:argmin()", x.argmin() + 1),
    ("x:var()", x.var()),
    ("x:var(2, {correction = 0})", x.var(1, correction=0)),
    ("x:std(1)", x.std(0)),
    ("x:norm()", torch.linalg.vector_norm(x)),
    ("x:norm(2)", torch.linalg.vector_norm(x, dim=1)),
    ("x:norm(1, {p = 1})", torch.linalg.vector_norm(x, 1, dim=0)),
    ("x:norm(2, {p = 3})", torch.linalg.vector_norm(x, 3, dim=1)),
    ("x:norm(2, {p = math.huge})", torch.linalg.vector_norm(x, float("inf"), dim=1)),
    ("x:logsumexp(2)", x.logsumexp(1)),
    ("x:softmax()", x.softmax(1)),
    ("x:softmax(1)", x.softmax(0)),
    ("x:log_softmax(2)", x.log_softmax(1)),
    ("x:cumsum(1)", x.cumsum(0)),
    ("z:cumprod(2)", z.cumprod(1)),
    ("(x:sort(1))", x.sort(0).values),
    ("(x:sort(2, {descending = true}))", x.sort(1, descending=True).values),
    ("x:argsort(2)", x.argsort(1) + 1),
    ("(x:topk(2, 2))", x.topk(2, 1).values),
    ("x:median(1)", x.median(0).values),
    ("x:gt(0):any(1)", (x > 0).any(0)),
    ("x:gt(0):all(2)", (x > 0).all(1)),
    ("x:matmul(y)", x @ y),
    ("t:matmul(y)", t @ y),
    ("x:matmul(y:t()[1])", x @ y.t()[0]),
    ("t:bmm(t:transpose(2, 3))", t.bmm(t.transpose(1, 2))),
    ("gl.outer(x[1], y)", torch.outer(x[0], y.flatten())),
    ("x[1]:dot(x[2])", x[0].dot(x[1])),
    ("gl.kron(x, y)", torch.kron(x, y)),
    ('gl.einsum("ij,jk->ki", x, y)', torch.einsum("ij,jk->ki", x, y)),
    ('gl.einsum("bij,ij->b", t, x)', torch.einsum("bij,ij->b", t, x)),
    ('gl.einsum("...ij,jk,ij->...k", t, y, x)', torch.einsum("...ij,jk,ij->...k", t, y, x)),
    ('gl.einsum("ij,kj", x, x)', torch.einsum("ij,kj", x, x)),
    ('gl.einsum("ii", x:matmul(x:t()))', torch.einsum("ii", x @ x.t())),
    ("x:t():trace()", x.t()[:3, :3].trace()),
    ("x:diag(1)", x.diagonal(1)),
    ("x[1]:diag(-1)", torch.diag(x[0], -1)),
    ("x:tril(1)", x.tril(1)),
    ("x:triu()", x.triu()),
    ("x[p]", x[p]),
    ("x[{ {}, p }]", x[:, p]),
    ("x[{ p, gl.tensor({1, 4, 2}, {dtype = \"i64\"}) }]", x[p, torch.tensor([0, 3, 1])]),
    ("x[{ {-1, 1, -2}, {2, 3} }]", x.flip(0)[::2, 1:3]),
    ("x:gather(1, q)", x.gather(0, q)),
    ("x:scatter_add(1, q, t[1][{ {1, 2} }])", x.scatter_add(0, q, t[0][:2])),
    ("gl.zeros(3, 4):scatter_add(1, q, x)", torch.zeros(3, 4).scatter_add(0, q, x[:2])),
    ("gl.embedding(x, p)", F.embedding(p, x)),
    ("gl.one_hot(p, 3)", F.one_hot(p, 3).double()),
    ("x:flip(2)", x.flip(1)),
    ("x:roll(1, 2)", x.roll(1, 1)),
    ("x:tile(2, 1, 2)", x.tile(2, 1, 2)),
    ("x:repeat_interleave(2, 1)", x.repeat_interleave(2, 0)),
    ("gl.stack({x, z}, 2)", torch.stack([x, z], 1)),
    ("gl.concat({x, z}, 2)", torch.cat([x, z], 1)),
    ("x:split({1, 2}, 1)[2]", x.split([1, 2], 0)[1]),
    ("x:chunk(3, 2)[2]", x.chunk(3, 1)[1]),
    ("x:pad({{1, 0}, {0, 2}}, {value = 3})", F.pad(x, (0, 2, 1, 0), value=3)),
    ("x:permute(2, 1):reshape(2, -1)", x.permute(1, 0).reshape(2, -1)),
    ("x:unsqueeze(1):expand(2, 3, 4)", x.unsqueeze(0).expand(2, 3, 4)),
    ("gl.nn.cross_entropy(x, p)", F.cross_entropy(x, p)),
    ("gl.nn.cross_entropy(x, t[1]:softmax(2))", F.cross_entropy(x, t[0].softmax(1))),
    ("gl.nn.nll(x:log_softmax(2), p)", F.nll_loss(x.log_softmax(1), p)),
    ("x:put({ {}, 2 }, 7)", torch.cat([x[:, :1], torch.full((3, 1), 7.0), x[:, 2:]], 1)),
    ("x:put(x:gt(0.5), x[1]:sum())", torch.where(x > 0.5, x[0].sum(), x)),
]


def numbers(values):
    return " ".join(format(float(v), ".17g") for v in values) or "-"


with open("tests/data/ops_reference.tsv", "w") as out:
    for lua, value in CASES:
        gradient = []
        if value.requires_grad:
            c = ramp(value.shape, lambda i: torch.cos(1.3 * i))
            gradient = torch.autograd.grad((value * c).sum(), x, retain_graph=True)[0].flatten().tolist()
        row = [lua, numbers(value.shape), numbers(value.detach().flatten().tolist()), numbers(gradient)]
        out.write("\t".join(row) + "\n")
