"""What every notebook shares: parameters, folders, figures and numbers. Defined in nbs/00_data.ipynb."""
from mst.data import Run, atomic_path, folder_lock, print_table, project_root, show_images, unknown_parameters

__all__ = ["Run", "atomic_path", "folder_lock", "print_table", "project_root", "show_images", "unknown_parameters"]
