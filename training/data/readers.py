"""[data] reader = "..." -> the reader that the configuration means."""

from functools import partial

from training.data import aliccp, census, columns, kuairand, synthetic
from training.data.config import ColumnsConfig, DataConfig, FeaturesConfig, SyntheticConfig
from training.data.errors import DataError
from training.data.history_config import HistoryConfig
from training.data.reader import TableReader


def reader_of(
    data: DataConfig,
    *,
    columns_config: ColumnsConfig | None = None,
    features: FeaturesConfig | None = None,
    history: HistoryConfig | None = None,
    synthetic_config: SyntheticConfig | None = None,
) -> TableReader:
    """The reader of a run. `history` replaces the reader's own where given.

    Raises:
        DataError: [columns] without its reader, or the reader without [columns].
    """
    if (data.reader == "columns") != (columns_config is not None):
        raise DataError(
            f"reader {data.reader!r}: [columns] belongs to reader 'columns', and only to it"
        )
    if data.rows_at_once is not None:
        _require_streamable(data, history)
    chosen = features or FeaturesConfig()
    match data.reader:
        case "kuairand":
            load = partial(kuairand.load, include_random=data.include_random)
            return TableReader(load, kuairand.MAPPING, history or kuairand.HISTORY, chosen)
        case "synthetic":
            load = partial(synthetic.load, config=synthetic_config or SyntheticConfig())
            return TableReader(load, synthetic.MAPPING, history or synthetic.HISTORY, chosen)
        case "census":
            return TableReader(census.load, census.MAPPING, history or HistoryConfig(), chosen)
        case "ali-ccp":
            return TableReader(aliccp.load, aliccp.MAPPING, history or HistoryConfig(), chosen)
        case "columns":
            assert columns_config is not None
            load = partial(columns.load, mapping=columns_config)
            pieces = None
            if data.rows_at_once is not None:
                pieces = partial(
                    columns.load_pieces, mapping=columns_config, rows=data.rows_at_once
                )
            return TableReader(load, columns_config, history or HistoryConfig(), chosen, pieces)


def _require_streamable(data: DataConfig, history: HistoryConfig | None) -> None:
    if data.reader != "columns":
        raise DataError(f"reader {data.reader!r}: rows_at_once is for reader 'columns'")
    if history is not None and (history.rates or history.recent):
        raise DataError(
            "[data] rows_at_once: [history] needs the whole log at once; write it into the log, as"
            " columns"
        )
