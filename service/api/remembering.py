"""Tell the recent rankings and the serving log of an answered request: references, few copies."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.scoring.ranking import Evidence, RankInput, RankOutput
from service.traffic.recent import RecentRankings
from service.traffic.record import Entry, Ranked, Used
from service.traffic.serving_log import ServingLog


@dataclass(frozen=True)
class Remembering:
    """What this process remembers of its requests; its log has files where `log_dir` is."""

    recent: RecentRankings
    log: ServingLog | None = None
    log_dir: Path | None = None

    def add(self, asked: RankInput, output: RankOutput, took_ms: float) -> None:
        logged = self.log is not None and self.log.wants(asked.request_id)
        if not asked.ids or not (logged or self.recent.kept):
            return
        ranked = _ranked(asked, output, took_ms)
        if self.recent.kept:
            self.recent.add(ranked)
        if self.log is not None and logged:
            evidence = output.evidence
            used = None if evidence is None else _used(asked, evidence)
            self.log.offer(Entry(ranked, used))


def _ranked(asked: RankInput, output: RankOutput, took_ms: float) -> Ranked:
    treatment, evidence = output.treatment, output.evidence
    return Ranked(
        request_id=asked.request_id,
        scene=asked.scene,
        at_s=time.time(),
        took_ms=took_ms,
        user_id=asked.user_id,
        user=asked.user,
        context=asked.context,
        asked=asked.asked,
        all_user=asked.user if evidence is None else evidence.user,
        all_context=asked.context if evidence is None else evidence.context,
        plan=output.plan,
        model=output.model,
        formula=treatment.formula_name,
        params=treatment.params,
        signs=treatment.signs,
        assignments=treatment.assignments,
        exp_id=treatment.exp_id,
        degraded=output.degraded,
        limit=asked.limit,
        ids=asked.ids,
        order=output.order,
        scores=output.scores,
        heads={} if evidence is None else evidence.heads,
        attributes={} if evidence is None else evidence.attributes,
        categories={} if evidence is None else _own(evidence.categories),
    )


def _own(columns: Mapping[str, NDArray[np.integer]]) -> dict[str, NDArray[np.integer]]:
    """Copies: they are views of what is much larger."""
    return {name: values.copy() for name, values in columns.items()}


def _used(asked: RankInput, evidence: Evidence) -> Used:
    return Used(
        item_columns=asked.item_columns,
        user_record=evidence.fetched.user,
        item_records=evidence.fetched.items,
        versions=evidence.versions,
        blocks=evidence.blocks,
    )
