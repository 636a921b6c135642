"""A probability, corrected for down-sampled negatives."""

import torch

from training.readouts.probability import Probability


def test_it_is_the_sigmoid_bit_for_bit_when_nothing_else_is_asked():
    logit = 4 * torch.randn(1000)
    assert torch.equal(Probability()(logit), torch.sigmoid(logit))


def test_the_correction_for_lost_negatives_is_p_r_over_1_minus_p_plus_p_r():
    logit = torch.linspace(-9, 9, 101, dtype=torch.float64)
    p, r = torch.sigmoid(logit), 0.1
    corrected = Probability(negative_rate=r)(logit)
    torch.testing.assert_close(corrected, p * r / (1 - p + p * r), atol=1e-15, rtol=0)
    shifted = torch.sigmoid(logit + torch.tensor(r, dtype=torch.float64).log())
    torch.testing.assert_close(corrected, shifted, atol=1e-14, rtol=0)


def test_the_corrected_rate_is_that_of_the_log_before_sampling():
    positives, negatives, kept = 30, 9_000, 0.05
    sampled = positives / (positives + kept * negatives)
    logit = torch.logit(torch.tensor([sampled], dtype=torch.float64))
    whole = Probability(negative_rate=kept)(logit).item()
    assert abs(whole - positives / (positives + negatives)) < 1e-12


def test_it_starts_at_the_base_rate():
    label = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0])
    start = torch.sigmoid(Probability().start(label)).item()
    assert abs(start - 2.5 / 6) < 1e-6
    assert torch.isfinite(Probability().start(torch.zeros(7))).all()
