"""Learning rates of composed schedules at the edges of their phases, against values worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig
from tests.helpers import TWO_STEPS_AN_EPOCH

from pixelwise import build


@pytest.mark.parametrize("schedule", ["three_phase", "geoseg"])
def test_rates_of_schedules_at_phase_edges_by_hand(
    schedule: str, compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    counts = "data.source.counts={train:40,val:4}"  # ten steps an epoch
    plan = build.run(compose(*TWO_STEPS_AN_EPOCH, counts, f"schedule={schedule}", *{
        "three_phase": ["epochs=4"], "geoseg": []}[schedule]), tmp_path).plan  # fmt: skip

    def rates(step: int) -> list[float]:
        phase = plan.phases[plan.index_at(step)]
        return [phase.rate(part, step) for part in ("encoder", "decoder", "head")]

    if schedule == "three_phase":
        assert [phase.start for phase in plan.phases] + [plan.steps] == [0, 20, 60, 80]
        assert rates(0) == pytest.approx([0, 1e-3 / 3, 1e-3 / 3])  # two steps of warm-up, then the peak
        assert rates(2) == rates(19) == pytest.approx([0, 1e-3, 1e-3])
        assert rates(20) == pytest.approx([2e-4 / 3, 1e-3 / 3, 1e-3 / 3])
        assert rates(22) == pytest.approx([2e-4, 1e-3, 1e-3])
        assert rates(22 + 19) == pytest.approx([1e-4, 5e-4, 5e-4])  # half-way down 38 steps
        assert rates(60) == pytest.approx([1e-5, 5e-5, 5e-5])
        assert rates(79) == pytest.approx([1e-5 / 20, 5e-5 / 20, 5e-5 / 20])
    else:
        assert plan.steps == 450
        assert rates(0) == rates(150) == pytest.approx([6e-5, 6e-4, 6e-4])
        assert rates(75) == rates(300) == pytest.approx([3e-5, 3e-4, 3e-4])
        assert rates(149)[0] < 1e-8 < rates(150)[0]
        assert [phase.weight_decay for phase in plan.phases] == [0.01]
