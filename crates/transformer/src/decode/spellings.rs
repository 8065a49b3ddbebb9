//! By which of several wire paths or spellings a value of the open record came, and which of them the schema does not have.
//!
//! Of several spellings that have a value in one record, the one with the least rank counts: the first that the schema names,
//! and an exact one before one in another case. A record in which a better one comes later is walked again.

/// A child of a node of the tree.
pub(super) type ChildIndex = (usize, usize);

/// What is known of the open record, and what is to be learned from it.
#[derive(Debug, Default)]
pub(super) struct Spellings {
    /// The walk at hand: one for each record, and for each time that it is walked again.
    walk: u64,
    /// By slot of a target that is contested: in which walk it got a value, and by which child.
    given: Vec<(u64, ChildIndex)>,
    /// Spellings that are drift by which a value of the open record came.
    used: Vec<ChildIndex>,
    /// Spellings of which a better one came later in the open record.
    outranked: Vec<ChildIndex>,
    /// Keys of nodes that differ from the schema's in case only.
    to_learn: Vec<(usize, String)>,
    /// Whether the open record is to be walked again.
    is_provisional: bool,
}

impl Spellings {
    /// Forgets the record before; the walk over the new one is begun apart.
    pub(super) fn begin_record(&mut self) {
        self.outranked.clear();
        self.to_learn.clear();
    }

    /// Begins a struct of a list, which is part of the open record.
    pub(super) fn begin_item(&mut self) {
        self.walk += 1;
    }

    /// Begins a record, or begins it again.
    pub(super) fn begin_walk(&mut self) {
        self.walk += 1;
        self.used.clear();
        self.is_provisional = false;
    }

    /// Whether the open record is to be walked again: what was learned from it changes where its values go.
    pub(super) fn is_provisional(&self) -> bool {
        self.is_provisional
    }

    /// Whether no other spelling of a record has anything to say about the target of that slot.
    pub(super) fn is_free(&self, slot: usize) -> bool {
        self.outranked.is_empty() && self.given_by(slot).is_none()
    }

    /// By which child a target got its value in this record.
    pub(super) fn given_by(&self, slot: usize) -> Option<ChildIndex> {
        let (walk, child) = self.given.get(slot)?;
        (*walk == self.walk).then_some(*child)
    }

    /// Says by which child a target has its value, and whether that spelling is drift.
    pub(super) fn give(&mut self, slot: usize, child: ChildIndex, is_drift: bool) {
        if is_drift {
            self.used.push(child);
        }
        if slot >= self.given.len() {
            self.given.resize(slot + 1, (0, (0, 0)));
        }
        self.given[slot] = (self.walk, child);
    }

    pub(super) fn is_outranked(&self, child: ChildIndex) -> bool {
        self.outranked.contains(&child)
    }

    /// Says that a better spelling than this one came later.
    pub(super) fn outrank(&mut self, child: ChildIndex) {
        self.outranked.push(child);
        self.is_provisional = true;
    }

    /// The spellings that are drift by which values of the record came, each once.
    pub(super) fn used(&mut self) -> impl Iterator<Item = ChildIndex> {
        // The structs of a list may use one again and again.
        self.used.sort_unstable();
        self.used.dedup();
        self.used.drain(..)
    }

    /// How many of them were used, for [`Spellings::back_to`].
    pub(super) fn mark(&self) -> usize {
        self.used.len()
    }

    /// Forgets those used since the mark.
    pub(super) fn back_to(&mut self, mark: usize) {
        self.used.truncate(mark);
    }

    /// Says that a key of a node differs from one of the schema's in case only.
    pub(super) fn learn_later(&mut self, node: usize, key: &str) {
        self.to_learn.push((node, key.to_owned()));
        self.is_provisional = true;
    }

    /// The keys to learn.
    pub(super) fn take_to_learn(&mut self) -> Vec<(usize, String)> {
        std::mem::take(&mut self.to_learn)
    }
}
