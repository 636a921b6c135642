"""What the tests of trunks share: an input, weights away from their start, reference networks."""

import torch

from training.modules.blocks import Blocks, Field, Layout, Widths

WIDTHS = Widths(user=5, item=4, cross=3)
LAYOUT = Layout(
    (
        Field("user_id", 4, "user", embedded=True),
        Field("age", 1, "user", embedded=False),
        Field("item_id", 4, "item", embedded=True),
        Field("rate", 3, "cross", embedded=False),
    )
)
HIDDEN = (8, 6)
EXACT = {"rtol": 0, "atol": 1e-12}
EXPERT = (WIDTHS.total + 1) * HIDDEN[0] + (HIDDEN[0] + 1) * HIDDEN[1]  # parameters at level 1
LATER_EXPERT = (HIDDEN[1] + 1) * HIDDEN[0] + (HIDDEN[0] + 1) * HIDDEN[1]


def blocks(rows=9, seed=0):
    random = torch.Generator().manual_seed(seed)
    return Blocks(*(torch.randn(rows, w, generator=random, dtype=torch.float64) for w in WIDTHS))


def made(trunk, seed=1):
    """In float64, with every parameter away from its initial value, biases too."""
    torch.manual_seed(seed)
    for parameter in trunk.double().parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return trunk


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def changed_by(trunk, loss):
    """Names of the parameters that one step of gradient descent on `loss(trunk)` changes."""
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    loss(trunk).backward()
    with torch.no_grad():
        for parameter in trunk.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
    return {name for name, value in trunk.state_dict().items() if not value.equal(before[name])}
