"""The reader that a run's configuration means; needs no PyTorch."""

from training.config.run import RunConfig
from training.data.log import Reader
from training.data.readers import reader_of


def reader_for(config: RunConfig) -> Reader:
    return reader_of(
        config.data,
        columns_config=config.columns,
        features=config.features,
        history=config.history,
        synthetic_config=config.synthetic,
    )
