"""Adapting a model of lvc's own codec to footage, in integers (decision 011).

    codec.encode with samples.Collector ─▶ samples ─▶ tuning.tune ─▶ changes of biases ─▶ models.delta

While footage is coded, samples are kept of what the decoder's program `predicted` computes: prediction, latents, and
what the prediction misses. Biases of the layers behind the latents are tuned on them with the engine's integers.
Entropy coding, motion, key frames and analysis stay as they are. `beside` is a process for a recording.
"""
