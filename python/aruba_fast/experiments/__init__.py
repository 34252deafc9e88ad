"""The experiments behind `aruba-fast omniglot`: what is learned on real people's data.

`runs` is what every long experiment shares: a run that is seeded, saved, stopped and resumed.
PyTorch (`pip install 'aruba_fast[torch]'`) is imported by what trains, not by `runs`.
"""
