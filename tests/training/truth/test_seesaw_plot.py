"""The seesaw plot reads the study's lines: one line a trunk, one point a weighting."""

import json

from training.truth.seesaw_plot import seesaw_plot


def test_every_trunk_and_weighting_is_drawn(tmp_path):
    lines = tmp_path / "seesaw.jsonl"
    with lines.open("w") as file:
        for trunk in ("Shared-Bottom", "PLE"):
            for weights in ("1:9", "9:1"):
                for seed in (1, 2):
                    metrics = {"a.auc[impression]": 0.9, "b.auc[impression]": 0.8 + 0.01 * seed}
                    run = f"{trunk} {weights}"
                    file.write(json.dumps({"run": run, "seed": seed, "metrics": metrics}) + "\n")
    svg = seesaw_plot(lines)
    for said in ("Shared-Bottom", "PLE", "1:9", "9:1", "AUC of task a", "AUC of task b"):
        assert f">{said}<" in svg
