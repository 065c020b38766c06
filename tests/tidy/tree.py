"""What the rules look at: the repository's files, parsed once."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("objfs", "tests", "bench", "scripts", "docs", ".ci")
TEXT_SUFFIXES = (".py", ".md", ".toml", ".txt", ".c", "")


class Module(NamedTuple):
    """A Python file: path from the root with slashes, text, tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def layer(self) -> str:
        """The package below `objfs`: store, meta...; empty for others."""
        parts = self.path.split("/")
        return parts[1] if parts[0] == "objfs" and len(parts) > 2 else ""


def module(path: str, text: str) -> Module:
    return Module(path, text, ast.parse(text, path))


@cache
def text_files() -> dict[str, str]:
    """Every text file of the project, by its path from the root."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    paths += [
        path
        for path in ROOT.iterdir()
        if path.suffix in TEXT_SUFFIXES and path.name != ".git"  # a worktree's is a file
    ]
    kept = [
        path
        for path in paths
        if path.is_file() and path.suffix in TEXT_SUFFIXES and "__pycache__" not in path.parts
    ]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(kept)}


@cache
def modules(folder: str = "") -> tuple[Module, ...]:
    return tuple(
        module(path, text)
        for path, text in text_files().items()
        if path.endswith(".py") and path.startswith(folder)
    )


def imports(of: Module) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of everything imported; `from a import b` gives both a and a.b."""
    for node in ast.walk(of.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an attribute chain, empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        below = dotted(node.value)
        return f"{below}.{node.attr}" if below else ""
    return ""


def show(complaints: list[str]) -> str:
    return "\n" + "\n".join(complaints)
