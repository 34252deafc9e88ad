#!/bin/bash
# docs.sh BUILDER: the site by Sphinx, into build/docs/BUILDER. What is written by hand is copied
# to build/docs/source, beside what is generated there, so that docs/ is left as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
source=build/docs/source
mkdir -p $source
find $source -mindepth 1 -maxdepth 1 ! -name gallery ! -name generated -exec rm -r {} +
find docs -mindepth 1 -maxdepth 1 ! -name gallery ! -name conf.py -exec cp -a {} $source/ \;
rm -f $source/generated/*.rst build/docs/html/generated/*.html  # of names that may be gone
cp -a CHANGELOG.md $source/changelog.md
.venv/bin/python -m sphinx -b "$1" -W --keep-going -q -c docs -d build/docs/doctrees $source "build/docs/$1"
