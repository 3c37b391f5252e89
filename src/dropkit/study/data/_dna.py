"""Load splice junctions in DNA, from the R package mlbench."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dropkit.errors import DataError
from dropkit.study.data._data import Data
from dropkit.study.data._fetch import given_folder

COLUMNS = 180  # three indicators for each of 60 bases


def load_dna(data_dir: Path | None = None) -> Data:
    """Load 3,186 stretches of DNA, each with the kind of splice junction at its middle.

    The file DNA.csv is looked up in ``data_dir`` or ``$DROPKIT_DATA``: in its subfolders dna and
    tabular, then in the folder itself. It comes with an R package and cannot be downloaded.
    """
    folder = given_folder(data_dir)
    where = [] if folder is None else [folder / "dna", folder / "tabular", folder]
    file = next((p for each in where if (p := each / "DNA.csv").is_file()), None)
    if file is None:
        raise DataError(
            "dna is part of the R package mlbench and cannot be downloaded from here; write it in "
            "R with library(mlbench); data(DNA); write.csv(DNA, 'DNA.csv', row.names = FALSE), and "
            "give its folder as data_dir, --data-dir or $DROPKIT_DATA"
        )
    try:
        table = pd.read_csv(file)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise DataError(f"{file} is not a table ({error}); write it again") from error
    numbers = table.iloc[:, :-1]
    whole = numbers.isin([0, 1]).all(axis=None) and table.iloc[:, -1].notna().all()
    if numbers.shape[1] != COLUMNS or not whole or table.empty:
        raise DataError(
            f"{file} must hold rows of {COLUMNS} columns of zeros and ones, then the class; it is "
            f"another table of {table.shape[1]} columns, or damaged; write it again"
        )
    classes, y = np.unique(table.iloc[:, -1].astype(str), return_inverse=True)
    X = numbers.to_numpy(np.float64)
    names = tuple(str(name) for name in classes)
    return Data("dna", X, y.astype(np.int64), "classification", names, "junction")
