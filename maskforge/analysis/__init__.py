"""What ``tools/analysis_tools`` and ``tools/benchmarks`` call; each module has a ``run`` function."""
