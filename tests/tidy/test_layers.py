"""Imports only go down, each third-party package has one home, and no module is dead."""

import sys
from collections.abc import Iterable

from tests.tidy.tree import Module, imports, module, modules, show

BELOW = {
    "base": set[str](),
    "store": {"base"},
    "meta": {"base"},
    "volume": {"base", "store", "meta", "auth"},
    "fuse": {"base", "volume"},
    "maint": {"base", "store", "meta", "auth", "volume"},
    "auth": {"base"},
    "s3": {"base", "auth", "volume"},
    "cli": {"base", "store", "meta", "auth", "volume", "fuse", "s3", "maint"},
}

# Package -> path prefixes that may import it. What is in nobody's list may be imported nowhere.
ANYWHERE = ("objfs/",)
HOMES: dict[str, tuple[str, ...]] = {
    "pyfuse3": ("objfs/fuse/binding.py", "objfs/fuse/mount.py", "objfs/fuse/waiter.py"),
    "sqlite3": ("objfs/meta/",),
    "aiosqlite": ("objfs/meta/",),
    "trio_asyncio": ("objfs/meta/",),
    "asyncio": ("objfs/meta/",),
    "xxhash": ("objfs/store/", "objfs/volume/"),
    "zstandard": ("objfs/store/",),
    "h11": ("objfs/s3/heads.py",),
    "prometheus_client": ("objfs/s3/metrics.py",),
    "awscrt": ("objfs/volume/digests.py",),
    "cryptography": ("objfs/auth/",),
    "jwt": ("objfs/auth/",),
    "click": ("objfs/cli/",),
    "rich": ("objfs/cli/",),
    "cachetools": ANYWHERE,
    "msgspec": ANYWHERE,
    "trio": ANYWHERE,
}
GUARDED_STANDARD_LIBRARY = {"sqlite3", "asyncio"}

# Modules that nobody in objfs imports, and why they are there all the same.
ENTRANCES = {
    "objfs.cli.main": "the console script",
    "objfs.store.memory": "a device for crash tests, under the same contract as the real one",
    "objfs.store.faults": "the device wrapper that fails on command",
    "objfs.meta.memory": "the engine that the SQLite engine is compared with",
}
# Beginnings of the names of modules that landed before their user did. Empty once all are used.
AWAITING: dict[str, str] = {}


def layer_complaints(of: Module) -> list[str]:
    allowed = BELOW.get(of.layer)
    if allowed is None:
        return [] if of.path == "objfs/__init__.py" else [f"{of.path}: no such layer"]
    return [
        f"{of.path}:{line}: {of.layer} must not import {name}"
        for name, line in imports(of)
        if name.startswith("objfs.") and name.split(".")[1] not in allowed | {of.layer}
    ]


def home_complaints(of: Module) -> list[str]:
    complaints = []
    for name, line in imports(of):
        top = name.split(".")[0]
        if top == "objfs" or (
            top in sys.stdlib_module_names and top not in GUARDED_STANDARD_LIBRARY
        ):
            continue
        if not of.path.startswith(HOMES.get(top, ())):
            complaints.append(f"{of.path}:{line}: {top} has its home elsewhere: {HOMES.get(top)}")
    return complaints


def dead_modules(of: Iterable[Module]) -> list[str]:
    of = list(of)
    used = {name for each in of for name, _ in imports(each) if name != each.name}
    return [
        f"{each.path}: no module of objfs imports it"
        for each in of
        if not each.path.endswith("__init__.py")
        and each.name not in used
        and each.name not in ENTRANCES
        and not each.name.startswith(tuple(AWAITING))
    ]


def test_imports_only_go_down() -> None:
    complaints = [text for each in modules("objfs/") for text in layer_complaints(each)]
    assert not complaints, show(complaints)


def test_each_package_has_its_home() -> None:
    complaints = [text for each in modules("objfs/") for text in home_complaints(each)]
    assert not complaints, show(complaints)


def test_no_module_is_dead() -> None:
    complaints = dead_modules(modules("objfs/"))
    assert not complaints, show(complaints)


def test_the_entrances_are_there() -> None:
    assert not set(ENTRANCES) - {each.name for each in modules("objfs/")}


def test_what_is_awaited_is_still_missing() -> None:
    of = modules("objfs/")
    used = {name for each in of for name, _ in imports(each) if name != each.name}
    arrived = [
        f"nothing that begins with {beginning} is unused any more: take it out of AWAITING"
        for beginning in AWAITING
        if any(each.name.startswith(beginning) for each in of)
        and not [each for each in of if each.name.startswith(beginning) and each.name not in used]
    ]
    assert not arrived, show(arrived)


def test_an_import_upwards_is_seen() -> None:
    bad = module("objfs/store/log.py", "from objfs.volume import volume\nimport objfs.base.types\n")
    assert len({text.split(":")[1] for text in layer_complaints(bad)}) == 1


def test_a_package_away_from_home_is_seen() -> None:
    bad = module("objfs/fuse/listing.py", "import sqlite3\nimport requests\nimport os\nimport trio")
    assert len(home_complaints(bad)) == 2


def test_a_dead_module_is_seen() -> None:
    alive = module("objfs/store/alive.py", "")
    dead = module("objfs/store/dead.py", "from objfs.store import alive")
    assert dead_modules([alive, dead]) == ["objfs/store/dead.py: no module of objfs imports it"]
