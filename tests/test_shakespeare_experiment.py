"""`aruba-fast shakespeare`: training, personalization and counting against naive computations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import reference_meta
from roles import CPU, SMALL, federated, n_right, predictions, searched, with_average, write_play
from torch_models import flat, torch

from aruba_fast.datasets import SYMBOLS, _draw, load_shakespeare, sequences
from aruba_fast_reproductions.adaptation.testing import mean_score
from aruba_fast_reproductions.runs import Interrupted
from aruba_fast_reproductions.shakespeare import Method
from aruba_fast_reproductions.shakespeare.network import mean_loss, n_correct, seeded_network
from aruba_fast_reproductions.shakespeare.roles import Part, Roles, most_frequent

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def play(tmp_path_factory):
    return write_play(tmp_path_factory.mktemp("play") / "play.npz")


def texts(plays, which, *, test):
    return [plays.lines(role, SMALL.line_fraction)[test].tobytes().decode() for role in which]


def part_of(text, settings=SMALL):
    symbols = np.frombuffer(text.encode(), np.uint8)
    return Part.of(sequences(symbols, settings.length, settings.stride), CPU)


# ---- the network and its masks -------------------------------------------------------------------


@pytest.mark.parametrize("stride", [7, 3, 1])
def test_loss_and_counts_are_those_of_a_reader_of_single_characters(stride):
    settings = replace(SMALL, stride=stride)
    network = seeded_network(settings, 0)
    text = "To be, or not to be: that is the question.\nO"
    expected = list(predictions(network, text, settings.length, stride))
    assert len(expected) == len(text) - 1
    part = part_of(text, settings)
    ((x, y),) = part.batches(1000)
    losses = [
        np.log(np.exp(scores).sum()) - scores[SYMBOLS.index(character)]
        for scores, character in expected
    ]
    assert mean_loss(network, x, y).item() == pytest.approx(np.mean(losses), rel=1e-6)
    right = n_right(network, text, settings.length, stride)
    assert int(n_correct(network, x, y)) == right
    assert part.n_predictions == len(expected)
    scores, targets = network(x, y)
    assert scores.shape == (len(expected), len(SYMBOLS)), "nothing is computed where nothing counts"
    assert "".join(SYMBOLS[k] for k in targets.tolist()) == text[1:]


def test_padding_is_never_read():
    network, part = seeded_network(SMALL, 0), part_of("Nay, answer")
    ((x, y),) = part.batches(1000)
    padding = torch.arange(SMALL.length) >= torch.tensor([[7], [3]])
    assert (x == 0).equal(padding)
    results = []
    for filling in (0, 5, 97):
        network.zero_grad()
        loss = mean_loss(network, torch.where(padding, filling, x), y)
        loss.backward()
        gradients = [p.grad.clone() for p in network.parameters()]
        results.append((loss.detach(), *gradients))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a.equal(b)
    assert not network.embedding.weight.grad[0].any(), "padding has no embedding to learn"
    # A window by itself and among longer ones.
    alone = network(x[1:, :3], y[1:, :3])[0]
    torch.testing.assert_close(network(x, y)[0][-3:], alone)


def test_first_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    a, b = (flat(seeded_network(SMALL, 0).parameters()) for _ in range(2))
    assert torch.random.get_rng_state().equal(state)
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, flat(seeded_network(SMALL, 1).parameters()))


# ---- who takes part, in which order --------------------------------------------------------------


def test_roles_and_orders_are_drawn_by_the_seed(play):
    plays = load_shakespeare(play)
    roles = Roles(plays, SMALL, 0, CPU)
    assert sorted([*roles.seen, *roles.unseen]) == list(range(15))
    assert len(roles.seen) == 12
    rounds = [roles.of_round(number).tolist() for number in range(200)]
    assert all(len(set(each)) == SMALL.n_clients for each in rounds)
    counts = np.bincount(np.concatenate(rounds), minlength=15)
    assert set(np.flatnonzero(counts)) == set(roles.seen)
    assert abs(counts[roles.seen] - 50).max() < 30
    assert rounds == [
        Roles(plays, SMALL, 0, CPU).of_round(number).tolist() for number in range(200)
    ]
    assert rounds[0] != Roles(plays, SMALL, 1, CPU).of_round(0).tolist()
    orders = [roles.order(number, slot, 50) for number in range(3) for slot in range(3)]
    assert len({tuple(order) for order in orders}) == 9
    assert all(sorted(order) == list(range(50)) for order in orders)
    chosen = Roles(plays, replace(SMALL, n_evaluated=2), 0, CPU).evaluated()
    assert {kind: len(which) for kind, which in chosen.items()} == {"seen": 2, "unseen": 2}
    assert set(chosen["seen"]) <= set(roles.seen.tolist())
    assert set(chosen["unseen"]) <= set(roles.unseen.tolist())


def test_shuffled_is_the_same_on_every_machine():
    assert _draw.shuffled(8, 3, _draw.WINDOWS, 5).tolist() == [6, 3, 4, 5, 1, 0, 2, 7]
    assert sorted(_draw.shuffled(1000, 0, _draw.WINDOWS, 0)) == list(range(1000))
    first = _draw.shuffled(6, 0, _draw.WINDOWS, 0)
    assert any(not np.array_equal(first, _draw.shuffled(6, 0, _draw.WINDOWS, k)) for k in (1, 2))


def test_too_few_roles_for_a_round_are_refused(play):
    with pytest.raises(ValueError) as caught:
        Roles(load_shakespeare(play), replace(SMALL, n_clients=13), 0, CPU)
    assert str(caught.value) == (
        "shakespeare: `data` must have roles for a round: got 12 to train on, expected at least 13"
    )
    everybody = Roles(load_shakespeare(play), replace(SMALL, n_clients=11), 0, CPU).of_round(3)
    assert len(set(everybody.tolist())) == 11


# ---- training ------------------------------------------------------------------------------------


def own_gradient(network, text_part, rows):
    """The mean loss's gradient, window by window, from log-probabilities."""
    total, n = 0.0, 0
    for row in rows:
        length = int((text_part.x[row] != 0).sum())
        x, y = text_part.x[row, :length].long(), text_part.y[row, :length].long()
        hidden, _ = network.lstm(network.embedding(x)[None])
        logs = network.head(hidden[0]).log_softmax(1)
        total = total - logs[torch.arange(length), y].sum()
        n += length
    return flat(torch.autograd.grad(total / n, list(network.parameters())))


