"""Files and functions stay small, and modules say what they own."""

import ast

from tests.tidy.tree import Module, module, modules, show

FILE_LINES_MAX = 800
FILE_LINES_WITHOUT_REASON_MAX = 500
FUNCTION_LINES_MAX = 70
REASON = "Long because"  # starts a line of the module docstring


def file_complaints(of: Module) -> list[str]:
    lines = len(of.text.splitlines())
    docstring = ast.get_docstring(of.tree) or ""
    if lines > FILE_LINES_MAX:
        return [f"{of.path}: {lines} lines; the hard stop is {FILE_LINES_MAX}"]
    reasoned = any(line.startswith(REASON) for line in docstring.splitlines())
    if lines > FILE_LINES_WITHOUT_REASON_MAX and not reasoned:
        return [f"{of.path}: {lines} lines need a docstring line that starts with '{REASON}'"]
    return []


def function_complaints(of: Module) -> list[str]:
    found = [
        node
        for node in ast.walk(of.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    sizes = [(node, (node.end_lineno or node.lineno) - node.lineno + 1) for node in found]
    return [
        f"{of.path}:{node.lineno}: {node.name} has {size} lines; they stop at {FUNCTION_LINES_MAX}"
        for node, size in sizes
        if size > FUNCTION_LINES_MAX
    ]


def docstring_complaints(of: Module) -> list[str]:
    if ast.get_docstring(of.tree) or not of.text.strip():
        return []
    return [f"{of.path}: no docstring says what the module owns"]


def test_files_stop_at_800_lines() -> None:
    complaints = [text for each in modules() for text in file_complaints(each)]
    assert not complaints, show(complaints)


def test_functions_stop_at_70_lines() -> None:
    complaints = [text for each in modules() for text in function_complaints(each)]
    assert not complaints, show(complaints)


def test_modules_say_what_they_own() -> None:
    complaints = [text for each in modules() for text in docstring_complaints(each)]
    assert not complaints, show(complaints)


def test_a_long_file_is_seen() -> None:
    assert file_complaints(module("a.py", "x = 1\n" * 801))
    assert file_complaints(module("a.py", "x = 1\n" * 501))
    assert not file_complaints(module("a.py", f'"""A.\n\n{REASON} it is."""\n' + "x = 1\n" * 501))


def test_a_long_function_is_seen() -> None:
    body = "    x = 1\n"
    assert function_complaints(module("a.py", "async def f():\n" + body * 70))
    assert not function_complaints(module("a.py", "def f():\n" + body * 69))


def test_a_missing_docstring_is_seen() -> None:
    assert docstring_complaints(module("a.py", "x = 1"))
    assert not docstring_complaints(module("tests/__init__.py", ""))
