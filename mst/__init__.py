__version__ = "0.1.0"

from .files import provide_caches

provide_caches()  # before librosa or matplotlib is loaded
