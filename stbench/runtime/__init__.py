"""How a computation is run here: device and precision, attention, compilation, seeds, processes, the clock."""
