//! What the readers of NumPy's and Parquet's files hold in memory.
#![cfg(all(feature = "npy", feature = "parquet"))]

#[path = "../../tests/common/held.rs"]
mod held;

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::{Arc, PoisonError},
};

use dfdx_noprop::{
    data::{Parquet, npy_values, npz_values},
    prelude::*,
};
use held::{TURN, most};
use npyz::WriterBuilder;
use parquet::{
    basic::Compression,
    data_type::DoubleType,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use tempfile::tempdir;
use zip::write::SimpleFileOptions;

const MEGABYTE: usize = 1 << 20;
/// 64 MB as single precision, with one target for each row of 64 inputs.
const ROWS: usize = MEGABYTE / 4;

/// Up to 1.1 times what the result has, and 16 MB.
#[track_caller]
fn assert_about(work: impl FnOnce() -> Result<Dataset<64, Values<1>>, Error>) {
    let (result, held) = most(work);
    let data = result.unwrap();
    assert_eq!(data.rows(), ROWS);
    assert_eq!(data.input(7)[3], 3.);
    let size = data.inputs().len() * 4 + ROWS * 4;
    assert!(held * 10 < size * 11 + 160 * MEGABYTE, "{} of {}", held / MEGABYTE, size / MEGABYTE);
    println!("{} MB held for {} MB", held / MEGABYTE, size / MEGABYTE);
}

/// Each row counts from 0.
fn array(to: impl Write, width: usize, order: npyz::Order) {
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .order(order)
        .shape(&[ROWS as u64, width as u64])
        .writer(to)
        .begin_nd()
        .unwrap();
    for at in 0..ROWS * width {
        let column = if order == npyz::Order::C { at % width } else { at / ROWS };
        writer.push(&(column as f64)).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn arrays_of_double_precision_as_single() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let file = |name: &str| std::io::BufWriter::new(File::create(at(name)).unwrap());
    array(file("c.npy"), 64, npyz::Order::C);
    array(file("fortran.npy"), 64, npyz::Order::Fortran);
    array(file("y.npy"), 1, npyz::Order::C);
    assert_about(|| npy_values(at("c.npy"), at("y.npy")));
    assert_about(|| npy_values(at("fortran.npy"), at("y.npy")));

    let mut archive = zip::ZipWriter::new(file("xy.npz"));
    let packed = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for (name, width) in [("x.npy", 64), ("y.npy", 1)] {
        archive.start_file(name, packed).unwrap();
        array(std::io::BufWriter::new(&mut archive), width, npyz::Order::C);
    }
    archive.finish().unwrap();
    assert_about(|| npz_values(at("xy.npz"), "x", "y"));
}

/// One row group, so that nothing less is a piece.
fn table(path: &Path, compression: Compression) {
    let columns: String = (0..65).map(|c| format!("required double c{c};")).collect();
    let schema = Arc::new(parse_message_type(&format!("message m {{ {columns} }}")).unwrap());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for column in 0..65 {
        let mut writer = group.next_column().unwrap().unwrap();
        // Each number another one, but for a column that is looked at.
        let value = |row: usize| if column == 3 { 3. } else { row as f64 + 0.5 };
        let values: Vec<f64> = (0..ROWS).map(value).collect();
        writer.typed::<DoubleType>().write_batch(&values, None, None).unwrap();
        writer.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn a_table_in_one_row_group() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempdir().unwrap();
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
        let path = folder.path().join("table.parquet");
        table(&path, compression);
        assert_about(|| Parquet::new().values(&path));
    }
}
