"""How the tasks' losses become gradients. One file a method; `build` picks it by configuration.

A balance has
  parameters             what the optimiser learns beside the ranker, without weight decay
  backward(losses, epoch)  losses of a minibatch by name -> `.grad` of all parameters; epoch from 0
  state(), restore()     tensors by name: with them a continued run repeats itself bit for bit
T tasks, in the order of `Objective.names`; their losses come in times their configured weights, and
what belongs to no task (AITM's calibrator) is added as it is.
"""
