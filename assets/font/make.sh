#!/bin/sh
# Writes DejaVuSans.subset.ttf: the letters and signs that Wick's pictures use, cut from DejaVu Sans 2.37
# as it comes in matplotlib's wheel.
#
#     pip install fonttools matplotlib && sh make.sh
set -eu
cd "$(dirname "$0")"
fonts=$(python3 -c 'import matplotlib; print(matplotlib.get_data_path() + "/fonts/ttf")')
pyftsubset "$fonts/DejaVuSans.ttf" --output-file=DejaVuSans.subset.ttf --layout-features='kern' --no-hinting \
  --unicodes='U+0020-007E,U+00A0-00FF,U+0131,U+0391-03C9,U+03D5,U+2010-2026,U+2032,U+2033,U+207A-207F,U+2070-2079,U+2080-208E,U+1D40,U+2113,U+2190-2193,U+21D2,U+2202,U+2207,U+220F,U+2211,U+2212,U+221A,U+221E,U+222B,U+2248,U+2260,U+2264,U+2265,U+2299,U+2016,U+22C5'
cp "$fonts/LICENSE_DEJAVU" LICENSE
