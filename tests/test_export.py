"""The library is what the notebooks export, and the notebooks are clean."""
from conftest import run


def contents(project):
    return {str(p.relative_to(project)): p.read_bytes() for folder in ("nbs", "mst")
            for p in (project / folder).rglob("*")
            if p.is_file() and "__pycache__" not in p.parts}


def test_export_and_clean_leave_no_diff(project_copy):
    before = contents(project_copy)
    assert any(name.startswith("mst") for name in before)
    assert any(name.startswith("nbs") for name in before)
    for command in ("nbdev_export", "nbdev_clean"):
        result = run([command], cwd=project_copy, PYTHONDONTWRITEBYTECODE="1")
        assert result.returncode == 0, result.stdout + result.stderr
        after = contents(project_copy)
        assert set(after) == set(before), command
        assert [name for name in before if after[name] != before[name]] == [], command
