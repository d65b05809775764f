//! Checkpoints of trainers whose blocks are on several ranks: one file, written and read by rank 0.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{
    Contents, Saved,
    blocks::BlocksInFile,
    file::Found,
    progress::Progress,
    settings::{parse, text},
};
use crate::{
    block::Host,
    device::Real,
    distributed::{Layout, Topic, pack, unpack},
    error::Error,
    file::Draft,
    model::{Position, Ranks},
    report::Means,
};

const WHAT: &str = "a checkpoint";

impl<E: Real, D: Host<E>> Saved<'_, E, D> {
    /// Writes all of the trainer, wherever its blocks are; the path, on all ranks.
    pub(crate) fn write(
        &self,
        position: Option<&Position>,
        fit: Option<&str>,
        write: impl FnOnce(&Draft<'_>) -> Result<PathBuf, Error>,
    ) -> Result<PathBuf, Error> {
        self.write_all(self.contents(position, fit)?, write)
    }

    /// Writes what all ranks have.
    pub(super) fn write_all(
        &self,
        own: Draft<'_>,
        write: impl FnOnce(&Draft<'_>) -> Result<PathBuf, Error>,
    ) -> Result<PathBuf, Error> {
        let Some(communicator) = &self.ranks.communicator else { return write(&own) };
        let written = match communicator.gather(Topic::Checkpoint, own.sealed()?, WHAT)? {
            Some(parts) => {
                let read = |bytes: &Vec<u8>| Contents::from_bytes(bytes, Path::new(WHAT));
                let parts = parts.iter().map(read).collect::<Result<_, _>>()?;
                Some(to_bytes(&write(&merged(parts, self.ranks.layout)?.draft())?))
            }
            None => None,
        };
        Ok(to_path(&communicator.broadcast(Topic::Checkpoint, written, WHAT)?))
    }
}

/// This rank's part of what rank 0 finds.
pub(super) fn own_part(
    ranks: &Ranks,
    find: &mut dyn FnMut() -> Result<Option<Found>, Error>,
) -> Result<Option<Found>, Error> {
    let Some(communicator) = &ranks.communicator else { return find() };
    let whole = |path: PathBuf, contents| Found { path, contents, blocks: None };
    if ranks.layout.rank != 0 {
        let message = communicator.receive(0, Topic::Checkpoint, WHAT)?;
        if message.is_empty() {
            return Ok(None);
        }
        let [path, bytes] = &unpack(&message, 2, WHAT)?[..] else { return Ok(None) };
        let path = to_path(path);
        let contents = Contents::from_bytes(bytes, &path)?;
        return Ok(Some(whole(path, contents)));
    }
    let Some(Found { path, mut contents, blocks }) = find()? else {
        for rank in 1..ranks.layout.ranks {
            communicator.send(rank, Topic::Checkpoint, Vec::new())?;
        }
        return Ok(None);
    };
    if let Some(blocks) = blocks {
        contents.tensors.extend(blocks.all()?);
    }
    for rank in 1..ranks.layout.ranks {
        let part = part(&contents, ranks.layout.of(rank)).to_bytes()?;
        communicator.send(rank, Topic::Checkpoint, pack(&[to_bytes(&path), part]))?;
    }
    let own = part(&contents, ranks.layout);
    Ok(Some(whole(path, own)))
}

/// Waits until all ranks are ready to take their parts.
pub(super) fn meet(ranks: &Ranks) -> Result<(), Error> {
    if let Some(communicator) = &ranks.communicator {
        communicator.all_gather(Topic::Checkpoint, Vec::new(), WHAT)?;
    }
    Ok(())
}

/// A path as a message: it is for messages to people, so what is no text may be lost.
fn to_bytes(path: &Path) -> Vec<u8> {
    path.to_string_lossy().into_owned().into_bytes()
}

fn to_path(bytes: &[u8]) -> PathBuf {
    String::from_utf8_lossy(bytes).into_owned().into()
}

/// One file from the parts of all ranks.
fn merged(parts: Vec<Contents>, layout: Layout) -> Result<Contents, Error> {
    const PROGRESS: &str = "progress";
    let mut all = Contents::default();
    let mut progresses: Vec<Progress> = Vec::new();
    for part in parts {
        if part.metadata.contains_key(PROGRESS) {
            progresses.push(parse(&part, PROGRESS, Path::new(WHAT))?);
        }
        if all.metadata.is_empty() {
            all.metadata = part.metadata;
        }
        all.tensors.extend(part.tensors);
    }
    let steps: Vec<_> = progresses.iter().map(|progress| &progress.blocks[..]).collect();
    let blocks = layout.in_order(&steps);
    let means = |progress: &Progress| {
        progress.position.as_ref().map_or_else(Means::default, |position| position.means.clone())
    };
    let means = Means::of_all(&progresses.iter().map(means).collect::<Vec<_>>(), layout);
    if let Some(mut progress) = progresses.into_iter().next() {
        progress.blocks = blocks;
        progress.position = progress.position.map(|position| position.with_means(means));
        all.metadata.insert(PROGRESS.to_owned(), text(&progress)?);
    }
    Ok(all)
}

/// What a rank needs of a file: its blocks, and all that belongs to no block. What belongs to no
/// rank goes to the first, which will find that it is too much.
fn part(contents: &Contents, layout: Layout) -> Contents {
    let needs = |name: &str| match block_of(name) {
        Some(t) if (1..=layout.blocks).contains(&t) => layout.own().any(|own| own == t),
        Some(_) => layout.rank == 0,
        None => true,
    };
    let tensors = contents.tensors.iter().filter(|tensor| needs(&tensor.name)).cloned().collect();
    Contents { metadata: contents.metadata.clone(), tensors }
}

/// Whether a file has the blocks that its settings speak of, before there is memory for them.
pub(crate) fn check_blocks(found: &Found, blocks: usize) -> Result<(), Error> {
    let tensors = found.contents.tensors.iter();
    let mut held: BTreeSet<usize> = tensors.filter_map(|tensor| block_of(&tensor.name)).collect();
    held.extend(found.blocks.iter().flat_map(BlocksInFile::numbers));
    if held.len() >= blocks {
        return Ok(());
    }
    let expected = format!("tensors of {blocks} blocks, as its settings say");
    Err(Error::file(&found.path, expected, format!("those of {}", held.len())))
}

/// The block that a tensor belongs to: `optimizer.first.block.3.0.weight` to block 3.
pub(super) fn block_of(name: &str) -> Option<usize> {
    let name = ["optimizer.first.", "optimizer.second.", "average."]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name);
    name.strip_prefix("block.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_belong_to_blocks() {
        for (name, block) in [
            ("block.3.0.weight", Some(3)),
            ("optimizer.first.block.12.0.z.bias", Some(12)),
            ("average.block.1.1.weight", Some(1)),
            ("embedding", None),
            ("optimizer.second.embedding", None),
            ("schedule.0", None),
            ("block.x", None),
        ] {
            assert_eq!(block_of(name), block, "{name}");
        }
    }
}
