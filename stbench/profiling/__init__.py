"""What a backbone costs: operations, parameters, time and memory, and the machine that these were measured on."""
