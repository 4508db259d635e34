"""The package's own door: names that are found whatever was imported before, and at no cost."""

import importlib
import pkgutil
import subprocess
import sys

import context


def test_no_public_name_is_a_module():
    """A module of that name would take the place of the function once it is imported."""
    modules = {module.name for module in pkgutil.iter_modules(context.__path__)}
    assert modules.isdisjoint(context.__all__)
    for module in sorted(modules):
        importlib.import_module(f"context.{module}")
    assert all(callable(getattr(context, name)) for name in context.__all__)


def test_reaching_every_name_imports_no_library_that_is_used_in_few_functions():
    libraries = ("astropy", "scipy.spatial", "mocpy", "lsdb", "dustmaps", "pyarrow.parquet", "pyarrow.csv")
    code = (
        "import sys, context; [getattr(context, name) for name in context.__all__]; "
        f"print([name for name in {libraries} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