def move(network, theta):
    values = torch.from_numpy(theta).split([p.numel() for p in network.parameters()])
    with torch.no_grad():
        for p, value in zip(network.parameters(), values, strict=True):
            p.copy_(value.reshape(p.shape))


@pytest.mark.parametrize("method", ["fedavg-0.5", "aruba", "isotropic"])
def test_rounds_against_the_equations(play, method):
    """FedAvg: an epoch from phi for each role, the mean weighted by predicted characters."""
    _, roles, training = federated(play, method)
    network, meta = seeded_network(SMALL, 0).double(), training.meta
    start = flat(network.parameters())
    learns, own = method != "fedavg-0.5", {"learning_rate0": 0.5}
    first = searched(training) if learns else 0
    if learns:
        own = {"learning_rate0": meta.learners[0].initial_learning_rate, "zeta": None}
        own |= {"bound": "tight", "isotropic": method == "isotropic"}
    if method == "aruba":
        own["tensors"] = [p.numel() for p in network.parameters()]
    oracle = reference_meta.MetaLearner(start, **own)
    for number in range(first, first + 4):
        if meta.n_tasks == oracle.n_tasks:
            training.round(number)
        hats, squares, weights = [], [], []
        rate = oracle.learning_rate if learns else 0.5
        of_round = list(enumerate(roles.of_round(number)))
        # Of the round in which the first rate is found, the roles after that are learned from.
        for slot, role in of_round[oracle.n_tasks - meta.n_tasks :]:
            part = roles.part(role, test=False)
            theta, grad_sq = oracle.phi.copy(), np.zeros_like(oracle.phi)
            order = roles.order(number, slot, len(part)).tolist()
            for begin in range(0, len(order), SMALL.batch_size):
                move(network, theta)
                grad = own_gradient(network, part, order[begin : begin + SMALL.batch_size])
                theta, grad_sq = theta - rate * grad, grad_sq + grad**2
            hats.append(theta)
            squares.append(grad_sq)
            weights.append(float(part.n_predictions))
        oracle.update(np.array(hats), np.array(squares), weights=np.array(weights), meta_step=1.0)
        assert meta.n_tasks == oracle.n_tasks
        np.testing.assert_allclose(flat(meta.parameters), oracle.phi, rtol=0, atol=2e-5)
        if learns:
            found = flat(meta.learning_rate)
            expected = np.broadcast_to(oracle.learning_rate, found.shape)
            np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert oracle.n_tasks >= 10
    assert abs(oracle.phi - start).max() > 1e-2


