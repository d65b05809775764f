//! A checkpoint with one thing changed, and the checksum made good again.

use dfdx_noprop::checkpoint::{Contents, NumberType};
use serde_json::Value;

/// What a number of a text is replaced by.
const TEXTS: [&str; 14] = [
    "0",
    "1",
    "2",
    "-1",
    "0.5",
    "4294967296",
    "9007199254740993",
    "18446744073709551615",
    "1e300",
    "-1e300",
    "1e999",
    "NaN",
    "null",
    "\"1\"",
];

/// What a number of a tensor is replaced by.
const NUMBERS: [f32; 9] =
    [0.0, 1.0, -1.0, 1e-45, f32::MAX, f32::MIN, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// An edit by its name.
pub type Edited = (String, Contents);

/// All of the texts, and every so many-th of the tensors.
pub fn all(whole: &Contents, every: usize) -> Vec<Edited> {
    let mut edits = texts(whole);
    let tensors = 0..whole.tensors.len();
    let of_tensors = tensors.flat_map(|i| numbers(whole, i).into_iter().chain(shapes(whole, i)));
    edits.extend(of_tensors.step_by(every));
    edits
}

/// Each number of each text, and each text as a whole.
fn texts(whole: &Contents) -> Vec<Edited> {
    let mut edits = Vec::new();
    for (key, text) in &whole.metadata {
        let mut put = |place: &str, value: &str, text: String| {
            let mut contents = whole.clone();
            contents.metadata.insert(key.clone(), text);
            edits.push((format!("{key}{place} = {value}"), contents));
        };
        TEXTS.iter().for_each(|value| put("", value, (*value).to_owned()));
        let Ok(json) = serde_json::from_str::<Value>(text) else { continue };
        let mut places = Vec::new();
        places_of_numbers(&json, String::new(), &mut places);
        for place in places {
            for value in TEXTS {
                let (mut changed, mark) = (json.clone(), "the number");
                *changed.pointer_mut(&place).unwrap() = Value::from(mark);
                put(&place, value, changed.to_string().replace(&format!("\"{mark}\""), value));
            }
        }
        let mut contents = whole.clone();
        contents.metadata.remove(key);
        edits.push((format!("no {key}"), contents));
    }
    edits
}

fn places_of_numbers(value: &Value, place: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(key, value)| places_of_numbers(value, format!("{place}/{key}"), found)),
        Value::Array(items) => (0..).zip(items).for_each(|(i, value): (usize, _)| {
            places_of_numbers(value, format!("{place}/{i}"), found);
        }),
        // An option that is not there could be a number.
        Value::Number(_) | Value::Null => found.push(place),
        _ => {}
    }
}

/// The first number of a tensor, and all of them.
fn numbers(whole: &Contents, i: usize) -> Vec<Edited> {
    let mut edits = Vec::new();
    for value in NUMBERS {
        for all in [false, true] {
            let mut contents = whole.clone();
            let tensor = &mut contents.tensors[i];
            let numbers = tensor.bytes.chunks_exact_mut(4);
            let count = if all { usize::MAX } else { 1 };
            numbers.take(count).for_each(|bytes| bytes.copy_from_slice(&value.to_le_bytes()));
            let name = format!("{} = {value}{}", tensor.name, if all { "…" } else { "" });
            edits.push((name, contents));
        }
    }
    edits
}

/// A tensor of another shape, type or name, twice, or not there.
fn shapes(whole: &Contents, i: usize) -> Vec<Edited> {
    let name = whole.tensors[i].name.clone();
    let edit = |what: &str, change: &dyn Fn(&mut Contents)| {
        let mut contents = whole.clone();
        change(&mut contents);
        (format!("{name}: {what}"), contents)
    };
    vec![
        edit("none", &|contents| drop(contents.tensors.remove(i))),
        edit("flat", &|contents| {
            let tensor = &mut contents.tensors[i];
            tensor.shape = vec![1, tensor.shape.iter().product()];
        }),
        edit("reversed", &|contents| contents.tensors[i].shape.reverse()),
        edit("empty", &|contents| {
            let tensor = &mut contents.tensors[i];
            (tensor.shape, tensor.bytes) = (vec![0, 1 << 40], Vec::new());
        }),
        edit("of doubles", &|contents| {
            let tensor = &mut contents.tensors[i];
            tensor.dtype = NumberType::F64;
            tensor.bytes = [tensor.bytes.clone(), tensor.bytes.clone()].concat();
        }),
        edit("renamed", &|contents| contents.tensors[i].name.push('x')),
        edit("of a huge block", &|contents| {
            let tensor = &mut contents.tensors[i];
            tensor.name = tensor.name.replace("block.1", "block.18446744073709551615");
        }),
        edit("twice", &|contents| {
            let mut second = contents.tensors[i].clone();
            second.name.push('2');
            contents.tensors.push(second);
        }),
    ]
}

/// The bytes of a file with each number of its header, and its length, replaced; the checksum is
/// of what was there.
pub fn headers(file: &[u8]) -> Vec<(String, Vec<u8>)> {
    let length = u64::from_le_bytes(*file.first_chunk().unwrap()) as usize;
    let (header, body) = file[8..].split_at(length);
    let header = std::str::from_utf8(header).unwrap();
    let with = |header: &str| {
        let length = (header.len() as u64).to_le_bytes();
        [&length[..], header.as_bytes(), body].concat()
    };
    let mut edits = Vec::new();
    for length in [0, 1, length as u64 - 1, length as u64 + 1, 1 << 31, 1 << 60, u64::MAX] {
        let bytes = [&length.to_le_bytes()[..], &file[8..]].concat();
        edits.push((format!("{length} bytes of header"), bytes));
    }
    let is_digit = |at: usize| header.as_bytes()[at].is_ascii_digit();
    let mut at = header.find("\"dtype\"").unwrap();
    while at < header.len() {
        if !is_digit(at) || header.as_bytes()[at - 1].is_ascii_alphanumeric() {
            at += 1;
            continue;
        }
        let end = (at..header.len()).find(|&end| !is_digit(end)).unwrap_or(header.len());
        for value in TEXTS {
            let name = format!("{}… = {value}", &header[at.saturating_sub(60)..end]);
            edits.push((name, with(&format!("{}{value}{}", &header[..at], &header[end..]))));
        }
        at = end;
    }
    edits
}
