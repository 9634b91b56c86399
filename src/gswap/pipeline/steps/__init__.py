"""One short file per step, in the order of :data:`gswap.pipeline.job.STEPS`."""
