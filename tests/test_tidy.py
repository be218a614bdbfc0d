"""Does the tree keep the measures that it set itself?

A ratchet: the limits may be lowered when everything is below them, and are never raised.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
FUNCTION_LINES_MAX = 69
FILE_LINES_MAX = 499
FORBIDDEN_NAMES = {"util", "utils", "common", "helper", "helpers", "manager", "misc"}
SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+(OR\s+\w+\s+)?INTO|DELETE\s+FROM|UPDATE\s+\w+\s+SET"
    r"|CREATE\s+(TABLE|INDEX)|DROP\s+TABLE|PRAGMA\s+\w+)\b",
    re.DOTALL,
)
MACHINE_NAMES = re.compile(
    # Written so that this file does not hold what it looks for.
    "|".join(
        re.escape(".".join(parts))
        for parts in [
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("npmjs", "org"),
            ("npmjs", "com"),
            ("crates", "io"),
            ("proxy", "golang", "org"),
        ]
    )
    + "|--(extra-)?index" + "-url"
    + "|(?<![\\w.])/" + "work/"
    + "|/" + "tmp/x/"
)  # fmt: skip


def _python_files() -> list[Path]:
    return sorted([*TOP.glob("sharefs/**/*.py"), *TOP.glob("tests/**/*.py")])


def _text_files() -> Iterator[Path]:
    """What is ours to commit: not what tools have left beside it."""
    for folder in ("sharefs", "tests", "contrib", "docs", ".ci"):
        for path in sorted((TOP / folder).glob("**/*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path
    # In a work tree of its own, git keeps a file there.
    yield from sorted(path for path in TOP.iterdir() if path.is_file() and path.name != ".git")


def _name(path: Path) -> str:
    return str(path.relative_to(TOP))


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_function_is_too_long() -> None:
    too_long = [
        f"{_name(path)}: {function.name} has {lines} lines"
        for path in _python_files()
        for function in _functions(ast.parse(path.read_text()))
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not too_long


def test_no_file_is_too_long() -> None:
    too_long = [
        f"{_name(path)} has {lines} lines"
        for path in _python_files()
        if (lines := len(path.read_text().splitlines())) > FILE_LINES_MAX
    ]
    assert not too_long


def test_every_module_is_named_after_what_it_holds() -> None:
    vague = [
        _name(path)
        for path in _python_files()
        if FORBIDDEN_NAMES & {*path.relative_to(TOP).parts[:-1], *path.stem.split("_")}
    ]
    assert not vague


def test_every_module_opens_with_a_question() -> None:
    mute = [
        _name(path)
        for path in sorted(TOP.glob("sharefs/**/*.py"))
        if "?" not in (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0]
        and path != TOP / "sharefs/__init__.py"
    ]
    assert not mute


def test_sql_lives_in_store() -> None:
    elsewhere = [
        f"{_name(path)}:{node.lineno}"
        for path in sorted(TOP.glob("sharefs/**/*.py"))
        if path.relative_to(TOP).parts[1] != "store"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value)
    ]
    assert not elsewhere


def test_nothing_names_the_machine_it_was_written_on() -> None:
    telling = [
        f"{_name(path)}: {match[0]}"
        for path in _text_files()
        if (match := MACHINE_NAMES.search(path.read_text(errors="replace")))
    ]
    assert not telling


@pytest.mark.parametrize(
    "text", ["SELECT name FROM space", "INSERT OR IGNORE INTO head", "PRAGMA user_version"]
)
def test_sql_would_be_found(text: str) -> None:
    assert SQL.search(text)


@pytest.mark.parametrize("text", ["/" + "work/main", "see https://pypi" + ".org/simple"])
def test_machine_names_would_be_found(text: str) -> None:
    assert MACHINE_NAMES.search(text)
