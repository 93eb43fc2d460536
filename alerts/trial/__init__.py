"""Rules on trial: the real engine on a clock that is set by hand, fed by a written timeline or by stored history."""
