"""Sound to mel image and back. Defined in nbs/00_data.ipynb."""
from mst.data import AUDIO_SUFFIXES, AudioConfig, AudioPreprocessor, image_to_audio

__all__ = ["AUDIO_SUFFIXES", "AudioConfig", "AudioPreprocessor", "image_to_audio"]
