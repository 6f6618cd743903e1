SIZES = (64, 256, 1024)
DTYPES = {"f64": "float64", "f32": "float32"}


def steps(array):
    cases = {}
    for name, dtype in DTYPES.items():
        for n in SIZES:
            a, b = array(fill((n, n), 1, dtype=dtype)), array(fill((n, n), 2, dtype=dtype))
            cases[f"matmul {n}, {name}"] = lambda a=a, b=b: (a @ b)[0, 0]
    return cases


def torch():
    import torch as t

    return steps(t.from_numpy)


def numpy():
    return steps(lambda v: v)
