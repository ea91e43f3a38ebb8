"""What it takes to write a Python function, read off its syntax tree.

def count(words):                         ->  {"loop", "dictionary", "string methods"}
    found = {}
    for word in words:
        found[word.lower()] = found.get(word.lower(), 0) + 1
    return found
"""

import ast
from collections.abc import Iterator
from copy import deepcopy

_STRING_METHODS = {
    *("split", "join", "lower", "upper", "swapcase", "replace", "strip", "isdigit", "isalpha", "isupper", "islower"),
    *("startswith", "endswith", "find", "title", "capitalize", "zfill", "format", "encode"),
}
_NODES: dict[type[ast.AST], str] = {
    ast.For: "loop",
    ast.While: "while loop",
    ast.ListComp: "comprehension",
    ast.GeneratorExp: "comprehension",
    ast.Dict: "dictionary",
    ast.DictComp: "dictionary",
    ast.Set: "set",
    ast.SetComp: "set",
    ast.Slice: "slicing",
    ast.Lambda: "lambda",
    ast.Try: "exceptions",
    ast.Mod: "remainder",
    ast.FloorDiv: "whole-number division",
    ast.IfExp: "conditions",
    ast.If: "conditions",
}
_CALLS = {
    **dict.fromkeys(("sorted", "sort"), "sorting"),
    **dict.fromkeys(("dict", "Counter", "defaultdict"), "dictionary"),
    **dict.fromkeys(("min", "max"), "minimum or maximum"),
    **dict.fromkeys(("ord", "chr"), "character codes"),
    "set": "set",
    "sum": "sum",
}


def code_features(tree: ast.AST, name: str) -> set[str]:
    """Constructs in the code of the function `name`: loops, containers, recursion and the like."""
    features = set(_features(tree, name))
    loops = (ast.For, ast.While)
    outer = [node for node in ast.walk(tree) if isinstance(node, loops)]
    if any(isinstance(inner, loops) for node in outer for inner in ast.walk(node) if inner is not node):
        features.add("nested loops")
    return features


def plain_code(function: ast.FunctionDef) -> str:
    """The syntax tree of a function without what only names and explains: docstring, type hints, the names it gives itself."""
    tree = deepcopy(function)
    if ast.get_docstring(tree) is not None:
        tree.body = tree.body[1:]
    bound = [tree.name]
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
            bound.append(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.append(node.id)
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    numbered = {name: f"v{i}" for i, name in enumerate(dict.fromkeys(bound))}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword):  # of what is called: sorted(rows, key=key)
            continue
        for field in ("id", "arg", "name"):
            if (name := getattr(node, field, None)) in numbered:
                setattr(node, field, numbered[name])
    return ast.dump(tree)


def _features(tree: ast.AST, name: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if type(node) in _NODES:
            yield _NODES[type(node)]
        if isinstance(node, ast.FunctionDef) and node.name != name:
            yield "helper function"
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called == name:
            yield "recursion"
        elif called in _CALLS:
            yield _CALLS[called]
        elif isinstance(node.func, ast.Attribute) and called in _STRING_METHODS:
            yield "string methods"
        if isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") in ("math", "re", "itertools"):
            yield f"module {getattr(node.func.value, 'id', '')}"
