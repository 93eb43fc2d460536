"""The wheel, installed into an empty environment, is the whole product."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_a_built_wheel_runs_from_an_empty_environment_with_its_configuration(tmp_path):
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")

    def run(*command, **more):
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=tmp_path, **more)
        assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    run(uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", ROOT)
    wheel = next((tmp_path / "dist").glob("*.whl"))
    run(uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    run(uv, "pip", "install", "--quiet", "--python", python, "-r", ROOT / "requirements.txt", wheel)
    hallwatch = tmp_path / "env" / "bin" / "hallwatch"
    assert run(hallwatch, "--version").startswith("hallwatch ")
    shipped = Path(run(python, "-c", "from service.configuration import SHIPPED; print(SHIPPED)").strip())
    assert shipped.is_relative_to(tmp_path)
    assert "4 racks" in run(hallwatch, "check", "-c", shipped / "examples" / "small-site")
    assert "benchmarks" in run(hallwatch, "bench", "--help")
    for name in ("service", "storage", "simulator", "domain", "benchmarks"):
        # folders of the user that are called like our packages are not ours, nor for processes that ours start
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('imported from the user')")
    for module in (Path(shipped).parent / "benchmarks").glob("*.py"):
        assert "from tests" not in module.read_text(), f"{module.name} cannot work without a checkout"
    assert "--viewers" in run(hallwatch, "bench", "console", "--", "--help")
    printed = run(hallwatch, "demo", "--racks", "1", "--port", "0", "--for", "5", "--data", tmp_path / "data")
    assert "Console" in printed
    assert "History" in printed
