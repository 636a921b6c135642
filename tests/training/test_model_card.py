"""The card: metrics by head and space as a table people can read."""

from training.model_card import metrics_table


def test_metrics_become_one_row_a_head_and_space():
    table = metrics_table(
        {"ctr.auc[impression]": 0.74321, "ctr.ratio[impression]": 1.0, "vcr.mse[play]": 0.1}
    )
    assert table == [
        "| head | rows | auc | ratio | mse |",
        "| --- | --- | --- | --- | --- |",
        "| `ctr` | impression | 0.7432 | 1.0000 |  |",
        "| `vcr` | play |  |  | 0.1000 |",
    ]
