"""Census-Income (KDD) in its published split: the persons are the candidates that are ranked."""

from pathlib import Path

import polars as pl

from training.data.config import ColumnsConfig, FeatureColumn, LabelColumn
from training.data.published_split import days_of_parts
from training.data.tables import DAY, ITEM, ORDER, ROW, USER, Table, Tables, read_table

TRAIN_FILE, TEST_FILE = "census_income_train.parquet", "census_income_test.parquet"


NUMBERS = (
    "age",
    "num_emp",
    "weeks_worked",
    "wage_per_hour",
    "capital_gains",
    "capital_losses",
    "stock_dividends",
)
_CATEGORIES = (
    "class_worker",
    "det_ind_code",
    "det_occ_code",
    "education",
    "hs_college",
    "major_ind_code",
    "major_occ_code",
    "race",
    "hisp_origin",
    "sex",
    "union_member",
    "unemp_reason",
    "full_or_part_emp",
    "tax_filer_stat",
    "region_prev_res",
    "state_prev_res",
    "det_hh_fam_stat",
    "det_hh_summ",
    "mig_chg_msa",
    "mig_chg_reg",
    "mig_move_reg",
    "mig_same",
    "mig_prev_sunbelt",
    "fam_under_18",
    "country_father",
    "country_mother",
    "country_self",
    "citizenship",
    "own_or_self",
    "vet_question",
    "vet_benefits",
    "year",
)
_OTHERWISE_MARRIED = (
    "Divorced",
    "Married-A F spouse present",
    "Married-civilian spouse present",
    "Married-spouse absent",
    "Separated",
    "Widowed",
)
_RARE = 20  # an exact amount seen less often is out of vocabulary

# 39 columns: all but those of the labels and `instance_weight`, which weighs the person's stratum.
FEATURES = (
    *(FeatureColumn(name=n, side="item", kind="categorical") for n in _CATEGORIES),
    *(FeatureColumn(name=n, side="item", kind="numeric") for n in NUMBERS),
    # The same numbers by their exact value: a capital gain of 15024 says more than its size.
    *(
        FeatureColumn(name=f"{n}_value", column=n, side="item", kind="categorical", min_count=_RARE)
        for n in NUMBERS
    ),
)

LABELS = (
    LabelColumn(name="income_50k", equals="50000+.", otherwise=("- 50000.",)),
    LabelColumn(
        name="never_married",
        column="marital_stat",
        equals="Never married",
        otherwise=_OTHERWISE_MARRIED,
    ),
)

MAPPING = ColumnsConfig(user=USER, item=ITEM, features=FEATURES, labels=LABELS)


def load(directory: Path) -> Tables:
    """Read both files: the train file is day 1, the test file is halved into days 2 and 3.

    Raises:
        DataError: a file that is missing or broken.
    """
    raw = read_table([directory / TRAIN_FILE, directory / TEST_FILE])
    trained = raw.source.files[0][1]
    rows = pl.int_range(len(raw.frame), dtype=pl.Int64, eager=True)
    keyed = raw.frame.with_columns(
        rows.alias(ROW),
        days_of_parts(trained, len(raw.frame) - trained).alias(DAY),
        pl.lit("census").alias(USER),
        rows.cast(pl.String).alias(ITEM),
        rows.alias(ORDER),
    )
    return Tables(log=Table(raw.source, keyed))
