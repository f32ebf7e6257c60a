"""Models that put every customer into one layer (spec TG-8 … TG-16), each a pure function of a history and a day."""
