"""What several tests of tables read, made once."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import synthetic_study as synthetic

from polybatch.tables.scores import View


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[View, pd.DataFrame]:
    """The scores of the whole synthetic study, with twelve groups of parallel texts. They are not to be changed."""
    base: Path = tmp_path_factory.mktemp("base")
    synthetic.write_study(base, groups=12)
    return synthetic.view(base)
