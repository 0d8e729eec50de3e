"""What the benchmark compares with: the same effects without the boundary, and naively."""
