"""Pictures and videos that nobody took, out of the latent space of a VAE that `lvc train --family vae` made: samples,
walks from one picture to another, variations of a clip.

`latents` moves through the space, `inputs` reads frames, `files` makes files.
"""

from __future__ import annotations

from lvc.synthesize.files import synthesize_file

__all__ = ["synthesize_file"]
