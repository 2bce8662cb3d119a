//! Which `IamRole`s want which name in AWS, so that neither a namesake nor a role that matters is found by a scan.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;
use parking_lot::RwLock;
use rolectl_crds::IamRole;

use rolectl_core::names::name_in_aws;

/// Keys of `IamRole`s by the name in AWS, in lower case: IAM's names are unique without case.
#[derive(Debug, Default)]
pub struct RoleNames(RwLock<HashMap<Box<str>, Vec<ObjectRef<IamRole>>>>);

impl RoleNames {
    /// Follows the watch that fills `store`. Returns the roles that are gone, with their names in AWS: those that went
    /// while the watch was down are known only when the list is complete.
    pub fn follow(
        &self,
        event: &Event<IamRole>,
        store: &Store<IamRole>,
    ) -> Vec<(Box<str>, ObjectRef<IamRole>)> {
        match event {
            Event::Apply(role) => {
                self.add(role);
                vec![]
            }
            Event::Delete(role) => {
                let (name, key) = (name_of(role), key_of(role));
                let mut all = self.0.write();
                if let Some(keys) = all.get_mut(&name) {
                    keys.retain(|k| *k != key);
                    if keys.is_empty() {
                        all.remove(&name);
                    }
                }
                vec![(name, key)]
            }
            Event::InitDone => {
                // Made beside and put in place at once: a sweep may be asking.
                let new = Self::default();
                store.state().iter().for_each(|role| new.add(role));
                let before = std::mem::replace(&mut *self.0.write(), new.0.into_inner());
                let now = self.0.read();
                let gone = before
                    .into_iter()
                    .flat_map(|(name, keys)| keys.into_iter().map(move |key| (name.clone(), key)));
                gone.filter(|(name, key)| !now.get(name).is_some_and(|keys| keys.contains(key)))
                    .collect()
            }
            Event::Init | Event::InitApply(_) => vec![],
        }
    }

    fn add(&self, role: &IamRole) {
        let (name, key) = (name_of(role), key_of(role));
        let mut all = self.0.write();
        match all.entry(name) {
            // Of exactly one: a list that grows begins with room for four, and hardly a name is wanted twice.
            Entry::Vacant(entry) => {
                entry.insert(vec![key]);
            }
            Entry::Occupied(mut entry) if !entry.get().contains(&key) => entry.get_mut().push(key),
            Entry::Occupied(_) => {}
        }
    }

    /// Who wants this name (in lower case).
    pub fn wanted_by(&self, name: &str) -> Vec<ObjectRef<IamRole>> {
        self.0.read().get(name).cloned().unwrap_or_default()
    }

    /// Returns true if an `IamRole` wants this name, which is in lower case.
    pub fn is_wanted(&self, name: &str) -> bool {
        self.0.read().contains_key(name)
    }
}

fn name_of(role: &IamRole) -> Box<str> {
    name_in_aws(role).to_lowercase().into()
}

/// Without what [`ObjectRef::from_obj`] keeps beside the name: that would be most of the index.
fn key_of(role: &IamRole) -> ObjectRef<IamRole> {
    ObjectRef::new(role.metadata.name.as_deref().unwrap_or_default())
        .within(role.metadata.namespace.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::store;
    use rolectl_crds::IamRole;

    use super::*;

    fn role(namespace: &str, name: &str, role_name: Option<&str>) -> IamRole {
        let spec = serde_json::json!({"accounts": {"names": ["dev"]}, "roleName": role_name});
        let spec = serde_json::from_value(spec).unwrap();
        let mut role = IamRole::new(name, spec);
        role.metadata.namespace = Some(namespace.to_owned());
        role
    }

    #[test]
    fn a_name_is_found_without_case_until_its_last_object_is_gone() {
        let (reader, _writer) = store();
        let names = RoleNames::default();
        let (one, two) = (role("a", "App", None), role("b", "other", Some("aPP")));
        for r in [&one, &two, &one] {
            names.follow(&Event::Apply(r.clone()), &reader);
        }
        assert_eq!(names.wanted_by("app").len(), 2);
        names.follow(&Event::Delete(one), &reader);
        assert_eq!(names.wanted_by("app"), [key_of(&two)]);
        names.follow(&Event::Delete(two), &reader);
        assert!(!names.is_wanted("app"));
    }

    #[test]
    fn what_went_while_the_watch_was_down_is_told_once_the_list_is_complete() {
        let (reader, mut writer) = store();
        let names = RoleNames::default();
        let (stays, goes) = (role("a", "stays", None), role("a", "goes", None));
        for r in [&stays, &goes] {
            names.follow(&Event::Apply(r.clone()), &reader);
        }
        for event in [Event::Init, Event::InitApply(stays), Event::InitDone] {
            writer.apply_watcher_event(&event);
        }
        let gone = names.follow(&Event::InitDone, &reader);
        assert_eq!(gone, [("goes".into(), key_of(&goes))]);
        assert!(names.is_wanted("stays") && !names.is_wanted("goes"));
    }
}
