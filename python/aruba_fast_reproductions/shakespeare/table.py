"""The comparison as tables for the terminal."""

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from .methods import ISOTROPIC, LEARNED, PLUS
from .result import BEFORE, WAYS, Result
from .roles import KINDS

_HEADS = {BEFORE: "before", LEARNED: "learned", PLUS: "ARUBA++"}


def rows(result: Result, kind: str) -> list[list[str]]:
    """The lines of the table of the seen or the unseen roles, its head first."""
    heads = ["FedAvg", *(_HEADS.get(way, way) for way in WAYS)]
    lines = []
    for method in result.methods:
        found = [result.estimate(method.name, kind, way) for way in WAYS]
        name = f"at {method.rate:g}" if method.rate is not None else _short(method.kind)
        lines.append([name, *("" if each is None else str(each) for each in found)])
    return [heads, *lines]


def _short(kind: str) -> str:
    return "isotropic" if kind == ISOTROPIC else "ARUBA"


def render(result: Result) -> RenderableType:
    """The tables, the differences that the experiment is about, and how to read it all."""
    parts: list[RenderableType] = []
    for kind in reversed(KINDS):
        heads, *lines = rows(result, kind)
        title = f"{kind} roles: characters predicted rightly, %, before and after personalization"
        table = RichTable(
            title=title, title_justify="left", title_style="bold", box=SIMPLE, padding=(0, 1, 0, 0)
        )
        table.add_column(heads[0])
        for head in heads[1:]:
            table.add_column(head, justify="right")
        for line in lines:
            # Nine columns are too wide for 80 characters unless errors stand below their means.
            table.add_row(*(cell.replace("±", "\n±") for cell in line))
        parts.append(table)
    parts += [Text(f"{name}: {gain.signed}") for name, gain in result.claims().items()]
    return Group(*parts, Text(_legend(result), style="dim"))


def _legend(result: Result) -> str:
    own = result.runs[0]["about"]
    n = {kind: sum(run["n_roles"][kind] for run in result.of(own["method"])) for kind in KINDS}
    trivial = ", ".join(f"{result.most_frequent(kind).mean:.1f} % ({kind})" for kind in KINDS)
    predicted = (
        "every position of a window of {length} characters predicts the next"
        if own["stride"] > 1
        else "every character is predicted from the {length} before it"
    ).format(**own)
    seeds = len(result.seeds)
    return (
        f"Scale {result.scale}: {own['n_layers']} layer(s) of {own['n_hidden']}, {own['n_rounds']} "
        f"rounds of {own['n_clients']} roles, batches of {own['batch_size']} windows; {predicted}. "
        f"{seeds} seed{'s' * (seeds > 1)}, {n['seen']} seen and {n['unseen']} unseen roles in all, "
        "weighted by characters; ± is the standard error over seeds. Rows: how the roles moved in "
        "training; columns: how they moved in the epoch after it. Always the most frequent "
        f"character: {trivial}."
    )
