"""What learns from them: bundles, experiments, models, jobs."""
