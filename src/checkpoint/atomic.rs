//! Files that are there whole or not at all.

use std::{
    fs::{self, File, Permissions},
    io::Write,
    path::{Path, PathBuf},
};

use crate::error::Error;

/// What the name of a file begins with that is being written; after a crash it may be left behind.
const UNFINISHED: &str = ".unfinished-";

/// Writes a file under another name in the same folder, syncs it, and renames it. If anything fails
/// the path holds what it held before, and nothing is left behind.
///
/// A file that is replaced leaves its permissions and its group to the new one; a symbolic link
/// stays, and the file that it names is replaced.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_atomically_by(path, |file| file.write_all(bytes).map_err(|e| Error::io(path, "write", e)))
}

/// The same with what `write` writes.
pub(crate) fn write_atomically_by(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), Error>,
) -> Result<(), Error> {
    let path = &target(path)?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed = |operation| move |e| Error::io(path, operation, e);
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    // As any new file: what the user's mask leaves of these.
    let usual = usual_permissions();
    if let Some(usual) = &usual {
        builder.permissions(usual.clone());
    }
    let mut file = builder.tempfile_in(folder).map_err(failed("make a file in the folder of"))?;
    // Whoever removes what was left behind leaves alone what is locked. Not all systems have locks.
    let _ = file.as_file().lock();
    if let Ok(before) = fs::metadata(path) {
        keep_owner(file.as_file(), &before);
        // Where it is not allowed the file has the usual ones.
        let _ = file.as_file().set_permissions(before.permissions());
    }
    write(file.as_file_mut())?;
    file.as_file().sync_all().map_err(failed("sync"))?;
    file.persist(path).map_err(|e| Error::io(path, "rename a finished file to", e.error))?;
    sync_folder(folder);
    Ok(())
}

/// The file that a path names: where it is a symbolic link, what that points to.
fn target(path: &Path) -> Result<PathBuf, Error> {
    /// Links that lead to links, at most: as many as Linux follows.
    const MOST: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MOST {
        let Ok(next) = fs::read_link(&path) else { return Ok(path) };
        // A relative link starts from the folder that it is in.
        path = path.parent().map_or(next.clone(), |folder| folder.join(&next));
    }
    Err(Error::file(&path, "a file", format!("more than {MOST} symbolic links in a row")))
}

#[cfg(unix)]
fn usual_permissions() -> Option<Permissions> {
    Some(std::os::unix::fs::PermissionsExt::from_mode(0o666))
}

#[cfg(not(unix))]
fn usual_permissions() -> Option<Permissions> {
    None
}

/// Gives a file the group of the one before it, where the system has groups and allows it.
#[cfg(unix)]
fn keep_owner(file: &File, before: &fs::Metadata) {
    use std::os::unix::fs::{MetadataExt, fchown};
    let _ = fchown(file, None, Some(before.gid()));
}

#[cfg(not(unix))]
fn keep_owner(_file: &File, _before: &fs::Metadata) {}

/// Makes the new name last through a loss of power, where the system can.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        // The file itself is synced; some systems have no way to sync a folder.
        let _ = folder.sync_all();
    }
}

/// Removes what killed runs have left behind, but for files that somebody is writing.
pub(super) fn remove_unfinished(folder: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(folder).map_err(|e| Error::io(folder, "read", e))?;
    for entry in entries.flatten() {
        let is_left = entry.file_name().to_string_lossy().starts_with(UNFINISHED)
            && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if is_left {
            // Another process may have been faster.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_new_file_has_the_permissions_of_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let (other, own) = (folder.path().join("other"), folder.path().join("own"));
        fs::write(&other, "").unwrap();
        write_atomically(&own, b"1").unwrap();
        assert_eq!(mode(&own), mode(&other));
    }

    #[test]
    fn a_file_that_is_replaced_leaves_its_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!((mode(&path), fs::read(&path).unwrap()), (0o664, b"new".to_vec()));
    }

    #[test]
    fn a_symbolic_link_stays() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("elsewhere")).unwrap();
        let (file, link) = (folder.path().join("elsewhere/file"), folder.path().join("link"));
        symlink("elsewhere/file", &link).unwrap();
        for content in ["made by the link", "replaced by it"] {
            write_atomically(&link, content.as_bytes()).unwrap();
            assert_eq!(fs::read(&file).unwrap(), content.as_bytes());
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        }
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        symlink(&b, &a).unwrap();
        symlink(&a, &b).unwrap();
        assert!(write_atomically(&a, b"").is_err());
    }

    #[test]
    fn what_is_being_written_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (live, dead) =
            (folder.path().join(".unfinished-1"), folder.path().join(".unfinished-2"));
        let writer = File::create(&live).unwrap();
        writer.lock().unwrap();
        fs::write(&dead, "half").unwrap();
        remove_unfinished(folder.path()).unwrap();
        assert!(live.exists() && !dead.exists());
        drop(writer);
        remove_unfinished(folder.path()).unwrap();
        assert!(!live.exists());
    }
}
