"""Experiments that measure noisycorrect: one module an experiment, from a configuration to JSON, Markdown and PNG."""
