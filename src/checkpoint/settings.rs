//! Settings in files: as JSON, and which of them may differ.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::Contents;
use crate::error::Error;

/// Settings of inference, and of what is past: a trainer may differ in them from the checkpoint
/// that it takes.
const FREE: [&str; 6] =
    ["sampler", "inference", "solver", "seed", "reverse_variance", "probabilities"];

pub(crate) fn text(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(unwritable)
}

/// Settings of a user's own head that serde cannot write.
pub(super) fn unwritable(error: serde_json::Error) -> Error {
    Error::argument("NoProp::save", "settings that can be written as JSON", error)
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    contents: &Contents,
    key: &str,
    path: &Path,
) -> Result<T, Error> {
    let Some(text) = contents.metadata.get(key) else {
        let expected = format!("a checkpoint, with {key} of a trainer");
        let found = "weights alone, as `export` writes them: `NoProp::load_weights` takes these";
        return Err(Error::file(path, expected, found));
    };
    let what = |error| Error::file(path, format!("{key} of a trainer"), error);
    serde_json::from_str(text).map_err(what)
}

/// The settings of a trainer in a file, in the words of this version.
pub(crate) fn settings(contents: &Contents, path: &Path) -> Result<Value, Error> {
    let mut settings: Value = parse(contents, "settings", path)?;
    let of = |key: &str| contents.metadata.get(key).map_or("", String::as_str);
    let is_of_numbers = of("head") == "Regression";
    let (fields, mark) = match of("variant") {
        "flow matching" => (settings.get_mut("predictor"), "sharpness"),
        _ => (Some(&mut settings), "eta"),
    };
    if let Some(fields) = fields.and_then(Value::as_object_mut)
        && fields.contains_key(mark)
    {
        // Models of numbers were trained without it before there was this setting.
        fields.entry("preconditioned").or_insert(Value::Bool(!is_of_numbers));
    }
    Ok(settings)
}

/// Settings that mean the same as one: for classes what is chosen by the targets is what it is.
pub(super) fn canonical(mut settings: Value, head: &str) -> Value {
    if head != "Regression" {
        for (place, meaning) in [("/weighting", "uniform"), ("/schedule/path", "cosine")] {
            if let Some(value) = settings.pointer_mut(place).filter(|value| *value == "by_targets")
            {
                *value = meaning.into();
            }
        }
    }
    settings
}

/// Settings that differ, but for those that may; the first of them is named.
pub(super) fn check_settings(
    name: &str,
    mine: &Value,
    file: &Value,
    path: &Path,
) -> Result<(), Error> {
    if let (Value::Object(mine), Value::Object(file)) = (mine, file) {
        for key in mine.keys().chain(file.keys().filter(|key| !mine.contains_key(*key))) {
            if FREE.contains(&key.as_str()) {
                continue;
            }
            let get = |of: &serde_json::Map<_, _>| of.get(key).cloned().unwrap_or(Value::Null);
            check_settings(&format!("{name}.{key}"), &get(mine), &get(file), path)?;
        }
        return Ok(());
    }
    if mine == file {
        return Ok(());
    }
    // A smaller rate after a run that diverged is the reason to change one.
    let advice = match name.starts_with("settings.optimizer") || name.starts_with("settings.estim")
    {
        true => {
            " (make the trainer with the file's; after that `set_optimizer` and \
                 `set_estimator` change it)"
        }
        false => "",
    };
    Err(Error::file(path, format!("{name} = {mine}, as this trainer has it{advice}"), file))
}
