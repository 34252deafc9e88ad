"""What jobs that train and adapt are held to: small writers, and stops that leave no trace."""

from __future__ import annotations

import json

import numpy as np
import pytest
from optional import need

need("torch")
from aruba_fast_reproductions.runs import Interrupted, Stop  # noqa: E402
from aruba_fast_reproductions.writers import Settings  # noqa: E402

SMALL = Settings(n_rounds=24, n_clients=3, batch_size=4, shots=6, n_epochs=2, n_curve=2)


def write_digits(path, n_writers=15, fewest=8):
    """Writers of `fewest` and up to twice as many images, each digit a bar at its own height."""
    rng = np.random.default_rng(5)
    sizes = fewest + np.arange(n_writers) * fewest // max(1, n_writers - 1)
    n = sizes.sum()
    digits = rng.integers(0, 10, n)
    nibbles = rng.integers(0, 256, (n, 14, 7), dtype=np.uint8) & 0x33
    nibbles[np.arange(n), digits + 2] |= 0xCC
    np.savez(
        path,
        nibbles=nibbles.reshape(n, 98),
        y=digits.astype(np.uint8),
        writer=np.repeat(3 * np.arange(n_writers), sizes).astype(np.uint16),
        hsf=np.zeros(n, np.uint8),
    )
    return path


def without_time(result):
    kept = {name: value for name, value in result.items() if not name.endswith("seconds")}
    assert all(value >= 0 for name, value in result.items() if name.endswith("seconds"))
    return kept


def ends_like_one_that_was_not_stopped(make, folder, stops):
    """Runs `make(folder)` whole, and with stops at some progress; returns what it found."""
    whole, part = folder / "whole", folder / "part"
    whole.mkdir()
    part.mkdir()
    found = make(whole)(lambda *_: None, Stop())
    job = make(part)
    for at in stops:
        stop = Stop()

        def progress(done, total, stop=stop, at=at):
            assert done <= total == job.size
            stop.requested = done >= at

        with pytest.raises(Interrupted):
            job(progress, stop)
    assert without_time(job(lambda *_: None, Stop())) == without_time(found)
    for place in (whole, part):
        saved = json.loads((place / f"{job.stem}.json").read_text())
        assert without_time(saved) == without_time(found)
    return found