def test_roles_that_find_the_first_rate_are_not_learned_from(play):
    _, _, training = federated(play)
    start = flat(training.meta.parameters)
    (learner,) = training.meta.learners
    for number in range(SMALL.n_rounds):
        assert not flat(training.meta.learning_rate).any()
        np.testing.assert_array_equal(flat(training.network.parameters()), start)
        training.round(number)
        if learner.initial_learning_rate is not None:
            break
    assert 6 < number < SMALL.n_rounds - 1
    assert (flat(training.meta.parameters) != start).any() == (training.meta.n_tasks > 0)


# ---- personalization -----------------------------------------------------------------------------


@pytest.fixture
def trained(play):
    plays, roles, training = federated(play)
    first = searched(training)
    for number in range(first + 1, first + 4):
        training.round(number)
    return plays, roles, training


@pytest.mark.parametrize("kind", ["seen", "unseen"])
def test_accuracy_against_a_reader_of_single_characters(trained, kind):
    plays, roles, training = trained
    which = roles.evaluated()[kind]
    group = roles.group(which)
    spoken = texts(plays, which, test=True)
    n = sum(len(text) - 1 for text in spoken)
    assert group.total == n, "weighted by characters"
    right = sum(n_right(training.network, text, SMALL.length, SMALL.stride) for text in spoken)
    assert 0 < right < n
    assert mean_score(training, group, "before") == right / n
    symbols = "".join(text[1:] for text in spoken)
    assert most_frequent(group) == max(symbols.count(s) for s in set(symbols)) / n


@pytest.mark.parametrize("how", ["0.1", "learned", "aruba++"])
def test_a_role_takes_an_epoch_of_single_steps_and_is_then_counted(trained, how):
    plays, roles, training = trained
    which = [*roles.evaluated()["unseen"], *roles.evaluated()["seen"]]
    group = roles.group(which)
    kept = training.state()[0]
    found = mean_score(training, group, how)
    for name, values in training.state()[0].items():
        np.testing.assert_array_equal(values, kept[name])
    network = seeded_network(SMALL, 0).double()
    (learner,) = training.meta.learners
    n_tasks, sizes = training.meta.n_tasks, [p.numel() for p in network.parameters()]
    b, g_phi = (with_average(v, sizes, n_tasks) for v in (learner.b, learner.g))
    right = n = 0
    moved = False
    for own, text in zip([t.own for t in group.tests], texts(plays, which, test=True), strict=True):
        theta, g = learner.phi.astype(np.float64), g_phi
        for start in range(0, len(own), SMALL.batch_size):
            move(network, theta)
            rows = range(start, min(start + SMALL.batch_size, len(own)))
            grad = own_gradient(network, own, rows)
            rate = float(how) if how == "0.1" else np.sqrt(b / g)
            # ARUBA++: the old g' gives the rate; a task's own gradients count four times those of
            # an average task of training, which has g / n.
            g = g + 4 * n_tasks * grad**2 * (how == "aruba++")
            theta = theta - rate * grad
        moved |= bool(np.abs(theta - learner.phi).max() > 1e-4)
        move(network, theta)
        right += n_right(network, text, SMALL.length, SMALL.stride)
        n += len(text) - 1
    assert found == right / n
    assert moved, "a role that stays would be counted as well"


def test_a_stop_leaves_the_training_as_it_was(trained):
    _, roles, training = trained
    phi = flat(training.meta.parameters)
    group = roles.group(roles.evaluated()["seen"])
    visits = iter([None, None])

    def before_each():
        if next(visits, "over") == "over":
            raise Interrupted("now")

    with pytest.raises(Interrupted):
        mean_score(training, group, "0.1", before_each)
    np.testing.assert_array_equal(flat(training.network.parameters()), phi)


def test_ways_to_personalize(trained):
    _, _, training = trained
    fixed = ("1", "0.3", "0.1", "0.03", "0.01")
    assert Method.of("fedavg-0.1").ways == fixed
    for name in ("aruba", "isotropic"):
        assert Method.of(name).ways == (*fixed, "learned", "aruba++")
    assert training.method.adapting(training.meta, None, "0.01").param_groups[0]["lr"] == 0.01
