"""Calls and names that have no place: clocks, randomness and threads are passed in; no unfinished
work; no catch-all modules; no path of somebody's machine."""

import ast
import re
from collections.abc import Iterator

from tests.tidy.tree import Module, dotted, imports, module, modules, show, text_files

# A name, or a module with everything below it.
BANNED_CALLS = (
    "time",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "random",
    "secrets",
    "uuid.uuid1",
    "uuid.uuid4",
    "os.urandom",
    "threading",
    "multiprocessing",
    "concurrent.futures",
    "trio.to_thread",
    "_thread",
)
# Converting a time is no use of the clock.
HARMLESS = ("time.strftime", "time.struct_time", "time.localtime", "time.gmtime")

# (file, banned thing) -> the reason it may be used there.
ALLOWED = {
    ("objfs/base/system.py", "time"): "the home of the clock",
    ("objfs/base/system.py", "secrets"): "the home of randomness",
    ("objfs/base/system.py", "trio.to_thread"): "the home of threads",
}

BANNED_MODULE_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}

# In pieces, so that this file passes its own rules.
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b|Not" + r"ImplementedError")
MACHINE_PATH = re.compile(r"(?<![\w.$}])/(?:wo" + r"rk|ro" + r"ot|ho" + r"me/\w+)/")
OPTIMIZED = re.compile(r"python[\d.]*\"?\s+(?:-\w+\s+)*-O|PYTHON" + r"OPTIMIZE")


def used_names(of: Module) -> Iterator[tuple[str, int]]:
    """Full dotted names in use: imports, and attributes of what was imported under its alias."""
    aliases: dict[str, str] = {}
    for node in ast.walk(of.tree):
        if isinstance(node, ast.Import):
            aliases |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            aliases |= {
                alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names
            }
    yield from (
        (name, line) for name, line in imports(of) if name not in ("time", "trio", "datetime")
    )
    for node in ast.walk(of.tree):
        name = dotted(node) if isinstance(node, ast.Attribute) else ""
        first, _, rest = name.partition(".")
        if rest:
            yield f"{aliases.get(first, first)}.{rest}", node.lineno  # type: ignore[attr-defined]


def banned_calls(of: Module) -> list[str]:
    complaints = {}
    for name, line in used_names(of):
        if name in HARMLESS or name.startswith("self."):
            continue
        for ban in BANNED_CALLS:
            hit = name == ban or name.startswith(ban + ".")
            if hit and (of.path, ban) not in ALLOWED:
                complaints[of.path, line, ban] = (
                    f"{of.path}:{line}: {name}: take it from objfs/base/ports.py instead"
                )
    return list(complaints.values())


def prints(of: Module) -> list[str]:
    return [
        f"{of.path}:{node.lineno}: only the command line prints"
        for node in ast.walk(of.tree)
        if isinstance(node, ast.Call) and dotted(node.func) == "print"
    ]


def matches(pattern: re.Pattern[str], path: str, text: str) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_clock_randomness_and_threads_are_passed_in() -> None:
    complaints = [text for each in modules("objfs/") for text in banned_calls(each)]
    assert not complaints, show(complaints)


def test_only_the_command_line_prints() -> None:
    complaints = [
        text for each in modules("objfs/") if each.layer != "cli" for text in prints(each)
    ]
    assert not complaints, show(complaints)


def test_modules_have_names_of_the_field() -> None:
    complaints = [
        each.path for each in modules() if BANNED_MODULE_NAMES & set(each.name.split("."))
    ]
    assert not complaints, show(complaints)


def test_nothing_is_unfinished() -> None:
    complaints = [text for item in text_files().items() for text in matches(UNFINISHED, *item)]
    assert not complaints, show(complaints)


def test_no_path_of_a_machine() -> None:
    complaints = [text for item in text_files().items() for text in matches(MACHINE_PATH, *item)]
    assert not complaints, show(complaints)


def test_asserts_are_never_switched_off() -> None:
    complaints = [
        text
        for path, content in text_files().items()
        if not path.endswith((".md", "test_banned.py"))
        for text in matches(OPTIMIZED, path, content)
    ]
    assert not complaints, show(complaints)


def test_the_allowances_are_needed() -> None:
    unused = []
    for (path, ban), reason in ALLOWED.items():
        assert reason
        names = [
            name for each in modules("objfs/") if each.path == path for name, _ in used_names(each)
        ]
        if not any(name == ban or name.startswith(ban + ".") for name in names):
            unused.append(f"{path} no longer uses {ban}")
    assert not unused, show(unused)


def test_banned_calls_are_seen() -> None:
    bad = module(
        "objfs/store/log.py",
        "import time, os\nfrom random import randint\nimport trio as t\n"
        "from datetime import datetime\n"
        "time.monotonic()\nos.urandom(3)\nt.to_thread.run_sync\ndatetime.now()\n"
        "time.strftime('%Y')\nself.time.now()\n",
    )
    lines = sorted(int(text.split(":")[1]) for text in banned_calls(bad))
    assert lines == [2, 5, 6, 7, 8]


def test_words_are_seen() -> None:
    assert matches(UNFINISHED, "a", "x = 1  # TO" + "DO later")
    assert not matches(UNFINISHED, "a", "mktemp -d objfs.XXXXXX")
    assert matches(MACHINE_PATH, "a", "cd /ro" + "ot/objfs")
    assert not matches(MACHINE_PATH, "a", "see objfs/ro" + "ot/x and $HOME/x")
    assert matches(OPTIMIZED, "a", "python3 -" + "O -m objfs")
    assert not matches(OPTIMIZED, "a", "python3 -m objfs -o allow_other")
    assert prints(module("objfs/store/log.py", "print(1)"))
