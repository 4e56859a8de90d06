"""Learning rates against values worked out by hand and against PyTorch's schedulers."""

import math

import pytest
from tests.helpers import refused

from pixelwise.schedules.schedule import Plan, make_plan

pytestmark = pytest.mark.fast
PARTS = ("encoder", "decoder", "head")


def plan(batches_per_epoch: int = 10, accumulate: int = 1, **phases: dict) -> Plan:
    return make_plan(phases, PARTS, batches_per_epoch, accumulate)


def test_rates_at_phase_edges_by_hand() -> None:
    two = plan(
        10,
        first={"epochs": 2, "lr": 1e-3, "freeze": ["encoder"]},
        second={
            "steps": 15,
            "lr": {"encoder": 1.0, "decoder": 2.0, "head": 4.0},
            "curve": "cosine",
            "warmup": 0.2,
        },
    )
    first, second = two.phases
    assert (first.start, first.stop, second.start, second.stop, two.steps, two.epochs) == (
        0,
        20,
        20,
        35,
        35,
        4,
    )
    assert [two.index_at(s) for s in (0, 19, 20, 34, 35)] == [0, 0, 1, 1, 1]
    assert (first.rate("encoder", 5), first.rate("decoder", 19)) == (0.0, 1e-3)
    # three steps of warm-up: a quarter, a half, three quarters; the peak is the first step after it
    assert [second.rate("head", s) for s in (20, 21, 22, 23)] == pytest.approx([1.0, 2.0, 3.0, 4.0])
    # half a cosine over the 12 steps that remain: its middle is at step 29, the last step just above 0
    assert second.rate("encoder", 29) == pytest.approx(0.5)
    assert second.rate("decoder", 34) == pytest.approx(2 * 0.5 * (1 + math.cos(math.pi * 11 / 12)))


def test_batches_map_to_steps_under_accumulation() -> None:
    p = plan(5, accumulate=2, a={"epochs": 1, "lr": 1.0}, b={"epochs": 1, "lr": 1.0})
    assert (p.steps_per_epoch, p.steps, p.epochs) == (3, 6, 2)
    assert [p.index_of_batch(e, b) for e in (0, 1) for b in range(5)] == [0] * 5 + [1] * 5


def test_phase_of_an_epoch_may_start_within_an_epoch() -> None:
    p = plan(10, a={"steps": 3, "lr": 1.0}, b={"epochs": 1, "lr": 1.0}, c={"epochs": 0.5, "lr": 1.0})
    assert [(phase.start, phase.stop) for phase in p.phases] == [(0, 3), (3, 13), (13, 18)]
    assert [p.index_of_batch(0, b) for b in (2, 3, 9)] == [0, 1, 1]
    assert [p.index_of_batch(1, b) for b in (2, 3, 7)] == [1, 2, 2]
    assert p.epochs == 2


def test_warmup_reaches_the_peak_in_a_short_phase() -> None:
    phase = plan(1, all={"steps": 2, "lr": 1.0, "warmup": 0.9}).phases[0]
    assert [phase.rate("head", s) for s in (0, 1)] == [0.5, 1.0]


@pytest.mark.parametrize("curve", ["linear", "polynomial", "cosine"])
def test_rates_of_parts_with_their_own_warmup(curve: str) -> None:
    """Each part rises in its own warm-up, and spans the curve over the rest of the phase."""
    rates, warmups = {"encoder": 0.1, "decoder": 2.0, "head": 1.0}, {"encoder": 12, "decoder": 0, "head": 4}
    before = {"steps": 5, "lr": 1.0}
    settings = {"steps": 40, "lr": rates, "curve": curve, "warmup": {"encoder": 0.3, "head": 4}}
    phase = plan(10, before=before, all=settings).phases[1]
    falls = {
        "linear": lambda t: 1 - t,
        "polynomial": lambda t: (1 - t) ** 0.9,
        "cosine": lambda t: (1 + math.cos(math.pi * t)) / 2,
    }[curve]
    for part, rate in rates.items():
        rise = warmups[part]
        expected = [
            rate * ((step + 1) / (rise + 1) if step < rise else falls((step - rise) / (40 - rise)))
            for step in range(40)
        ]
        assert [phase.rate(part, 5 + step) for step in range(40)] == pytest.approx(expected)


