"""What reproduces published results with `aruba_fast`, and the command `aruba-fast` that runs it.

`demo` compares ARUBA and its rivals on real people's data, `theory` watches the guarantees,
`omniglot`, `shakespeare`, `writers` and `sine` train networks, the last three by `adaptation`;
`runs`, `workers` and `logs` are what every long experiment shares: a run that is seeded, saved,
stopped and resumed; several at a time; their measurements for TensorBoard. `cli` is the command
line over all of them.

The library knows nothing of this package. What it needs beyond the library is the extra
`[reproductions]`, and PyTorch where networks are trained.
"""
