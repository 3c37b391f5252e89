"""The optional CPU kernels. Everything else is in pyproject.toml."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "dropkit.random._kernel",
            ["src/dropkit/random/_kernel.c"],
            depends=["src/dropkit/random/_apply.h", "src/dropkit/random/_team.h"],
            # Fused multiply-adds would change the last bit of Gaussian noise; without trapping
            # mathematics the loops that select become vectors.
            extra_compile_args=["-O3", "-std=gnu11", "-ffp-contract=off", "-fno-trapping-math"],
            py_limited_api=True,
            # Without a compiler the package installs all the same and uses the reference.
            optional=True,
        ),
        Extension(
            "dropkit.thinned._kernel",
            ["src/dropkit/thinned/_kernel.c"],
            depends=["src/dropkit/random/_team.h"],
            # Loops with selections and square roots become vectors.
            extra_compile_args=["-O3", "-std=gnu11", "-fno-trapping-math", "-fno-math-errno"],
            py_limited_api=True,
            optional=True,
        ),
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
