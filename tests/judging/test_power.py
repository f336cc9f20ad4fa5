"""What so many test images can show, against simulated and enumerated outcomes."""

import numpy as np
import pytest

from headstart.judging import power
from headstart.judging.paired import Paired, mcnemar


@pytest.mark.parametrize(("images", "accuracy"), [(60, 0.9), (967, 0.99), (967, 0.7)])
def test_power_is_the_share_of_simulated_pairs_that_the_mid_p_tells_apart(
    images: int, accuracy: float
) -> None:
    least = power.visible_difference(images, accuracy=accuracy, alpha=0.05)
    assert least is not None
    generator = np.random.default_rng(3)
    better = generator.random((10_000, images)) < accuracy
    worse = generator.random((10_000, images)) < accuracy - least
    won, lost = (better & ~worse).sum(axis=1), (worse & ~better).sum(axis=1)
    seen = (mcnemar(lost, won, mid=True) < 0.05) & (won > lost)
    # Three standard errors.
    assert seen.mean() == pytest.approx(power.POWER, abs=0.012)


def test_few_images_show_nothing_and_more_images_show_smaller_differences() -> None:
    assert power.visible_difference(4, accuracy=1.0, alpha=0.05) is None
    # Five right answers against none, each time.
    assert power.visible_difference(5, accuracy=0.999, alpha=0.05) is not None
    seen = [power.visible_difference(n, accuracy=0.9, alpha=0.05) or 1 for n in (30, 300, 3000)]
    assert seen == sorted(seen, reverse=True)


def test_at_967_images_equivalence_takes_at_most_six_evenly_split_discordant_answers() -> None:
    assert power.most_discordant(967, alpha=0.05, margin=0.005) == 6
    for each, enough in ((3, True), (4, False)):
        widths = [
            Paired(967 - 2 * each - wrong, each, each, wrong).gain_interval(0.9)[1]
            for wrong in range(967 - 2 * each + 1)
        ]
        assert (min(widths) < 0.005) is enough


def test_fewest_images_are_the_first_that_can_be_equivalent() -> None:
    fewest = power.fewest_images(alpha=0.05, margin=0.01)
    assert power.most_discordant(fewest, alpha=0.05, margin=0.01) is not None
    assert power.most_discordant(fewest - 1, alpha=0.05, margin=0.01) is None
    assert power.fewest_images(alpha=0.4, margin=0.99) == 1
