"""Tasks on many machines: `Server`, the `Round` that goes out, the `Reply` that comes back.

A phone, a hospital or a worker runs its tasks from a phi that was sent to it, and sends back sums:
how far the tasks went, how steep they were. A `Reply` holds these as deltas from that phi, whose
number it carries, so that it keeps its meaning when it comes late; `FixedPoint` makes words of it
that can be added without being seen. Nothing here opens a connection: the bytes travel by whatever
a federated system has, such as Flower (`aruba_fast.flower`).
"""

from ._first_rate import FirstRate
from ._fixed_point import FixedPoint
from ._reply import Reply
from ._report import Report
from ._round import Round
from ._server import Server

__all__ = ["FirstRate", "FixedPoint", "Reply", "Report", "Round", "Server"]
