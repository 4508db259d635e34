import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the labelled survey data: BAYESCLASS_DATA, by default ../shared/data beside the checkout."""
    folder = os.environ.get("BAYESCLASS_DATA")
    path = Path(folder) if folder else Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"no labelled survey data in {path}; set BAYESCLASS_DATA to their folder")
    return path.resolve()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240229)
