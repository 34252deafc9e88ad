"""leaks.py LOG...: fails if LeakSanitizer saw memory lost by our extension.

Python and its packages leave much behind at exit, and so does the import of any extension (types,
docstrings), on purpose. A leak is ours if its stack passes through _core, or through the _cuda that
runs on the CPU, outside of PyInit.
"""

import re
import sys
from pathlib import Path


def main(logs: list[str]) -> int:
    ours = total = 0
    for log in map(Path, logs):
        if not log.exists():
            continue
        for block in re.split(r"\n\s*\n", log.read_text(errors="replace")):
            if not re.match(r"(Direct|Indirect) leak of", block.strip()):
                continue
            total += 1
            if (
                re.search(r"(aruba_fast/_core|emulated/_cuda)\.", block)
                and "PyInit__c" not in block
            ):
                ours += 1
                print(block)
    print(f"leaks: {total} of Python and its packages, {ours} of ours")
    return int(ours > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
