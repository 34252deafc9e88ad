"""Few-shot episodes: distinct classes, disjoint examples, rotations, uniformity, the same bits."""

import hashlib
import itertools

import numpy as np
import pytest
import real_data
from scipy import stats

from aruba_fast.datasets import Episodes, load_omniglot


def coded(n_classes=12, n_examples=20, side=3):
    """Images that tell what they are: class and example in two corners, the other pixels differ."""
    images = np.arange(side * side, dtype=np.int32).reshape(side, side) * np.ones(
        (n_classes, n_examples, 1, 1), np.int32
    )
    images[:, :, 0, 0] = 1000 + np.arange(n_classes)[:, None]
    images[:, :, -1, -1] = 2000 + np.arange(n_examples)
    return images


def read(x):
    """Class and example of coded images [..., 3, 3], whichever way they are turned."""
    flat = x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])
    number = np.where(flat >= 2000, flat - 2000, 0).sum(-1)
    kind = np.where((flat >= 1000) & (flat < 2000), flat - 1000, 0).sum(-1)
    return kind.astype(int), number.astype(int)


def equal(a, b):
    return all(np.array_equal(u, v) and u.dtype == v.dtype for u, v in zip(a, b, strict=True))


# ---- what an episode is --------------------------------------------------------------------------


@pytest.mark.parametrize("rotations", [False, True])
@pytest.mark.parametrize(("n_way", "k_shot", "n_query"), [(5, 1, 1), (12, 5, 15), (1, 20, 0)])
def test_an_episode_is_of_distinct_classes_and_disjoint_examples(rotations, n_way, k_shot, n_query):
    episodes = Episodes(
        coded(), n_way=n_way, k_shot=k_shot, n_query=n_query, rotations=rotations, seed=1
    )
    batch = episodes.batch(10, 200)
    assert batch.support_x.shape == (200, n_way * k_shot, 3, 3)
    assert batch.query_x.shape == (200, n_way * n_query, 3, 3)
    assert batch.support_x.dtype == batch.query_x.dtype == np.float32
    # A class is a character and a rotation of it.
    pairs = batch.classes * 4 + batch.quarter_turns
    assert all(len(set(row)) == n_way for row in pairs.tolist())
    if not rotations:
        assert not batch.quarter_turns.any()
    labels = np.arange(n_way)
    assert (batch.support_y == np.repeat(labels, k_shot)).all()
    assert (batch.query_y == np.repeat(labels, n_query)).all()
    support_class, support_example = read(batch.support_x)
    query_class, query_example = read(batch.query_x)
    assert (support_class == np.repeat(batch.classes, k_shot, axis=1)).all()
    assert (query_class == np.repeat(batch.classes, n_query, axis=1)).all()
    drawn = np.concatenate(
        [
            support_example.reshape(200, n_way, k_shot),
            query_example.reshape(200, n_way, n_query),
        ],
        axis=-1,
    )
    assert (np.diff(np.sort(drawn), axis=-1) > 0).all(), "an example is drawn twice"


def test_rotations_are_those_of_numpy():
    images = coded()
    batch = Episodes(images, n_way=6, k_shot=2, n_query=3, rotations=True, seed=2).batch(0, 100)
    assert set(batch.quarter_turns.ravel()) == {0, 1, 2, 3}
    for x, y in ((batch.support_x, batch.support_y), (batch.query_x, batch.query_y)):
        kind, example = read(x)
        for i, j in np.ndindex(kind.shape):
            turn = batch.quarter_turns[i, y[i, j]]
            expected = np.rot90(images[kind[i, j], example[i, j]], turn)
            np.testing.assert_array_equal(x[i, j], expected)


def test_all_rotations_of_a_character_meet():
    """Two rotations of one character can be two classes of an episode, as in Reptile."""
    episode = Episodes(coded(2), n_way=8, rotations=True)[0]
    pairs = zip(episode.classes.tolist(), episode.quarter_turns.tolist(), strict=True)
    assert sorted(pairs) == list(itertools.product((0, 1), (0, 1, 2, 3)))


def test_only_the_chosen_classes_are_drawn():
    chosen = [7, 2, 11, 3]
    batch = Episodes(coded(), chosen, n_way=3, rotations=True).batch(0, 300)
    assert set(batch.classes.ravel()) == set(chosen)


