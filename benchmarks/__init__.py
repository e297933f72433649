"""One file per figure. `python -m benchmarks --issue A` measures all figures of an issue; each file also runs alone."""
