"""Coverage-guided fuzzing with atheris: ``make fuzz FUZZ="--seconds 300 [TARGET ...]"``.

Each target runs in a process of its own, starting from its corpus; a new input that fails is written beside the corpus
as ``crash-...`` and its traceback printed. Ends with 1 if anything was found.
"""

import argparse
import subprocess
import sys

from tests import fuzz

PACKAGES = ["domain", "storage", "collectors", "analytics", "alerts", "dashboard", "partners", "service"]


def main() -> None:
    """Fuzz the targets named, or all, one after the other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="*", choices=[*fuzz.target_names(), []], metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--here", metavar="TARGET", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.here:
        _fuzz(told.here, told.seconds)
        return
    failed = []
    for name in told.targets or fuzz.target_names():
        command = [sys.executable, "-m", "tests.fuzz.run", "--here", name, "--seconds", str(told.seconds)]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        done = [line for line in ended.stdout.splitlines() if line.startswith("Done ")]
        print(f"{name}: {done[-1] if done else 'ended early'}", flush=True)
        if ended.returncode:
            failed.append(name)
            print(ended.stdout[-8000:])
    if failed:
        sys.exit(f"findings in: {', '.join(failed)}")


def _fuzz(name: str, seconds: int) -> None:
    import atheris

    folder = fuzz.CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    # what is imported before this is not instrumented, and fuzzed blindly
    with atheris.instrument_imports(include=PACKAGES):
        target = fuzz.load_target(name)
    # the first folder takes what is found to reach new code: not the one under version control
    scratch = fuzz.HERE.parent.parent / "build" / "fuzz" / name
    scratch.mkdir(parents=True, exist_ok=True)
    flags = [
        f"-max_total_time={seconds}",
        "-timeout=10",
        "-rss_limit_mb=2048",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *flags, str(scratch), str(folder)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
