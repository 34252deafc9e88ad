"""Small networks of every kind, their data, and what NumPy makes of the same gradients."""

from __future__ import annotations

import numpy as np
from cases import smoothed
from optional import need

import aruba_fast as af

torch = need("torch")
from aruba_fast.torch import MetaOptimizer  # noqa: E402

nn = torch.nn


def smoothed_optimizer(params, **hyper):
    """A MetaOptimizer with the smoothing of the paper, as `cases.smoothed`."""
    return MetaOptimizer(params, **({"learning_rate": 1.0, "zeta": 1.0} | hyper))


class Lstm(nn.Module):
    """Two layers over 6 characters: the last output predicts."""

    def __init__(self):
        super().__init__()
        self.characters = nn.Embedding(11, 5)
        self.lstm = nn.LSTM(5, 7, num_layers=2, batch_first=True)
        self.head = nn.Linear(7, 3)

    def forward(self, x):
        return self.head(self.lstm(self.characters(x))[0][:, -1])


class Tied(nn.Module):
    """Input and output embeddings are one parameter; `unused` never gets a gradient."""

    def __init__(self):
        super().__init__()
        self.characters = nn.Embedding(11, 3)
        self.head = nn.Linear(3, 11)
        self.head.weight = self.characters.weight
        self.unused = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.head(self.characters(x).mean(1))[:, :3]


class Transposed(nn.Module):
    """Autograd gives `weight` a transposed gradient, `scale` one without dimensions."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 5))
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return (self.weight.t() * self.scale).t().mm(x.t()).t()


def conv():
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)]
    return nn.Sequential(*layers)


MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)), "vector"),
    "conv": (conv, "image"),
    "channels_last": (lambda: conv().to(memory_format=torch.channels_last), "image"),
    "lstm": (Lstm, "text"),
    "tied": (Tied, "text"),
    "transposed": (Transposed, "vector"),
}


def batch(kind, dtype=None):
    """Inputs and labels of 6 rows."""
    make = {
        "vector": lambda: torch.randn(6, 5, dtype=dtype),
        "image": lambda: torch.randn(6, 1, 6, 6, dtype=dtype),
        "text": lambda: torch.randint(11, (6, 6)),
    }
    return make[kind](), torch.randint(3, (6,))


def made(name, dtype=None):
    """A new model by its name, and the kind of its data."""
    build, kind = MODELS[name]
    model = build()
    return model.to(dtype) if dtype else model, kind


def trainable(model):
    return [p for p in model.parameters() if p.requires_grad]


def flat(tensors):
    """Float32 or float64 values row by row, whatever the strides; zeros for None are not made."""
    parts = [t.detach().reshape(-1) for t in tensors]
    wide = [t if t.dtype == torch.float64 else t.float() for t in parts]
    return torch.cat(wide).numpy()


def flat_gradients(model):
    """The gradients as NumPy's learner sees them: what has none counts as zero."""
    tensors = trainable(model)
    grads = [torch.zeros_like(p) if p.grad is None else p.grad.to_dense() for p in tensors]
    return flat(grads)


def loss_of(model, x, y):
    return nn.functional.cross_entropy(model(x).float(), y)


class Twin:
    """A `MetaLearner` of NumPy that is told the gradients of the model and nothing else."""

    def __init__(self, model, **hyper):
        self.model = model
        self.learner = smoothed(flat(trainable(model)), **hyper)
        self.runs, self.weights = [], []

    def start(self):
        self.theta, self.grad_sq = self.learner.phi.copy(), np.zeros_like(self.learner.phi)

    def step(self):
        rate = self.learner.learning_rate
        af.step(self.theta, flat_gradients(self.model), rate, grad_sq=self.grad_sq)

    def end(self, weight):
        self.runs.append((self.theta, self.grad_sq))
        self.weights.append(weight)

    def update(self, meta_step):
        theta, grad_sq = (np.stack(arrays) for arrays in zip(*self.runs, strict=True))
        run = af.TaskRun(theta, grad_sq)
        self.learner.update(run, weights=np.array(self.weights), meta_step=meta_step)
        self.runs, self.weights = [], []


def assert_same_bits(learner, other):
    for name in ("phi", "learning_rate", "b", "g", "rho", "n_tasks", "n_skipped"):
        np.testing.assert_array_equal(getattr(learner, name), getattr(other, name), err_msg=name)


def train(meta, model, kind, rounds=3, meta_step=0.5, twin=None, n_steps=3):
    """A few rounds of three tasks; the twin, if any, goes along and is compared after each."""
    dtype = next(iter(trainable(model))).dtype
    for _ in range(rounds):
        for weight in (1.0, 2.0, 0.5):
            with meta.task(weight=weight) as optimizer:
                if twin:
                    twin.start()
                for _ in range(n_steps):
                    optimizer.zero_grad()
                    loss_of(model, *batch(kind, dtype)).backward()
                    if twin:
                        twin.step()
                    optimizer.step()
                if twin:
                    twin.end(weight)
        meta.step(meta_step)
        if twin:
            twin.update(meta_step)
            assert_same_bits(meta.learners[0], twin.learner)
            np.testing.assert_array_equal(flat(trainable(model)), twin.learner.phi)


def learning(name="mlp", seed=0, dtype=None, **hyper):
    """A model, the kind of its data, and its meta-optimizer."""
    torch.manual_seed(seed)
    build, kind = MODELS[name]
    model = build()
    model = model.to(dtype) if dtype else model
    return model, kind, smoothed_optimizer(model.parameters(), **{"learning_rate": 0.1, **hyper})


def one_task(meta, model, kind, weight=1.0):
    """A task of one step."""
    with meta.task(weight=weight) as optimizer:
        loss_of(model, *batch(kind, trainable(model)[0].dtype)).backward()
        optimizer.step()


def two_layers(frozen, named=False):
    """Equal layers, one of which may be frozen; parameters that are named or not."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    for i in frozen:
        model[i].requires_grad_(False)
    given = model.named_parameters() if named else model.parameters()
    return model, smoothed_optimizer(given, learning_rate=0.1)
