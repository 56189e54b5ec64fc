"""What the analysis tools do: ``run`` of each module; ``logs`` has ``plot_curve`` and ``cal_train_time``."""
