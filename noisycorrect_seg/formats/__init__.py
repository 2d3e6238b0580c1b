"""Masks in the formats of label tools, each a file that registers itself."""

from noisycorrect.support.register import import_folder

import_folder(__name__, __path__)
