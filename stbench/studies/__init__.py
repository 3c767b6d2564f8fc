"""Studies of the instruments themselves: what a distance sees, and how far it is off where the truth is known."""