def test_meta_train_and_meta_test_never_share_a_character():
    data = load_omniglot(real_data.require("omniglot28.npz"))
    train, test = data.split_characters(1200, seed=5)
    seen = Episodes(data.images, train, n_way=20, rotations=True).batch(0, 500)
    unseen = Episodes(data.images, test, n_way=20, rotations=True).batch(0, 500)
    assert len(set(seen.classes.ravel())) > 1190
    assert len(set(unseen.classes.ravel())) == 423
    assert not set(seen.classes.ravel()) & set(unseen.classes.ravel())


def test_images_of_any_type_and_layout(rng):
    images = rng.random((6, 5, 4, 4))
    plain = Episodes(images, n_query=2, rotations=True).batch(0, 10)
    strided = Episodes(images.transpose(3, 2, 1, 0).copy().transpose(3, 2, 1, 0), n_query=2,
                       rotations=True).batch(0, 10)  # fmt: skip
    assert equal(plain, strided)
    bits = images > 0.5
    assert equal(Episodes(bits)[3], Episodes(bits.astype(np.uint8))[3])
    wide = Episodes(rng.random((6, 5, 2, 7)))[0]
    assert wide.support_x.shape == (5, 2, 7)


# ---- the same episodes everywhere ----------------------------------------------------------------


@pytest.mark.parametrize("rotations", [False, True])
def test_an_episode_depends_on_its_number_alone(rotations):
    def make():
        return Episodes(coded(), n_way=5, k_shot=2, n_query=3, rotations=rotations, seed=9)

    batch = make().batch(0, 64)
    for start, n in ((0, 1), (1, 1), (7, 20), (63, 1), (32, 32)):
        part = make().batch(start, n)
        assert equal(part, [values[start : start + n] for values in batch])
    for i, episode in zip(range(64), make(), strict=False):
        assert equal(episode, [values[i] for values in batch])
    other = Episodes(coded(), n_way=5, k_shot=2, n_query=3, rotations=rotations, seed=10)
    assert not np.array_equal(other.batch(0, 64).classes, batch.classes)
    # Far out, and beyond what 32 bits count.
    far = make().batch(2**40, 2)
    assert equal(make()[2**40 + 1], [values[1] for values in far])


def test_a_large_batch_is_gathered_in_parts():
    """More than one chunk of classes, with one that is not whole."""
    images = coded(40, 20, 40)
    episodes = Episodes(images, n_way=20, k_shot=5, n_query=15, rotations=True)
    batch = episodes.batch(0, 3)
    for i in range(3):
        assert equal(episodes[i], [values[i] for values in batch])
        np.testing.assert_array_equal(
            batch.support_x[i, 5], np.rot90(
                images[batch.classes[i, 1], int(batch.support_x[i, 5].max()) - 2000],
                batch.quarter_turns[i, 1],
            )
        )  # fmt: skip


def digest(batch):
    content = [np.asarray(values).astype("<f4").tobytes() for values in batch]
    return hashlib.sha256(b"".join(content)).hexdigest()[:16]


def test_the_episodes_are_those_of_other_machines():
    made = Episodes(coded(), n_way=5, k_shot=1, n_query=15, rotations=True, seed=4)
    assert digest(made.batch(0, 100)) == "0aa6ddbfdff2a6f6"
    data = load_omniglot(real_data.require("omniglot28.npz"))
    train, _ = data.split_characters()
    drawn = Episodes(1 - data.images, train, n_way=20, k_shot=5, n_query=1, rotations=True)
    assert digest(drawn.batch(1000, 20)) == "e27a82981c7fb14e"


# ---- uniformity ----------------------------------------------------------------------------------


def uniform(counts):
    """The probability of counts at least as uneven, were all cells equally likely."""
    return stats.chisquare(counts).pvalue


def test_ordered_choices_of_classes_are_uniform():
    """All 120 ordered triples of 6 classes; the seed is fixed, so the test cannot flicker."""
    classes = Episodes(coded(6), n_way=3, seed=11).batch(0, 60_000).classes
    counts = np.bincount(classes @ [36, 6, 1], minlength=216)
    triples = [36 * a + 6 * b + c for a, b, c in itertools.permutations(range(6), 3)]
    assert counts.sum() == counts[triples].sum()
    assert uniform(counts[triples]) > 1e-3


