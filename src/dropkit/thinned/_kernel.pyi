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
def update(
    adam: bool,
    double_precision: bool,
    weight: int,
    grad: int,
    first: int,
    second: int,
    rows: int,
    kept: int,
    width: int,
    tall: int,
    rate: float,
    decay: float,
    shrink: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    of_gradient: float,
    of_moment: float,
    correction: float,
    threads: int,
) -> None: ...
def use_team(address: int) -> None: ...
