DEFINITION: int

def run(
    piece: int,
    x: int,
    y: int,
    seeds: int,
    rows: int,
    count: int,
    stream: int,
    offset: int,
    threshold: int,
    factor: float,
    table: int,
    threads: int,
) -> None: ...
def use_team(address: int) -> None: ...
def instruction_sets() -> list[str]: ...
def use_instruction_set(name: str) -> None: ...
