//! Which rank holds which blocks, and which rows it learns from.

use std::ops::Range;

/// T blocks on n ranks.
///
/// Where there are at least as many blocks as ranks, rank r holds the blocks t, counted from 0,
/// with t mod n = r. Where there are more ranks than blocks, rank r holds block r mod T, and the
/// ranks of a block are its replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) rank: usize,
    pub(crate) ranks: usize,
    pub(crate) blocks: usize,
}

impl Layout {
    /// All blocks in one place.
    pub(crate) fn alone(blocks: usize) -> Self {
        Self { rank: 0, ranks: 1, blocks }
    }

    /// The same as another rank sees it.
    pub(crate) fn of(self, rank: usize) -> Self {
        Self { rank, ..self }
    }

    /// The blocks of this rank, counted from 1.
    pub(crate) fn own(self) -> impl Iterator<Item = usize> {
        (self.rank % self.blocks.max(1) + 1..=self.blocks).step_by(self.pipeline())
    }

    /// The first rank that holds block t, counted from 1.
    pub(crate) fn holder(self, t: usize) -> usize {
        t.saturating_sub(1) % self.pipeline()
    }

    /// How many ranks hold all blocks once, each its own: the length of a pipeline, and how far a
    /// block is from the next one on the same rank.
    pub(crate) fn pipeline(self) -> usize {
        self.ranks.min(self.blocks).max(1)
    }

    /// What is known of all blocks, in their order, from what each rank knows of its own.
    pub(crate) fn in_order<T: Clone>(self, ranks: &[&[T]]) -> Vec<T> {
        let of = |t: usize| ranks.get(self.holder(t))?.get((t - 1) / self.pipeline()).cloned();
        (1..=self.blocks).filter_map(of).collect()
    }

    /// The ranks that hold the same blocks as this one, itself among them.
    pub(crate) fn replicas(self) -> Vec<usize> {
        if self.ranks <= self.blocks {
            return vec![self.rank];
        }
        (self.rank % self.blocks.max(1)..self.ranks).step_by(self.blocks.max(1)).collect()
    }

    /// Which of them this one is.
    pub(crate) fn replica(self) -> usize {
        if self.ranks <= self.blocks { 0 } else { self.rank / self.blocks.max(1) }
    }

    /// The part of `rows` rows that this replica learns from. Empty for some where there are more
    /// replicas than rows.
    pub(crate) fn part(self, rows: usize) -> Range<usize> {
        let (k, n) = (self.replica(), self.replicas().len().max(1));
        k * rows / n..(k + 1) * rows / n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_held_and_every_row_is_learned_from_once_by_each_block() {
        for (ranks, blocks) in
            [(1, 1), (1, 10), (2, 10), (3, 10), (10, 10), (4, 1), (7, 3), (12, 5)]
        {
            let layout = |rank| Layout { rank, ranks, blocks };
            for t in 1..=blocks {
                let holders: Vec<_> =
                    (0..ranks).filter(|&rank| layout(rank).own().any(|own| own == t)).collect();
                assert_eq!(holders, layout(holders[0]).replicas(), "{ranks} ranks, block {t}");
                assert_eq!(holders[0], layout(0).holder(t));
                for rows in [0, 1, 5, 128] {
                    let mut next = 0;
                    for (k, &rank) in holders.iter().enumerate() {
                        assert_eq!(layout(rank).replica(), k);
                        let part = layout(rank).part(rows);
                        assert_eq!(part.start, next);
                        next = part.end;
                    }
                    assert_eq!(next, rows);
                }
            }
            let most = (0..ranks).map(|rank| layout(rank).own().count()).max();
            assert_eq!(most, Some(blocks.div_ceil(ranks)), "{ranks} ranks, {blocks} blocks");
        }
    }
}
