//! The numbers of roles in a snapshot, kept in step with its entries.

use std::collections::HashMap;

use super::entry::Entry;

/// The numbers of roles among the entries of a snapshot, and the owner tags that they carry.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// What the owner tags of this cluster begin with.
    owner_prefix: String,
    /// Owner tags of this cluster, and how many roles carry each.
    owners: HashMap<Box<str>, u32>,
    managed: u32,
    total: u32,
}

impl Tally {
    pub(super) fn new(owner_prefix: &str) -> Self {
        Self {
            owner_prefix: owner_prefix.to_owned(),
            ..Self::default()
        }
    }

    /// Counts the entries from the start.
    pub(super) fn recount<'e>(&mut self, entries: impl Iterator<Item = &'e Entry>) {
        self.owners.clear();
        (self.managed, self.total) = (0, 0);
        for entry in entries {
            self.add(entry);
        }
    }

    pub(super) fn add(&mut self, entry: &Entry) {
        let (managed, total) = self.counts_of(entry);
        self.managed += managed;
        self.total += total;
        if let Some(owner) = self.own_tag(entry) {
            *self.owners.entry(owner.into()).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, entry: &Entry) {
        let (managed, total) = self.counts_of(entry);
        self.managed -= managed;
        self.total -= total;
        if let Some(owner) = entry.owner()
            && let Some(count) = self.owners.get_mut(owner)
        {
            *count -= 1;
            if *count == 0 {
                self.owners.remove(owner);
            }
        }
    }

    /// Number of roles that carry an owner tag of this cluster.
    pub(super) const fn managed(&self) -> u32 {
        self.managed
    }

    /// Number of all roles among the entries.
    pub(super) const fn total(&self) -> u32 {
        self.total
    }

    /// The owner tags of this cluster, each once.
    pub(super) fn owners(&self) -> impl Iterator<Item = &str> {
        self.owners.keys().map(AsRef::as_ref)
    }

    /// Returns true if a role carries this owner tag.
    pub(super) fn has_owner(&self, owner: &str) -> bool {
        self.owners.contains_key(owner)
    }

    fn own_tag<'e>(&self, entry: &'e Entry) -> Option<&'e str> {
        entry
            .owner()
            .filter(|owner| owner.starts_with(&self.owner_prefix))
    }

    /// What an entry adds to the numbers of managed and of all roles. An invalidated entry may be a managed role, so that the
    /// limits are never exceeded.
    fn counts_of(&self, entry: &Entry) -> (u32, u32) {
        if entry.role.is_none() {
            return if entry.invalidated { (1, 1) } else { (0, 0) };
        }
        (u32::from(self.own_tag(entry).is_some()), 1)
    }
}
