def move(
    action: int,
    whole: int,
    part: int,
    rows: int,
    columns: int,
    height: int,
    width: int,
    tall: int,
    wide: int,
    bytes: int,
    threads: int,
) -> None: ...
def choose(
    chosen: int, kept: int, groups: int, size: int, keep: int, seed: int, stream: int
) -> None: ...
def use_team(address: int) -> None: ...
