"""What a task's logits say: the loss they are trained by, where they start, what they are read as.

A readout of m outputs has `outputs` = m, `top` (the largest value it can say), `reads_inputs` and
  fit(label, side)           what it needs to know of the training rows of its sample space
  side(inputs)               (B,) numbers it reads besides logits, or None
  loss(logit, label, side)   (B, m) or, for m = 1, (B,) -> (B,)
  start(label, side)         (m,) logits that say the mean
  forward(logit, side)       -> (B,) values, as they are served
"""
