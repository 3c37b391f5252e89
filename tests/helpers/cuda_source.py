"""What Inductor and Triton make for a CUDA device, on a machine without one.

To be imported in a process of its own: it makes torch believe in an H200. It needs private
interfaces of torch and Triton, so that tests skip where these are others.
"""

import importlib.util
import re
import subprocess
import tempfile
import types
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import triton
from torch._dynamo.device_interface import CudaInterface
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime import driver

THREADS = 128  # of a program, with Triton's four warps
_TARGET = GPUTarget("cuda", 90, 32)
_PROPERTIES = types.SimpleNamespace(
    name="NVIDIA H200", type="cuda", index=0, multi_processor_count=132, cc=90, major=9, minor=0,
    regs_per_multiprocessor=65536, max_threads_per_multi_processor=2048, max_threads_per_block=1024,
    warp_size=32, total_memory=140 << 30, gcnArchName="", shared_memory_per_block=232448,
    shared_memory_per_block_optin=232448, shared_memory_per_multiprocessor=233472,
    L2_cache_size=60 << 20,
)  # fmt: skip


class _Driver:
    def get_current_target(self) -> GPUTarget:
        return _TARGET

    def get_current_device(self) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cuda", 0)

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_device_interface(self) -> Any:
        return torch.cuda

    def get_benchmarker(self) -> None:
        return None


def pretend() -> None:
    """Let Inductor and Triton find an H200."""
    import torch._inductor.config
    import torch.utils._triton

    torch._inductor.config.force_disable_caches = True
    torch._inductor.config.compile_threads = 1
    torch.utils._triton.has_triton = lambda *_: True
    for owner in (torch.cuda, CudaInterface, CudaInterface.Worker):
        for name, value in {
            "is_available": True,
            "device_count": 1,
            "current_device": 0,
            "get_device_properties": _PROPERTIES,
            "get_device_capability": (9, 0),
            "get_compute_capability": 90,
            "is_initialized": False,
            "is_triton_capable": True,
            "raise_if_triton_unavailable": None,
            "_lazy_init": None,
        }.items():
            if hasattr(owner, name):
                setattr(owner, name, staticmethod(lambda *_, value=value, **__: value))
    driver.set_active(_Driver())


def program(function: Any, *specs: tuple[tuple[int, ...], torch.dtype, str]) -> str:
    """Return Inductor's program for a function of tensors of some shapes, types and devices."""
    from torch._inductor.debug import DebugContext
    from torch._inductor.decomposition import select_decomp_table
    from torch._inductor.graph import GraphLowering
    from torch._inductor.virtualized import V
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    env = ShapeEnv()
    mode = FakeTensorMode(allow_non_fake_inputs=True, shape_env=env)
    with mode:
        inputs = [torch.empty(shape, dtype=dtype, device=where) for shape, dtype, where in specs]
    module = make_fx(function, select_decomp_table(), tracing_mode="fake")(*inputs)
    graph = GraphLowering(module, example_inputs=inputs, shape_env=env)
    with (
        V.set_fake_mode(mode),
        V.set_graph_handler(graph),
        V.set_extern_kernel_nodes([]),
        V.set_debug_handler(DebugContext()),
    ):
        graph.run(*inputs)
        code = graph.codegen()[0]
    return str(getattr(code, "value", code))


def kernels(source: str) -> list[tuple[Any, dict[str, str]]]:
    """Return each Triton kernel of a program, with the types of its arguments."""
    found = []
    for body in re.findall(r"async_compile\.triton\('\w+', '''(.*?)''', device_str", source, re.S):
        name = re.search(r"def (triton_\w+)\(", body)[1]
        signature = re.search(r"'signature': (\{.*?\})", body)[1]
        types_ = dict(re.findall(r"'(\w+)': '([*\w]+)'", signature))
        plain = re.sub(r"@triton_heuristics\.\w+\(.*?\n\)\n(?=@triton\.jit)", "", body, flags=re.S)
        file = Path(tempfile.mkdtemp()) / f"{name}.py"
        file.write_text(plain.replace("triton_helpers.set_driver_to_gpu()", ""))
        spec = importlib.util.spec_from_file_location(name, file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found.append((getattr(module, name), types_))
    return found


def instructions(kernel: Any, types_: dict[str, str], constants: dict[str, Any]) -> Counter[str]:
    """Return how often each machine instruction stands in a kernel compiled for sm_90."""
    names = kernel.arg_names
    source = ASTSource(
        fn=kernel,
        signature={n: "constexpr" if n in constants else types_[n] for n in names},
        constexprs={(names.index(n),): value for n, value in constants.items()},
        attrs={
            (i,): [["tt.divisibility", 16]]
            for i, n in enumerate(names)
            if n not in constants and (types_[n].startswith("*") or n == "xnumel")
        },
    )
    compiled = triton.compile(source, target=_TARGET, options={"num_warps": THREADS // 32})
    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [tools / "cuobjdump", "-sass", file.name]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pattern = r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9.]*)"
    return Counter(re.findall(pattern, listing, re.M))


def wide_multiplications(found: Counter[str]) -> int:
    """Return how many of them multiply 32 bits to 64, which Philox does twice a round."""
    wide = ("IMAD.WIDE", "IMAD.HI")
    return sum(count for name, count in found.items() if name.startswith(wide))


def interpret(kernel: Any, types_: dict[str, str], x: torch.Tensor, key: torch.Tensor) -> Any:
    """Run a kernel of x and a key in Triton's interpreter, and return what it computes."""
    result, size, block = torch.empty_like(x), x.numel(), 256
    given = {"*i64": key, "i32": size, "constexpr": block}
    arguments = [
        result if "out" in name else given.get(types_[name], x) for name in kernel.arg_names
    ]
    kernel[(-(-size // block),)](*arguments)
    return result
