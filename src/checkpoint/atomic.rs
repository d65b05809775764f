//! Files that are there whole or not at all.

use std::{fs, io::Write, path::Path};

use crate::error::Error;

/// What the name of a file begins with that is being written; after a crash it may be left behind.
const UNFINISHED: &str = ".unfinished-";

/// Writes a file under another name in the same folder, syncs it, and renames it. If anything fails
/// the path holds what it held before, and nothing is left behind.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed = |operation| move |e| Error::io(path, operation, e);
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempfile_in(folder)
        .map_err(failed("make a file in the folder of"))?;
    file.write_all(bytes).map_err(failed("write"))?;
    file.as_file().sync_all().map_err(failed("sync"))?;
    file.persist(path).map_err(|e| Error::io(path, "rename a finished file to", e.error))?;
    sync_folder(folder);
    Ok(())
}

/// Makes the new name last through a loss of power, where the system can.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = fs::File::open(folder) {
        // The file itself is synced; some systems have no way to sync a folder.
        let _ = folder.sync_all();
    }
}

/// Removes what killed runs have left behind.
pub(super) fn remove_unfinished(folder: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(folder).map_err(|e| Error::io(folder, "read", e))?;
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            // Another process may have been faster.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}
