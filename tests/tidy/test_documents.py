"""Links lead somewhere, clauses have tests, scripts run."""

import os
import re
import subprocess

import pytest

from tests.tidy.tree import ROOT, show, text_files

LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
NAMED_PATH = re.compile(r"(?<![\w./-])((?:objfs|tests|docs|scripts)/[\w./*{},-]*[\w*}/])")
CLAUSE = re.compile(r"^\*\*(S\d+\.\d+)\*\*", re.MULTILINE)
CLAUSE_NAMED = re.compile(r"\bS\d+\.\d+\b")
HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, by GitHub's rule."""
    titles = [re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(text)]
    return {title.strip().replace(" ", "-") for title in titles}


def link_complaints(path: str, text: str, files: dict[str, str]) -> list[str]:
    complaints = []
    for target in LINK.findall(FENCE.sub("", text)):
        if "://" in target or target.startswith("mailto:"):
            continue
        place, _, anchor = target.partition("#")
        full = os.path.normpath(os.path.join(os.path.dirname(path), place)) if place else path
        if place and not (ROOT / full).exists():
            complaints.append(f"{path}: {target} leads nowhere")
        elif anchor and anchor not in anchors(files.get(full, text)):
            complaints.append(f"{path}: {target} has no such heading")
    return complaints


def path_complaints(path: str, text: str) -> list[str]:
    """Paths of the repository named in prose or comments."""
    complaints = []
    for named in NAMED_PATH.findall(text):
        plain = named.rstrip("/.")
        if any(sign in plain for sign in "*{") or (ROOT / plain).exists():
            continue
        if "." in plain.rsplit("/", 1)[-1] or plain.startswith("scripts/"):
            complaints.append(f"{path}: {named} does not exist")
    return complaints


def clause_complaints(semantics: str, tests: dict[str, str]) -> list[str]:
    promised = CLAUSE.findall(semantics)
    named = {clause for text in tests.values() for clause in CLAUSE_NAMED.findall(text)}
    twice = {clause for clause in promised if promised.count(clause) > 1}
    return [
        *(f"{clause} is there twice" for clause in sorted(twice)),
        *(f"{clause} has no test that names it" for clause in sorted(set(promised) - named)),
        *(
            f"{clause} is named by a test and not promised"
            for clause in sorted(named - set(promised))
        ),
    ]


def test_links_lead_somewhere() -> None:
    files = text_files()
    complaints = [
        complaint
        for path, text in files.items()
        if path.endswith(".md")
        for complaint in link_complaints(path, text, files)
    ]
    assert not complaints, show(complaints)


def test_paths_named_in_text_exist() -> None:
    complaints = [
        complaint
        for path, text in text_files().items()
        if path.endswith((".py", ".md")) and not path.startswith("tests/tidy/")
        for complaint in path_complaints(path, text)
    ]
    assert not complaints, show(complaints)


def test_every_promise_has_a_test() -> None:
    files = text_files()
    tests = {
        path: text
        for path, text in files.items()
        if path.startswith("tests/") and not path.startswith("tests/tidy/")
    }
    complaints = clause_complaints(files.get("docs/SEMANTICS.md", ""), tests)
    assert not complaints, show(complaints)


def test_the_readme_is_there() -> None:
    for name in ("README.md", "LICENSE", "constraints.txt"):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize(
    "path", [path for path in text_files() if path.startswith(("scripts/", ".ci/"))]
)
def test_scripts_run(path: str) -> None:
    text = text_files()[path]
    assert os.access(ROOT / path, os.X_OK), f"{path} is not executable"
    assert text.startswith("#!"), f"{path} does not say what runs it"
    if "bash" in text.splitlines()[0]:
        assert "\nset -euo pipefail\n" in text
        subprocess.run(["bash", "-n", ROOT / path], check=True)


def test_a_broken_link_is_seen() -> None:
    page = (
        "# One heading\n[a](pyproject.toml) [b](none.md) [c](#one-heading) [d](#two)\n"
        "```\n[e](x)\n```"
    )
    assert len(link_complaints("README.md", page, {"README.md": page})) == 2


def test_a_wrong_path_is_seen() -> None:
    text = "objfs/base/limits.py, objfs/base/nothing.py, scripts/none, objfs/{a,b}.py, objfs/0.1"
    assert len(path_complaints("README.md", text)) == 3


def test_a_promise_without_a_test_is_seen() -> None:
    semantics = "**S1.1** One.\n**S1.2** Two.\n**S1.2** Two again.\n"
    complaints = clause_complaints(semantics, {"tests/a.py": "S1.1 S9.9"})
    assert len(complaints) == 3
