"""What the three packages promise: every public name is there, documented, and cheap to reach."""

import importlib
import inspect
import subprocess
import sys

import pytest

PACKAGES = ("bayesclass", "structurefn", "context")
NAMES = [
    (package, name)
    for package in PACKAGES
    for name in getattr(importlib.import_module(package), "__all__", ())
]


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_there_without_repetition(package):
    names = importlib.import_module(package).__all__
    assert names
    assert len(set(names)) == len(names)
    assert all(not name.startswith("_") or name == "__version__" for name in names)


@pytest.mark.parametrize(("package", "name"), NAMES, ids=[f"{package}.{name}" for package, name in NAMES])
def test_public_names_import_and_have_docstrings(package, name):
    thing = getattr(importlib.import_module(package), name)
    if callable(thing):
        doc = thing.__doc__ if inspect.isclass(thing) else inspect.getdoc(thing)
        # The signature that a dataclass makes for itself is no docstring.
        assert doc, f"{package}.{name}"
        assert not doc.startswith(f"{name}("), f"{package}.{name}"


@pytest.mark.parametrize(("package", "name"), NAMES, ids=[f"{package}.{name}" for package, name in NAMES])
def test_public_methods_have_docstrings(package, name):
    thing = getattr(importlib.import_module(package), name)
    if not inspect.isclass(thing):
        return
    for method, member in vars(thing).items():
        if not method.startswith("_") and (callable(member) or isinstance(member, classmethod | property)):
            assert inspect.getdoc(getattr(thing, method)), f"{package}.{name}.{method} has no docstring"


@pytest.mark.parametrize("package", PACKAGES)
def test_dir_lists_the_public_names(package):
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_is_light(package):
    """Heavy libraries are imported where they are used, not with the package."""
    heavy = ("pymc", "pgmpy", "arviz", "matplotlib", "astropy", "sklearn")
    code = f"import sys, {package}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
