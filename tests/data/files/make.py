"""Makes the files beside it, by NumPy and PyArrow: `python3 make.py`. What they hold is written out
in `checks/tests/npy.rs` and `checks/tests/parquet.rs`.
"""

import datetime
import decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

here = Path(__file__).parent

# Row r, column c is 10 r + c + 0.25.
rows = np.add.outer(10 * np.arange(3), np.arange(4)) + 0.25
np.save(here / "f8.npy", rows)
np.save(here / "f4.npy", rows.astype("<f4"))
np.save(here / "f4_big.npy", rows.astype(">f4"))
np.save(here / "f8_fortran.npy", np.asfortranarray(rows))
np.save(here / "f2.npy", rows.astype("<f2"))
np.save(here / "u1.npy", rows.astype("u1"))
np.save(here / "i8.npy", -rows.astype("<i8"))
np.save(here / "bool.npy", rows > 10)
np.save(here / "huge.npy", np.where(rows > 23, 1e300, rows))
np.save(here / "nan.npy", np.where(rows == 12.25, np.nan, rows))
np.save(here / "records.npy", np.zeros(3, [("a", "<f4"), ("b", "<f4")]))
np.save(here / "words.npy", np.array(["a", "b", "c"]))
np.save(here / "empty.npy", rows[:0])

# Two images of 2 × 3 pixels with 2 channels, counted from 0 in C's order.
images = np.arange(24, dtype="u1").reshape(2, 2, 3, 2)
np.save(here / "images.npy", images)
np.save(here / "images_fortran.npy", np.asfortranarray(images))
np.save(here / "gray.npy", np.asfortranarray(images[..., 0]))

labels = np.array([2, 0, 1])
np.save(here / "labels.npy", labels)
np.save(here / "labels_u1.npy", labels.astype("u1"))
np.save(here / "labels_i2_big.npy", labels.astype(">i2")[:, None])
np.save(here / "labels_negative.npy", np.array([2, -1, 1]))
np.save(here / "labels_f8.npy", labels.astype("f8"))

np.savez(here / "plain.npz", x=rows, y=labels)
np.savez_compressed(here / "packed.npz", x=np.asfortranarray(rows), y=labels)

# Iris's first row of each species, in reverse of the alphabet.
species = ["virginica", "versicolor", "setosa", "virginica"]
number = decimal.Decimal
flowers = pa.table(
    {
        "id": pa.array(["a", "b", "c", "d"]),
        "petal": pa.array([6.0, 4.7, 1.4, 5.1], pa.float64()),
        "species": pa.array(species).dictionary_encode(),
        "sepal": pa.array([2.5, 1.4, 0.2, 1.9], pa.float32()),
    }
)
for codec in ["none", "snappy", "zstd", "gzip", "lz4", "brotli"]:
    pq.write_table(flowers, here / f"flowers_{codec}.parquet", compression=codec)
# Two rows in a group, without dictionaries, in the second version of pages.
pq.write_table(
    flowers.set_column(2, "species", pa.array(species)),
    here / "flowers_groups.parquet",
    row_group_size=2,
    use_dictionary=False,
    data_page_version="2.0",
    write_page_checksum=True,
)

kinds = {
    "bool": pa.array([True, False]),
    "i8": pa.array([-1, 2], pa.int8()),
    "i16": pa.array([-300, 2], pa.int16()),
    "i32": pa.array([-70000, 2], pa.int32()),
    "i64": pa.array([-(2**53), 2], pa.int64()),
    "u8": pa.array([255, 2], pa.uint8()),
    "u16": pa.array([65535, 2], pa.uint16()),
    "u32": pa.array([2**32 - 1, 2], pa.uint32()),
    "u64": pa.array([2**64 - 2048, 2], pa.uint64()),
    "f16": pa.array(np.array([-0.5, 2], np.float16), pa.float16()),
    "f32": pa.array([-0.25, 2], pa.float32()),
    "f64": pa.array([0.1, 2], pa.float64()),
    "d9": pa.array([number("-1.25"), number("2")], pa.decimal128(9, 2)),
    "d18": pa.array([number("-1.25"), number("2")], pa.decimal128(18, 2)),
    "d38": pa.array([number("-1.25"), number("2")], pa.decimal128(38, 2)),
    "codes": pa.array([7, 2], pa.int64()).dictionary_encode(),
}
pq.write_table(pa.table(kinds), here / "kinds.parquet", store_decimal_as_integer=True)
bytes_ = {name: kinds[name] for name in ["d9", "d18", "d38"]}
pq.write_table(pa.table(bytes_), here / "decimals.parquet")

pq.write_table(
    pa.table({"a": [1.0, 2.0, None], "b": [1, None, 3], "y": ["p", "q", None]}),
    here / "nulls.parquet",
)
pq.write_table(
    pa.table(
        {
            "a": [1.0, float("nan")],
            "day": [datetime.date(2020, 1, 1)] * 2,
            "list": [[1.0], [2.0]],
            "group": [{"p": 1.0}, {"p": 2.0}],
            "size": ["10", "9"],
            "y": pa.array([1, 2], pa.int64()),
        }
    ),
    here / "odd.parquet",
)