@pytest.mark.parametrize(("warmup", "steps"), [(7, 7), (0, 0), (0.25, 10), (None, 0)])
def test_warmup_is_a_number_of_steps_or_a_share(warmup: object, steps: int) -> None:
    phase = plan(1, all={"steps": 40, "lr": 1.0, "warmup": warmup}).phases[0]
    assert phase.warmup == dict.fromkeys(PARTS, steps)


@pytest.mark.parametrize(
    ("size", "data_size", "expected"),
    [
        (None, 96, None),
        (64, 96, (64, 64)),
        ([64, 80], 96, (64, 80)),
        (0.5, 96, (64, 64)),
        (0.5, 512, (256, 256)),
        (0.5, [180, 240], (96, 128)),
        (0.1, 96, (32, 32)),
    ],
)
def test_crop_size_is_pixels_or_a_share(size: object, data_size: object, expected: object) -> None:
    settings = {"all": {"epochs": 1, "lr": 1.0, "crop_size": size}}
    assert make_plan(settings, PARTS, 10, crop_size=data_size).phases[0].crop_size == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 1, "lr": 1.0, "warm_up": 3}, r"phases\.all\.warm_up.*\n.*warmup"),
        ({"lr": 1.0}, r"phases\.all: length of the phase"),
        ({"epochs": 1, "steps": 3, "lr": 1.0}, r"phases\.all: length of the phase"),
        ({"epochs": 0, "lr": 1.0}, r"phases\.all\.epochs"),
        ({"steps": 1.5, "lr": 1.0}, r"phases\.all\.steps"),
        ({"epochs": 1, "lr": 1.0, "freeze": ["neck"]}, r"phases\.all\.freeze: no part 'neck'"),
        ({"epochs": 1, "lr": 1.0, "freeze": list(PARTS)}, "nothing is left to train"),
        ({"epochs": 1, "lr": {"encoder": 1.0}}, "learning rate of decoder"),
        ({"epochs": 1, "lr": {"encoder": 1, "decoder": 1, "head": 1, "tail": 1}}, "no part 'tail'"),
        ({"epochs": 1, "lr": "fast"}, r"phases\.all\.lr\n"),
        ({"epochs": 1, "lr": 1.0, "curve": "cosin"}, "no curve 'cosin'"),
        ({"epochs": 1, "lr": 1.0, "warmup": 1.0}, r"phases\.all\.warmup"),
        ({"epochs": 1, "lr": 1.0, "warmup": "long"}, r"phases\.all\.warmup"),
        ({"epochs": 1, "lr": 1.0, "warmup": -1}, r"phases\.all\.warmup"),
        ({"epochs": 1, "lr": 1.0, "warmup": 10}, r"phases\.all\.warmup[\s\S]*10 steps in a phase of 10"),
        ({"epochs": 1, "lr": 1.0, "warmup": {"encoder": 0.1, "neck": 0.1}}, "no part 'neck'"),
        ({"epochs": 1, "lr": 1.0, "warmup": {"head": 1.5}}, r"phases\.all\.warmup\.head"),
        ({"epochs": 0.25, "lr": 1.0}, r"phases\.all\.epochs[\s\S]*2\.5 steps"),
        ({"epochs": "two", "lr": 1.0}, r"phases\.all\.epochs"),
        ({"epochs": 1, "lr": 1.0, "freeze": "decodr"}, r"no part 'decodr'[\s\S]*expected: decoder"),
        ({"epochs": 1, "lr": float("nan")}, r"phases\.all\.lr\n"),
        ({"epochs": 1, "lr": 1.0, "weight_decay": "some"}, r"phases\.all\.weight_decay"),
        ({"epochs": 1, "lr": 1.0, "crop_size": 0}, r"phases\.all\.crop_size"),
        ({"epochs": 1, "lr": 1.0, "crop_size": [32]}, r"phases\.all\.crop_size"),
        ({"epochs": 1, "lr": 1.0, "crop_size": 0.5}, r"data\.crop_size"),
    ],
)
def test_invalid_phase_is_refused_by_key(settings: dict, message: str) -> None:
    with refused(message):
        plan(10, all=settings)