def test_ordered_choices_of_examples_are_uniform():
    """All 12 ordered pairs of 4 examples, one for the support and one for the query."""
    batch = Episodes(coded(5, 4), n_way=5, seed=12).batch(0, 6000)
    pairs = 4 * read(batch.support_x)[1] + read(batch.query_x)[1]
    counts = np.bincount(pairs.ravel(), minlength=16).reshape(4, 4)
    assert not counts.diagonal().any()
    assert uniform(counts[~np.eye(4, dtype=bool)]) > 1e-3


def test_classes_turns_and_numbers_of_episodes_are_independent():
    batch = Episodes(coded(12), n_way=4, rotations=True, seed=13).batch(0, 24_000)
    cells = 4 * batch.classes + batch.quarter_turns
    assert uniform(np.bincount(cells.ravel(), minlength=48)) > 1e-3
    # The first class of an episode and of the next, and of two neighbouring seeds.
    next_seed = Episodes(coded(12), n_way=4, rotations=True, seed=14).batch(0, 24_000)
    for other in (np.roll(batch.classes[:, 0], 1), next_seed.classes[:, 0]):
        assert uniform(np.bincount(12 * batch.classes[:, 0] + other, minlength=144)) > 1e-3


def test_the_uniformity_test_can_fail():
    skewed = np.bincount(np.arange(6000) % 7 % 6, minlength=6)
    assert uniform(skewed) < 1e-9


# ---- errors --------------------------------------------------------------------------------------

REFUSED = [
    (
        {"images": np.ones((3, 2, 4))},
        ValueError,
        "`images` must have 4 dimensions: got shape (3, 2, 4)",
    ),
    ({"images": np.full((6, 2, 2, 2), "a")}, TypeError, "`images` must hold real numbers"),
    ({"images": np.ones((6, 2, 2, 3)), "rotations": True}, ValueError, "`images` must be square"),
    ({"classes": [0, 1, 2, 3, 12]}, ValueError, "`classes` must be rows of `images`: got 0 to 12"),
    ({"classes": [0, 1, 2, 3, -1]}, ValueError, "`classes` must be rows of `images`: got -1 to 3"),
    ({"classes": [0, 1, 2, 3, 3]}, ValueError, "`classes` must be distinct: got 5 rows"),
    ({"classes": [0.0, 1.0]}, TypeError, "`classes` must hold integers: got float64"),
    ({"classes": [[0, 1]]}, ValueError, "`classes` must have 1 dimension: got shape (1, 2)"),
    ({"n_way": 0}, ValueError, "`n_way` must be at least 1: got 0"),
    ({"n_way": 13}, ValueError, "`n_way` must not exceed the number of classes: got 13, expected"),
    ({"n_way": 2.0}, TypeError, "`n_way` must be an integer: got 2.0, a float"),
    ({"k_shot": 0}, ValueError, "`k_shot` must be at least 1: got 0"),
    ({"n_query": -1}, ValueError, "`n_query` must be at least 0: got -1"),
    ({"k_shot": 6, "n_query": 15}, ValueError, "got 6 + 15, expected at most 20"),
    ({"rotations": 1}, TypeError, "`rotations` must be a bool: got 1, an int"),
    ({"seed": -1}, ValueError, "`seed` must be at least 0: got -1"),
]


@pytest.mark.parametrize(("changes", "error", "message"), REFUSED)
def test_bad_arguments_are_refused(changes, error, message):
    arguments = {"images": coded()} | changes
    with pytest.raises(error) as caught:
        Episodes(arguments.pop("images"), arguments.pop("classes", None), **arguments)
    assert str(caught.value).startswith("Episodes: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda e: e[-1], ValueError, "`start` must be at least 0: got -1"),
        (lambda e: e["a"], TypeError, "`start` must be an integer: got 'a', a str"),
        (lambda e: e.batch(0, 0), ValueError, "`n` must be at least 1: got 0"),
    ],
)
def test_bad_numbers_of_episodes_are_refused(call, error, message):
    with pytest.raises(error) as caught:
        call(Episodes(coded()))
    assert f"Episodes.batch: {message}" in str(caught.value)
