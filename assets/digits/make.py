"""Writes digits.csv, the test part of UCI's optical digits, from the copy in scikit-learn's wheel.

    pip download --no-deps scikit-learn==1.9.1 && python make.py scikit_learn-1.9.1-*.whl
"""
import gzip
import io
import pathlib
import sys
import zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel:
    packed = wheel.read("sklearn/datasets/data/digits.csv.gz")
rows = [
    [int(float(x)) for x in line.split(",")]
    for line in io.TextIOWrapper(gzip.GzipFile(fileobj=io.BytesIO(packed)))
]
assert len(rows) == 1797 and all(len(row) == 65 for row in rows)
header = ",".join([f"pixel_{r}_{c}" for r in range(8) for c in range(8)] + ["digit"])
out = pathlib.Path(__file__).parent / "digits.csv"
out.write_text("\n".join([header] + [",".join(map(str, row)) for row in rows]) + "\n")
