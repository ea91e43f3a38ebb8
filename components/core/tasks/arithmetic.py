"""Finds the equations in a worked solution and recomputes them.

    "In 12 months she spends 6x12 = $72, which is 72/100 = 72% of it."   ->   6*12 = 72, 72/100 = 0.72

Only what is written in figures is read: "10h = 30" and "3 boxes * 4 = 12" are left alone rather than misread.
"""

import ast
import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

_AMOUNT = r"[$€£]?\s?(?:\d[\d,]*(?:\.\d+)?|\.\d+)%?"
_OPERATOR = "[-+*/x×·÷−–]"
_FIRST = rf"\(*\s*-?\s*{_AMOUNT}\s*\)*"
_NEXT = rf"(?:\(\s*-?\s*)*{_AMOUNT}\s*\)*"  # a bare minus may not follow: 3x-5 is not 3 times -5
_EXPRESSION = rf"{_FIRST}(?:\s*{_OPERATOR}\s*{_NEXT})*"
_LEFT = re.compile(rf"(?<![\w.,$%)])({_EXPRESSION})\s*$", re.ASCII)
_RIGHT = re.compile(rf"\s*({_EXPRESSION})", re.ASCII)
_WHOLE_EXPRESSION = re.compile(rf"(?<![\w.,$%)/])({_FIRST}(?:\s*{_OPERATOR}\s*{_NEXT})+)(?!\w|\s*{_OPERATOR})", re.ASCII)
_BROKEN_OFF = re.compile(rf"\s*(?:{_OPERATOR}|\(|\^|(?:and\s+)?\d+/\d)", re.ASCII)  # 24/Y, or the mixed number 1 1/2
_TAIL = re.compile(r"[-+*/x×·÷−–^()0-9]$|\d and$", re.ASCII)
_NUMBER = re.compile(rf"\s*\(*\s*(-?\s*{_AMOUNT})", re.ASCII)
_SIGNS = str.maketrans({"x": "*", "×": "*", "·": "*", "÷": "/", "−": "-", "–": "-"} | dict.fromkeys("$€£, "))


class Equation(NamedTuple):
    """`left` is an expression with at least one operator; `right` the number after the equals sign, as written."""

    left: str
    right: str
    rest: str  # the whole expression after the equals sign: in a chain 2*6 = 3*4 = 12 not a number


def equations(text: str) -> Iterator[Equation]:
    """All equations in figures, line by line. A chain a = b = c gives each of its links."""
    for line in text.splitlines():
        pieces = line.split("=")
        for before, after in pairwise(pieces):
            left, right, rest = _LEFT.search(before), _NUMBER.match(after), _RIGHT.match(after)
            if not left or not right or not rest or not re.search(rf"\d\D*{_OPERATOR}", left.group(1)):
                continue
            # Leave alone what is only the readable end, or the readable start, of something longer.
            cut, sign = before[: left.start()].rstrip(), left.group(1).startswith("-")
            if _TAIL.search(cut) or (cut and sign) or _BROKEN_OFF.match(after, rest.end()):
                continue
            yield Equation(left.group(1).strip(), right.group(1).strip(), rest.group(1).strip())


def results(text: str) -> set[Fraction]:
    """Every number directly after an equals sign."""
    results = [_NUMBER.match(after) for line in text.splitlines() for after in line.split("=")[1:]]
    shown = [match.group(1) for match in results if match]
    return {value(number) for number in shown} | {value(number.rstrip("%")) for number in shown}


def rounded(text: str) -> set[Fraction]:
    """The whole numbers next to every expression in figures above 1 that is none: 47 / 9 gives 5 and 6."""
    found: set[Fraction] = set()
    for match in _WHOLE_EXPRESSION.finditer(text):
        try:
            exact = value(match.group(1))
        except ValueError:
            continue
        if exact > 1 and exact.denominator != 1:
            found |= {Fraction(exact // 1), Fraction(exact // 1 + 1)}
    return found


def value(expression: str) -> Fraction:
    """The exact value of an expression in figures; 20% is 0.2. Raises ValueError."""
    plain = re.sub(r"((?:\d[\d.]*|\.\d+))%", r"(\1/100)", expression.translate(_SIGNS))
    plain = re.sub(r"(?<![\d.])0+(?=\d)", "", plain)
    try:
        return _value(ast.parse(plain, mode="eval").body, plain)
    except (SyntaxError, ZeroDivisionError, RecursionError) as e:
        raise ValueError(f"'{expression}' cannot be computed") from e


def _value(node: ast.expr, source: str) -> Fraction:
    match node:
        case ast.Constant(value=int() | float()):
            return Fraction(ast.get_source_segment(source, node) or "0")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, source)
        case ast.BinOp(left=left, op=operator, right=right):
            a, b = _value(left, source), _value(right, source)
            match operator:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.Div():
                    return a / b
    raise ValueError(f"'{source}' is no arithmetic")


def is_right(equation: Equation) -> bool:
    """Whether both sides agree; a result may be rounded to the digits it shows. Unreadable sides count as right."""
    try:
        left = value(equation.left)
        shown, rest = value(equation.right), value(equation.rest)
    except ValueError:
        return True
    decimals = len(equation.right.rstrip("%").rpartition(".")[2]) if "." in equation.right else 0
    unit = Fraction(1, 10**decimals) / (100 if "%" in equation.right else 1)
    half_up = (left + unit / 2) // unit * unit
    cut_off = left // unit * unit if decimals else half_up
    rounded = left.denominator != 1 and shown in (half_up, cut_off)
    as_percent = equation.right.endswith("%") and left == shown * 100
    return left in (shown, rest) or rounded or as_percent
