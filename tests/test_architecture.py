"""The direction of imports and a few habits, read from the sources without importing them."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

PACKAGES = ("bayesclass", "structurefn", "context")
FORBIDDEN = {
    "bayesclass": {"pickle", "dill", "joblib", "cloudpickle"},
    "structurefn": {"bayesclass", "context", "pgmpy", "pymc", "arviz", "pickle", "dill", "joblib"},
    "context": {"bayesclass", "structurefn", "pgmpy", "pymc", "arviz", "pickle", "dill", "joblib"},
}
ARCHITECTURE = Path(__file__).resolve().parents[1] / "docs" / "dev" / "architecture.md"


def folder_of(package: str) -> Path:
    return Path(importlib.util.find_spec(package).origin).parent


def sources(package: str) -> list[Path]:
    return sorted(folder_of(package).rglob("*.py"))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(tree: ast.AST) -> set[str]:
    """Return the packages that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names |= {arg.value.partition(".")[0] for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return names


def violations(package: str, source: str) -> set[str]:
    return imported(ast.parse(source)) & FORBIDDEN[package]


ALL_SOURCES = [(package, path) for package in PACKAGES for path in sources(package)]
IDS = [f"{package}/{path.relative_to(folder_of(package))}" for package, path in ALL_SOURCES]


@pytest.mark.parametrize(("package", "path"), ALL_SOURCES, ids=IDS)
def test_imports_go_down_only(package, path):
    assert imported(tree_of(path)) & FORBIDDEN[package] == set()


@pytest.mark.parametrize(("package", "path"), ALL_SOURCES, ids=IDS)
def test_no_star_imports_and_no_relative_escape(package, path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names), ast.unparse(node)
            # Beyond its own package a module names what it imports from.
            assert node.level <= len(path.relative_to(folder_of(package)).parts), ast.unparse(node)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_what_is_public(package):
    for path in sources(package):
        if path.name == "__init__.py" and tree_of(path).body:
            assigned = [
                target.id
                for node in tree_of(path).body
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            ]
            assert "__all__" in assigned, path


@pytest.mark.parametrize(("package", "path"), ALL_SOURCES, ids=IDS)
def test_every_module_has_a_docstring_and_leaves_jax_configuration_alone(package, path):
    tree = tree_of(path)
    assert ast.get_docstring(tree), path
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert "jax.config.update" not in calls
    assert "config.update" not in calls


def test_documented_modules_exist():
    if not ARCHITECTURE.is_file():
        pytest.skip("docs/dev/architecture.md is not beside these tests")
    sections = re.split(r"^## ", ARCHITECTURE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    documented = {}
    for section in sections:
        heading, _, body = section.partition("\n")
        rows = [line.split("|")[1] for line in body.splitlines() if line.startswith("| `")]
        documented[heading.strip()] = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert set(PACKAGES) <= set(documented)
    for package in PACKAGES:
        assert documented[package]
        for name in documented[package]:
            assert list(folder_of(package).glob(name)), f"{package}/{name} is documented but absent"


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("structurefn", "import bayesclass.recipe"),
        ("structurefn", "def f():\n    from context import evidence"),
        ("context", "from structurefn.columns import labels"),
        ("context", "import importlib\nimportlib.import_module('pymc.model')"),
        ("bayesclass", "import pickle"),
    ],
)
def test_the_check_itself_sees_violations(package, source):
    assert violations(package, source)
