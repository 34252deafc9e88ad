"""Names in pictures: literal, short, in letters that a font has; the panels keep their size."""

import dataclasses

import pytest
from tables import written

from aruba_fast import datasets
from aruba_fast_reproductions import demo
from aruba_fast_reproductions.demo import figure, names

LONG = "share of days on which the person has walked more than 10 000 steps"


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    path = written(tmp_path_factory.mktemp("people") / "t.npz")
    return demo.run(datasets.load_table(path), demo.Settings(n_seeds=1, n_passes=1))


def drawn(monkeypatch, result, features):
    """The widths of the panels, and what stands at them, where the features have these names."""
    seen = []

    def save(picture, _path):
        picture.canvas.draw()
        for axes in picture.axes:
            ticks = [tick.get_text() for tick in axes.get_yticklabels()]
            seen.append((axes.get_position().width, ticks))

    monkeypatch.setattr(figure, "save", save)
    features = (*features, "intercept")
    figure.draw(dataclasses.replace(result, features=features), "any.png")
    return [width for width, _ in seen], seen[0][1]


NAMES = {
    "dollars": ("income in $", "$ spent, $ earned", r"a\$b$c"),
    "formulas": (r"$\frac{1}{$", "$x$", "${$"),
    "other marks": ("a_b^c", "100 %", "{x}&y#~"),
    "spaces": ("a\nb", "  a\t b ", "\r\n c"),
    "empty": ("", " ", "\n"),
    "Greek": ("μέσος", "η √ φ", "год"),
    "Chinese, Japanese, Korean": ("年龄", "年齢", "나이"),
    "pictures and old scripts": ("\U0001f600", "\U00012000", "\uf8ff"),
    "not Unicode": ("\udcff.csv", "\x00", "\x1b[31m"),
    "long": (LONG, LONG + "!", "x" * 60),
    "long, of wide letters": ("年" * 60, "a" + "年" * 60, "나" * 59),
    "all the same": ("a", "a", "a"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("features", NAMES.values(), ids=NAMES)
def test_any_name_is_drawn(monkeypatch, result, features):
    expected, _ = drawn(monkeypatch, result, ("age", "height", "weight of a person"))
    widths, ticks = drawn(monkeypatch, result, features)
    assert min(widths) > 0.75 * min(expected)
    assert len(set(ticks)) == 4


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_dollars_are_written(tmp_path, result, suffix):
    features = ("income in $", "$ spent, $ earned", r"$\frac{1}{$", "intercept")
    figure.draw(dataclasses.replace(result, features=features), tmp_path / f"a.{suffix}")
    assert (tmp_path / f"a.{suffix}").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["age"], ["age"]),
        (["income in $"], [r"income in \$"]),
        (["a\nb"], ["a b"]),
        ([LONG], ["share of days on…000 steps"]),
        (["x" * 27, "x" * 28], ["x" * 27, "x" * 17 + "…" + "x" * 9]),
        (["a", "a", "b"], ["a", "a 2", "b"]),
        (["", "\U00012000"], ["feature 1", "feature 2"]),
    ],
)
def test_labels(given, expected, monkeypatch):
    monkeypatch.setattr(names, "families", lambda _: [names.FONT])
    assert names.labels(given, "feature") == expected


def test_a_font_that_has_the_letters_is_used(monkeypatch):
    """Whatever is installed here: fonts are asked for their letters."""
    letters = {"1.ttf": {ord("a")}, "2.ttf": {ord("年")}, "3.ttf": {ord("な"), ord("年")}}
    monkeypatch.setattr(names, "_letters", lambda file: letters.get(file, set()))
    font = dataclasses.make_dataclass("Font", ["name", "style", "fname"])
    fonts = [font("Kana", "normal", "3.ttf"), font("Han", "normal", "2.ttf")]
    fonts += [font("Han", "italic", "4.ttf"), font(names.FONT, "normal", "1.ttf")]
    monkeypatch.setattr(names.fontManager, "ttflist", fonts)
    assert names.families(["a"]) == [names.FONT]
    assert names.families(["a 年"]) == [names.FONT, "Han"]
    assert names.families(["年な"]) == [names.FONT, "Han", "Kana"]
    assert names.labels(["年", "나"], "feature") == ["年", "feature 2"]
