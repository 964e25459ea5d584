"""What a cell reads from outside, and what it gives."""

from __future__ import annotations

import ast
import builtins
import textwrap

import pytest

from himalia.kernel_ext.cell_names import names_of

CASES = [
    ("y = x + 1", "x", "y"),
    ("x = 1\nprint(x)", "", "x"),
    ("print(x)\nx = 1", "x", "x"),
    ("x += 1", "x", "x"),
    ("x: int = y", "y", "x"),
    ("x: int", "", ""),
    ("a, (b, *c) = d", "d", "a b c"),
    ("a[i] = b.c = v", "v a i b", ""),
    ("_hidden = x", "x", ""),
    ("if t:\n    x = 1\nprint(x)", "t x", "x"),
    ("if t:\n    x = 1\nelse:\n    x = 2\nprint(x)", "t", "x"),
    ("if t:\n    x = 1\nelse:\n    raise ValueError\nprint(x)", "t", "x"),
    ("for i in items:\n    s = i\nprint(i, s)", "items i s", "s"),
    ("while t:\n    t = f()\nelse:\n    u = 1\nprint(u)", "t f u", "t u"),
    ("with open(p) as f:\n    s = f.read()\nprint(s)", "p", "s"),
    ("try:\n    x = f()\nexcept E as e:\n    print(e)\nprint(x, e)", "f E x e", "x"),
    ("try:\n    x = f()\nexcept E:\n    x = 0\nfinally:\n    g()\nprint(x)", "f E g", "x"),
    ("import numpy as np, os.path\nfrom math import pi\nx = np.sin(pi) + os.sep", "", "x"),
    ("def f(a, b=d, *c, k: T = 1) -> R:\n    z = a + w\n    return z", "d T R w", "f"),
    ("def f():\n    return f()", "", "f"),
    ("def f():\n    return later\nlater = 1", "later", "f later"),
    ("def f():\n    global g\n    g = h", "h", "g f"),
    ("def f():\n    x = 1\n    def inner():\n        return x + y\n    return inner", "y", "f"),
    ("g = lambda a: a + b", "b", "g"),
    ("class C(Base, metaclass=M):\n    x = y\n    z = x\n    def m(self):\n        return q", "Base M y q", "C"),
    ("@dec(n)\ndef f(): pass", "dec n", "f"),
    ("r = [i * k for i in it if i > m]", "it m k", "r"),
    ("r = {k: v for k, v in it}", "it", "r"),
    ("r = [(n := i) for i in it]\nprint(n)", "it n", "n r"),
    ("if (n := f()) > 2:\n    print(n)", "f", "n"),
    (
        "match s:\n    case C(a, b=1) if a > m:\n        r = a\n    case {'k': v, **rest}:\n        r = rest",
        "s C m",
        "r",
    ),
    ("del x", "x", ""),
    ("x = 1\ndel x\nprint(x)", "x", ""),
    ("await f()\nasync for i in g():\n    x = i", "f g", "x"),
    ("s = f'{a} {b!r:>{w}}'", "a b w", "s"),
    ("async def f():\n    async with c as d:\n        return d", "c", "f"),
]


@pytest.mark.parametrize(("source", "reads", "gives"), CASES, ids=[case[0] for case in CASES])
def test_names(source: str, reads: str, gives: str) -> None:
    found = names_of(ast.parse(textwrap.dedent(source)))
    assert [name for name in found.reads if not hasattr(builtins, name)] == reads.split()
    assert list(found.gives) == gives.split()
