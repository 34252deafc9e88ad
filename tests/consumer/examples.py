"""Makes a program of the examples in the public headers: examples.py OUTPUT INCLUDE_FOLDER..."""

import re
import sys
from pathlib import Path

START = """#include <aruba_fast/aruba_fast.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#define check(...) check_that((__VA_ARGS__), __FILE__, __LINE__, #__VA_ARGS__)

static void check_that(bool holds, const char* file, int line, const char* text) {
  if (holds) return;
  std::printf("%s:%d: %s\\n", file, line, text);
  std::exit(1);
}
"""


def examples(header):
    """The code below each `Example:` of a header's comments, and the line where it begins."""
    lines = header.read_text().splitlines()
    for number, line in enumerate(lines):
        if line.strip() != "/// Example:":
            continue
        code = []
        for text in lines[number + 1 :]:
            if not (found := re.fullmatch(r"\s*///(   .*)?", text)):
                break
            code.append((found[1] or "")[1:])
        yield number + 2, "\n".join(code)


output, *folders = map(Path, sys.argv[1:])
program, calls = [START], []
for header in sorted(path for folder in folders for path in folder.glob("aruba_fast/*.h")):
    if header.name == "cuda.h":  # needs a device
        continue
    for line, code in examples(header):
        calls.append(f"{header.stem}_{line}")
        program.append(f'void {calls[-1]}() {{\n#line {line} "{header.name}"\n{code}\n}}\n')
if not calls:
    sys.exit(f"no headers with examples in {folders}")
program.append("int main() {\n" + "".join(f"  {call}();\n" for call in calls))
program.append(f'  std::printf("{len(calls)} examples\\n");\n}}\n')
output.write_text("\n".join(program))
