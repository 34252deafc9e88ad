"""What many machines tell of their tasks: `Reply`, its forms on the wire, and `FixedPoint`.

A phone, a hospital or a worker runs its tasks from a phi that was sent to it, and sends back sums:
how far the tasks went, how steep they were. A `Reply` holds these as deltas from that phi, whose
number it carries, so that it keeps its meaning when it comes late. Nothing here opens a connection:
the bytes travel by whatever a federated system has.
"""

from ._fixed_point import FixedPoint
from ._reply import Reply

__all__ = ["FixedPoint", "Reply"]
