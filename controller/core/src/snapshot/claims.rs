//! Roles whose owner tag somebody else removed, and the owner that this process last saw on them.

use std::collections::HashMap;

use super::entry::Entry;

/// The owner tag that this process last saw on a role, and the unique id of that role.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    owner: String,
    role_id: String,
}

impl Claim {
    /// Returns the claim that an entry leaves behind if it carries an owner tag with this prefix.
    fn of(entry: &Entry, owner_prefix: &str) -> Option<Self> {
        let owner = entry.owner().filter(|owner| owner.starts_with(owner_prefix))?;
        Some(Self {
            owner: owner.to_owned(),
            role_id: entry.role.as_ref()?.unpack()?.role_id,
        })
    }

    /// Returns true if the claim outlives the replacement of the entry by `now`: the same role has no owner tag, or the new
    /// entry is invalidated. Another role of the same name and a new owner tag end it.
    fn survives(&self, now: &Entry) -> bool {
        match &now.role {
            None => now.invalidated,
            Some(role) => {
                role.owner.is_none() && role.unpack().is_some_and(|role| role.role_id == self.role_id)
            }
        }
    }
}

/// The claims of one account, by role name in lower case.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    by_name: HashMap<String, Claim>,
    /// What the owner tags of this cluster begin with.
    owner_prefix: String,
}

impl Claims {
    pub(super) fn new(owner_prefix: &str) -> Self {
        Self {
            by_name: HashMap::new(),
            owner_prefix: owner_prefix.to_owned(),
        }
    }

    /// Keeps, makes or ends the claim to a role whose entry changes from `before` to `now`.
    pub(super) fn replace(&mut self, key: &str, before: Option<&Entry>, now: &Entry) {
        let made = before.and_then(|before| Claim::of(before, &self.owner_prefix));
        // A write of this process that removes the tag gives the role up.
        if made.is_some() && now.written.is_some() && !now.invalidated {
            self.by_name.remove(key);
            return;
        }
        let claim = made.or_else(|| self.by_name.remove(key));
        if let Some(claim) = claim.filter(|claim| claim.survives(now)) {
            self.by_name.insert(key.to_owned(), claim);
        }
    }

    /// Makes a claim if a sweep shows that somebody removed the owner tag of `before`.
    pub(super) fn compare(&mut self, key: &str, before: &Entry, read: &Entry) {
        let claim = Claim::of(before, &self.owner_prefix);
        if let Some(claim) = claim.filter(|claim| claim.survives(read)) {
            self.by_name.insert(key.to_owned(), claim);
        }
    }

    /// Ends the claims that the entries after a sweep no longer support.
    pub(super) fn retain(&mut self, entries: &HashMap<String, Entry>) {
        self.by_name
            .retain(|key, claim| entries.get(key).is_some_and(|now| claim.survives(now)));
    }

    /// Returns the unique id of the role if this owner has a claim to it.
    pub(super) fn role_id(&self, key: &str, owner: &str) -> Option<String> {
        let claim = self.by_name.get(key)?;
        (claim.owner == owner).then(|| claim.role_id.clone())
    }

    /// Ends every claim of this owner.
    pub(super) fn end(&mut self, owner: &str) {
        self.by_name.retain(|_, claim| claim.owner != owner);
    }

    /// Copies the claims of an earlier snapshot, and makes one of each of its entries that carries an owner tag.
    pub(super) fn inherit(&mut self, before: &Self, entries: &HashMap<String, Entry>) {
        self.by_name.clone_from(&before.by_name);
        let tagged = entries.iter().filter_map(|(key, entry)| {
            let claim = Claim::of(entry, &self.owner_prefix)?;
            Some((key.clone(), claim))
        });
        self.by_name.extend(tagged);
    }
}
