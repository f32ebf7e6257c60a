"""How fast the system is, each figure beside a raw ceiling measured in the same run."""
