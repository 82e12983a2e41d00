"""Sound to mel image and back. Defined in nbs/00_data.ipynb."""
from mst.data import AUDIO_PRESETS, AUDIO_SUFFIXES, AudioConfig, AudioPreprocessor, LogMel

__all__ = ["AUDIO_PRESETS", "AUDIO_SUFFIXES", "AudioConfig", "AudioPreprocessor", "LogMel"]
