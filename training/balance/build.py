"""[train.balance] -> Balance."""

from collections.abc import Sequence

from torch import nn

from training.balance.balance import Balance
from training.balance.decay import Decay
from training.balance.dwa import DWA
from training.balance.fixed import Fixed
from training.balance.gradnorm import GradNorm
from training.balance.pcgrad import PCGrad
from training.balance.uncertainty import Uncertainty
from training.config.balance import (
    Balance as BalanceConfig,
)
from training.config.balance import (
    DecayBalance,
    DWABalance,
    GradNormBalance,
    PCGradBalance,
    UncertaintyBalance,
)
from training.config.task import Task
from training.objective import Objective
from training.team import ALONE, Team


def build_balance(
    config: BalanceConfig,
    objective: Objective,
    tasks: Sequence[Task],
    ranker: nn.Module,
    team: Team = ALONE,
) -> Balance:
    """The balance of a run.

    Args:
        team: the processes that train the ranker together, in case they do.

    Raises:
        GradNormError: a layer that the ranker lacks.
    """
    match config:
        case DecayBalance():
            return Decay(objective, config)
        case UncertaintyBalance():
            squared = {task.name: task.squared for task in tasks}
            return Uncertainty(objective, [squared[name] for name in objective.names], team.device)
        case GradNormBalance():
            return GradNorm(objective, config, ranker, team)
        case DWABalance():
            return DWA(objective, config)
        case PCGradBalance():
            return PCGrad(objective, ranker, team)
    return Fixed(objective)
