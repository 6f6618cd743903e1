#!/usr/bin/env python3
"""Writes tests/data/elementwise_reference.csv: values of the elementwise functions by mpmath (50 digits, rounded once),
at points where implementations go wrong. Needs mpmath.

    python3 scripts/reference_values.py > tests/data/elementwise_reference.csv
"""
import sys
from fractions import Fraction

from mpmath import mp, mpf, psi
import mpmath as m

mp.dps = 50

GENERAL = [-30, -7.25, -2.5, -1, -0.75, -1e-3, -1e-9, 1e-300, 1e-9, 1e-3, 0.1, 0.5, 0.9999, 1, 1.0001, 1.5, 2, 3.3, 10, 50]
LARGE = [1e3, 1e6, 1e15, 1e22, 1e100, 1e300]
UNIT = [-1 + 2**-40, -0.99, -0.5, -1e-8, 1e-8, 0.3, 0.7071, 0.99, 1 - 2**-40]
POSITIVE = [5e-324, 1e-310, 1e-100, 1e-8, 0.1, 0.5, 1 - 2**-30, 1, 1 + 2**-30, 2, 10, 1e5, 1e100, 1.7e308]
EXPONENTS = [-745, -708.5, -100, -20, -1, -1e-5, -1e-17, 1e-17, 1e-5, 0.5, 1, 20, 100, 700, 709.7]



def floor_remainder(a, b):
    """Exact, however large the quotient is."""
    a, b = Fraction(float(a)), Fraction(float(b))
    return float(a - a // b * b)


ONE = {
    "exp": (m.exp, EXPONENTS),
    "exp2": (lambda x: mpf(2) ** x, [-1074, -1022.5, -20.25, -1e-9, 1e-9, 0.5, 3, 1023.9]),
    "expm1": (m.expm1, EXPONENTS),
    "log": (m.log, POSITIVE),
    "log1p": (m.log1p, UNIT + POSITIVE[2:]),
    "log2": (lambda x: m.log(x, 2), POSITIVE),
    "log10": (m.log10, POSITIVE),
    "sqrt": (m.sqrt, POSITIVE),
    "rsqrt": (lambda x: 1 / m.sqrt(x), POSITIVE),
    "cbrt": (lambda x: m.sign(x) * m.cbrt(abs(x)), GENERAL + LARGE + [-1e300]),
    "sin": (m.sin, GENERAL + LARGE),
    "cos": (m.cos, GENERAL + LARGE),
    "tan": (m.tan, GENERAL + LARGE),
    "asin": (m.asin, UNIT),
    "acos": (m.acos, UNIT),
    "atan": (m.atan, GENERAL + LARGE),
    "sinh": (m.sinh, GENERAL + [700, 710.4, -710.4]),
    "cosh": (m.cosh, GENERAL + [700, 710.4, -710.4]),
    "tanh": (m.tanh, GENERAL + LARGE),
    "asinh": (m.asinh, GENERAL + LARGE),
    "acosh": (m.acosh, [1, 1 + 2**-40, 1.5, 10] + LARGE),
    "atanh": (m.atanh, UNIT),
    "erf": (m.erf, GENERAL + [1e-310]),
    "erfc": (m.erfc, GENERAL[:-1] + [26, 26.5]),
    "lgamma": (lambda x: m.log(abs(m.gamma(x))), [-30.5, -2.5, -0.75, -1e-9, 1e-300, 1e-9, 0.5, 1.5, 3.3, 50, 1e6, 1e300]),
    "digamma": (lambda x: psi(0, x), [-30.4, -2.5, -0.75, -1e-9, 1e-9, 0.5, 1, 1.5, 3.3, 50, 1e6, 1e300]),
    "trigamma": (lambda x: psi(1, x), [-30.4, -2.5, -0.75, -1e-9, 1e-9, 0.5, 1, 1.5, 3.3, 50, 1e6, 1e300]),
    "sigmoid": (lambda x: 1 / (1 + m.exp(-mpf(x))), GENERAL + [-700, 700]),
    "logsigmoid": (lambda x: -m.log1p(m.exp(-mpf(x))), GENERAL + [-700, 700]),
    "softplus": (lambda x: m.log1p(m.exp(mpf(x))), GENERAL + [-700, 700]),
    "softsign": (lambda x: x / (1 + abs(x)), GENERAL + LARGE),
    "square": (lambda x: x * x, GENERAL),
    "reciprocal": (lambda x: 1 / x, GENERAL + LARGE),
}
TWO = {
    "pow": (lambda a, b: a**b, [(2, 0.5), (10, -3), (0.5, 1074), (1.0000001, 1e9), (3, 40), (7, 3), (9.5, 0.5), (1e-5, 2.5),
                                (1.5, -700), (1e300, 1.02), (5e-324, 0.5)]),
    "atan2": (m.atan2, [(1, 2), (1, -2), (-1, -2), (1e-300, 1e300), (1e300, 1e-300), (3e-310, 4e-310), (0.5, -1e-17)]),
    "hypot": (m.hypot, [(3, 4), (1e200, 1e200), (1e-200, 1e-200), (1, 1e-9), (1e300, 1)]),
    "logaddexp": (lambda a, b: m.log(m.exp(a) + m.exp(b)), [(0, 1), (1000, 1000.5), (-1000, -1001), (0, -40), (-1.5, 30)]),
    "polygamma": (lambda n, x: psi(int(n), x), [(2, 0.5), (2, 3.3), (3, 0.1), (5, 7.5), (10, 20), (4, -0.5), (3, -7.3)]),
    "mod": (floor_remainder, [(5.5, 2), (-5.5, 2), (5.5, -2), (1e22, 7), (1e300, 3.5), (-0.1, 3)]),
}


def row(name, args, value):
    cells = [name] + [float(a).hex() for a in args] + [""] * (2 - len(args)) + [float(value).hex()]
    sys.stdout.write(",".join(cells) + "\n")


def main():
    sys.stdout.write("op,a,b,value\n")
    for name, (f, points) in ONE.items():
        for x in points:
            row(name, [x], f(mpf(x)))
    for name, (f, points) in TWO.items():
        for a, b in points:
            row(name, [a, b], f(mpf(a), mpf(b)))


if __name__ == "__main__":
    main()
