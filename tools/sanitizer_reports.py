"""sanitizer_reports.py LOG...: fails if a process of the address run ended badly or lost memory.

A memory error or undefined behaviour counts in whatever process it was seen, a test's child too.
Python and its packages leave much behind at exit, and so does the import of any extension (types,
docstrings), on purpose: a leak is ours if its stack passes through _core, or through the _cuda that
runs on the CPU, outside of PyInit. Where not one leak was reported, none was looked for: a process
that may not trace itself (a debugger, a closed container) has no leak check.
"""

import re
import sys
from pathlib import Path

OURS = re.compile(r"(aruba_fast/_core|emulated/_cuda)\.")


def main(logs: list[str]) -> int:
    errors = ours = total = unchecked = 0
    for log in map(Path, logs):
        text = log.read_text(errors="replace") if log.exists() else ""
        unchecked += "LeakSanitizer has encountered a fatal error" in text
        if re.search(r"ERROR: AddressSanitizer|: runtime error: ", text):
            errors += 1
            print(text)
        for block in re.split(r"\n\s*\n", text):
            if re.match(r"(Direct|Indirect) leak of", block.strip()):
                total += 1
                if OURS.search(block) and "PyInit__c" not in block:
                    ours += 1
                    print(block)
    print(
        f"errors: {errors}; leaks: {total} of Python and its packages, {ours} of ours; "
        f"processes that could not be checked for leaks: {unchecked}"
    )
    if total == 0:
        print("no process was checked for leaks: Python alone leaves some")
    return int(errors > 0 or ours > 0 or total == 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
