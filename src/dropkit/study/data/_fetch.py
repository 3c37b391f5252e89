"""Find the files of known data sets, or download them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from dropkit.errors import DataError


def given_folder(data_dir: Path | None) -> Path | None:
    """Return the folder with data sets: ``data_dir``, else ``$DROPKIT_DATA``, else ``None``."""
    if data_dir is None and "DROPKIT_DATA" in os.environ:
        return Path(os.environ["DROPKIT_DATA"])
    return data_dir


def fetch(
    name: str, url: str, files: Mapping[str, str], places: Sequence[str], data_dir: Path | None
) -> list[Path]:
    """Return the files of a data set, from the given folder; without a folder, download them.

    Args:
        name: the name of the data set.
        url: the address to which the names of the files are appended.
        files: each file's name and its hash in the notation of pooch.
        places: subfolders of the given folder to search, besides the folder itself.
        data_dir: see `given_folder`.
    """
    folder = given_folder(data_dir)
    if folder is None:
        return download(name, url, files)
    for place in (*(folder / each for each in places), folder):
        found = [place / file for file in files]
        missing = [file for file in found if not file.is_file()]
        if not missing:
            return found
        if len(missing) < len(found):
            present = next(file for file in found if file not in missing)
            raise DataError(f"{place} has {present.name} but no {missing[0].name}")
    looked = " or ".join(str(place) for place in (*(folder / each for each in places), folder))
    raise DataError(
        f"no {next(iter(files))} in {looked}; give the folder that holds it, or no folder to "
        "download it"
    )


def download(name: str, url: str, files: Mapping[str, str | None]) -> list[Path]:
    """Download files that are not in the cache; check the hash of every file that has one."""
    import pooch  # imported here because most data need no download

    store = pooch.create(pooch.os_cache("dropkit") / name, base_url=url, registry=dict(files))
    try:
        return [Path(store.fetch(file)) for file in files]
    except (OSError, ValueError) as error:  # no connection, or another hash
        raise DataError(
            f"cannot download {name} from {url} ({error}); put its files in a folder and give it "
            "as data_dir, --data-dir or $DROPKIT_DATA"
        ) from error
