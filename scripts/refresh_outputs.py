"""Run the examples of README.md and docs/tutorial.md again and put their output into the text.

    python scripts/refresh_outputs.py

A block of code after the line `<!-- run -->` is run from the checkout's root, and the next block marked
`text` becomes what it printed. Run it after the shipped models or the example set have changed.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/tutorial.md")
BLOCK = re.compile(
    r"(?P<head><!-- run -->\n+```(?P<kind>sh|python)\n(?P<code>.*?)```\n+)```text\n.*?```", re.DOTALL
)


def main() -> int:
    """Rewrite the pages; return the exit status."""
    (ROOT / "demo").mkdir(exist_ok=True)
    for name in PAGES:
        path = ROOT / name
        path.write_text(BLOCK.sub(_with_output, path.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"{name} written")
    return 0


def _with_output(block: re.Match) -> str:
    program = ["bash", "-ec"] if block["kind"] == "sh" else [sys.executable, "-c"]
    done = subprocess.run([*program, block["code"]], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"An example failed:\n{block['code']}\n{done.stderr}")
    return f"{block['head']}```text\n{done.stdout.rstrip()}\n```"


if __name__ == "__main__":
    sys.exit(main())
