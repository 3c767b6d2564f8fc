"""Training: the loop, the averaged weights, and checkpoints that a run resumes from bit for bit."""
