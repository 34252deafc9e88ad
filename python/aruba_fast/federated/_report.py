"""`Report`: what came of a round of a server."""

from dataclasses import dataclass, field

_TELLS = 5


@dataclass
class Report:
    """The outcome of a round.

    Attributes:
        version: The number of the phi that was sent out.
        n_replies: Replies that were learned from, late ones included.
        n_late: Those of them that had started from an older phi.
        n_refused: What was not learned from: damaged, too old, twice, of another model's size.
        n_failed: Machines that said, or whose silence said, that there will be no reply.
        n_tasks: Tasks learned from.
        n_skipped: Tasks that were left out on their machines, because they were not finite.
        reasons: Why something was refused or failed, by machine; the first few.
    """

    version: int
    n_replies: int = 0
    n_late: int = 0
    n_refused: int = 0
    n_failed: int = 0
    n_tasks: int = 0
    n_skipped: int = 0
    reasons: list[str] = field(default_factory=list)

    @property
    def lost(self) -> bool:
        """Whether nothing was learned: no reply came, or none could be used."""
        return not (self.n_replies or self.n_tasks)


def note(report: Report, sender: object, reason: str) -> None:
    """Keeps a reason, one of the first."""
    if len(report.reasons) < _TELLS:
        report.reasons.append(f"{sender}: {reason}")
