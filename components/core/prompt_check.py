"""Whether a user's prompts can take the place of the package's own: looked at in the first minute, before anything is spent.

prompts: /home/me/prompts/judge.txt, line 9: there is no variable 'item'; there are items, strategy, task
prompts: /home/me/prompts/judge.txt: does not use items, which control_quality asks about; write {{ items }} where ...

What a stage gives its prompt is what the package's own prompt uses. Of that a prompt may do without what the package's own says
under a condition or in its system message only: feedback on a last try, the task. The rest is what the request is about.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches

from jinja2 import TemplateSyntaxError, meta, nodes

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.prompts import ENVIRONMENT, SECTION, package_prompts, package_text, sections

WRITES_ALL = "`pada prompts DIR` writes the package's own to start from"
LARGEST = 100_000  # bytes of a file: no prompt is as long
_ROLES = re.compile(r"(system )?(user assistant )*user ")
_HEADING = re.compile(r"^[ \t]*=+[ \t]*(\w+)[ \t:=]*$", re.MULTILINE)
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_GUARDED = (nodes.If, nodes.CondExpr)


def check_names(names: Iterable[str], where: str) -> None:
    """Raises InputError for a file that no stage has, or if there is none."""
    known, given = package_prompts(), list(names)
    if not given:
        raise InputError(f"there is no file in {where}; give a folder with some of {', '.join(known)}; {WRITES_ALL}")
    for name in given:
        if name not in known:
            raise InputError(f"{where} has '{name}', which no stage has{_meant(name, known)}; there are {', '.join(known)}")


def checked(name: str, content: bytes, where: str) -> str:
    """The text of a user's file `name`; `where` is its address. Raises InputError with the line and what is wrong there."""
    if len(content) > LARGEST:
        raise InputError(f"prompts: {where}: has {len(content):,} bytes, and a prompt at most {LARGEST:,}")
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as e:
        raise InputError(f"prompts: {where}: not UTF-8 text; save it as UTF-8") from e
    _check_sections(text, where)
    own, package = _Use.of(text, where), _package_use(name)
    for variable, line in own.variables.items():
        _check_known(variable, package.variables, f"{where}, line {line}", "variable")
    for variable, reads in own.fields.items():
        for read, line in reads.items():
            if package.fields.get(variable):
                _check_known(read, package.fields[variable], f"{where}, line {line}", f"'{variable}' with a field")
    if lacking := sorted(package.needed - own.variables.keys()):
        raise InputError(
            f"prompts: {where}: does not use {', '.join(lacking)}, which {package_prompts()[name]} asks about; "
            f"write {{{{ {lacking[0]} }}}} where it is to stand, as the package's own does"
        )
    return text


def left_out(name: str, text: str) -> list[str]:
    """The variables that the package's own prompt uses and this one, which was `checked`, does not."""
    return sorted(_package_use(name).variables.keys() - _Use.of(text, name).variables.keys())


@dataclass
class _Use:
    """What a prompt uses, each with the line where it first does: variables, and fields of a variable's items."""

    variables: dict[str, int] = field(default_factory=dict)
    fields: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    needed: set[str] = field(default_factory=set)  # used in a message of the user, whatever else is so

    @classmethod
    def of(cls, text: str, where: str) -> "_Use":
        use = cls()
        for role, line, body in sections(text):
            try:
                tree = ENVIRONMENT.parse(body)
                ENVIRONMENT.compile(body)  # which knows the filters
            except TemplateSyntaxError as e:
                raise InputError(f"prompts: {where}, line {line - 1 + e.lineno}: {e.message}") from e
            if next(meta.find_referenced_templates(tree), "") != "":
                raise InputError(f"prompts: {where}: a prompt is one file, which can include no other")
            used = meta.find_undeclared_variables(tree) - ENVIRONMENT.globals.keys()
            for name in tree.find_all(nodes.Name):
                if name.name in used:
                    use.variables.setdefault(name.name, line - 1 + name.lineno)
            for variable, read in _fields(tree):
                if variable in used:
                    use.fields[variable].setdefault(read.attr, line - 1 + read.lineno)
            if role == "user":
                use.needed |= used.intersection(_unguarded(tree))
        return use


def _package_use(name: str) -> _Use:
    return _Use.of(package_text(name), name)


def _check_known(name: str, known: Iterable[str], where: str, what: str) -> None:
    if name not in known:
        there = ", ".join(sorted(known))
        raise InputError(f"prompts: {where}: there is no {what} '{name}'{_meant(name, known)}; there are {there}")


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _check_sections(text: str, where: str) -> None:
    found = list(sections(text))
    for heading in _HEADING.finditer(text):
        meant = get_close_matches(heading[1].lower(), ("system", "user", "assistant"), n=1, cutoff=0.8)
        if meant and heading[0] != f"=== {meant[0]}":
            line = text.count("\n", 0, heading.start(1)) + 1
            raise InputError(f"prompts: {where}, line {line}: {heading[0]!r} begins no message; write '=== {meant[0]}'")
    if not found:
        raise InputError(f"prompts: {where}: has no message; each begins with a line '=== system' or '=== user'")
    if before := _COMMENT.sub("", SECTION.split(text, 1)[0]).strip():
        raise InputError(f"prompts: {where}: {before[:40]!r} stands before the first message; put it below '=== {found[0].role}'")
    for section in found:
        if not _COMMENT.sub("", section.text).strip():
            raise InputError(f"prompts: {where}, line {section.line}: the message '=== {section.role}' is empty")
    if not _ROLES.fullmatch("".join(f"{section.role} " for section in found)):
        raise InputError(
            f"prompts: {where}: has the messages {', '.join(section.role for section in found)}; the last must be '=== user', "
            "before it may come pairs of '=== user' and '=== assistant', and '=== system' first of all"
        )


def _fields(tree: nodes.Template) -> Iterator[tuple[str, nodes.Getattr]]:
    """What is read of a name, and what loops over it read of its items: the name, and where."""
    for read in tree.find_all(nodes.Getattr):
        yield _name(read.node), read
    for loop in tree.find_all(nodes.For):
        for read in loop.find_all(nodes.Getattr):
            if isinstance(loop.target, nodes.Name) and _name(read.node) == loop.target.name:
                yield _name(loop.iter), read


def _name(node: nodes.Node | None) -> str:
    """`items` in items, items[:3] and items | reverse; '' of anything else."""
    while isinstance(node, nodes.Filter | nodes.Getitem):
        node = node.node
    return node.name if isinstance(node, nodes.Name) else ""


def _unguarded(node: nodes.Node) -> Iterator[str]:
    if isinstance(node, _GUARDED):
        return
    if isinstance(node, nodes.Name):
        yield node.name
    for child in node.iter_child_nodes():
        yield from _unguarded(child)
