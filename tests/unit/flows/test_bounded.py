"""What a flow run may cost in Prefect: at most 30 task runs, whatever the number of images."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MOST = 30
_REPEATS = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _tasks() -> set[str]:
    """Return the names of all functions that are decorated as tasks."""
    functions = (node for file in ROOT.glob("tasks/*/tasks.py") for node in ast.walk(ast.parse(file.read_text())))
    return {node.name for node in functions if isinstance(node, ast.FunctionDef) and _is_task(node)}


def _is_task(function: ast.FunctionDef) -> bool:
    calls = (mark.func if isinstance(mark, ast.Call) else mark for mark in function.decorator_list)
    return any(isinstance(call, ast.Name) and call.id == "task" for call in calls)


def _calls(tree: ast.AST, names: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if called in names or called in {"map", "submit"}:
                yield called


@pytest.mark.parametrize("file", [*ROOT.glob("flows/*.py"), *ROOT.glob("tasks/*/tasks.py")], ids=lambda path: path.name)
def test_no_flow_calls_a_task_once_per_image(file: Path) -> None:
    tree, tasks = ast.parse(file.read_text()), _tasks()

    assert len(tasks) > 5, "else this looks for the wrong thing"
    assert len([*_calls(tree, tasks)]) <= MOST
    repeated = [call for node in ast.walk(tree) if isinstance(node, _REPEATS) for call in _calls(node, tasks)]
    assert repeated == []
