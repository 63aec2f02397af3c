"""Decorators written out, because mutmut passes over every function that has one, properties included."""

from __future__ import annotations

import ast


def without_decorators(source: str) -> str:
    """Return the module's source with `@a def f` as `def f`, followed by `f = a(f)`, which means the same.

    Functions of the module and of its classes are rewritten, functions inside functions are not.
    """
    lines = source.splitlines()
    for function in sorted(_decorated(ast.parse(source)), key=lambda function: function.lineno, reverse=True):
        value = function.name
        for decorator in reversed(function.decorator_list):
            value = f"{ast.unparse(decorator)}({value})"
        assert function.end_lineno is not None
        lines.insert(function.end_lineno, f"{' ' * function.col_offset}{function.name} = {value}")
        del lines[function.decorator_list[0].lineno - 1 : function.lineno - 1]
    return "\n".join(lines) + "\n"


def _decorated(scope: ast.Module | ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    found = []
    for node in scope.body:
        if isinstance(node, ast.ClassDef):
            found += _decorated(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.decorator_list:
            found.append(node)
    return found
