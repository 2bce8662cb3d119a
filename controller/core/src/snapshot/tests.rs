//! What a snapshot answers after sweeps and writes in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rolectl_crds::OWNER_TAG;

use super::*;
use crate::role::observed::ObservedDocument;

fn role(name: &str, description: &str) -> ObservedRole {
    ObservedRole {
        name: name.into(),
        arn: String::new(),
        role_id: "AROA1".into(),
        path: "/".into(),
        description: description.into(),
        max_session_duration: 3600,
        trust: ObservedDocument::Unreadable(String::new()),
        managed_policies: BTreeSet::new(),
        inline_policies: BTreeMap::new(),
        permissions_boundary: None,
        tags: BTreeMap::from([(OWNER_TAG.into(), "c/ns/app".into())]),
        instance_profiles: BTreeSet::new(),
    }
}

fn description(snapshot: &Snapshot, name: &str) -> Option<String> {
    match snapshot.lookup(name) {
        Lookup::Present(role, _) => Some(role.unpack()?.description),
        _ => None,
    }
}

fn swept(roles: &[ObservedRole], unsettled: &[&str]) -> Swept {
    let mut swept = Swept {
        unsettled: unsettled.iter().map(|name| (*name).to_owned()).collect(),
        ..Swept::default()
    };
    for role in roles {
        swept.add(role.name.to_lowercase(), role, None);
    }
    swept
}

#[test]
fn every_role_is_unknown_before_the_first_sweep_and_an_unlisted_one_is_absent_after_it() {
    let mut s = Snapshot::new("c/");
    assert_eq!(s.lookup("app"), Lookup::Unknown);
    let start = s.begin_sweep(Instant::now());
    let merge = s.merge(start, swept(&[role("App", "a")], &[]));
    assert_eq!((merge.managed, merge.unmanaged, merge.look_again), (1, 0, None));
    assert_eq!(
        description(&s, "aPP").as_deref(),
        Some("a"),
        "names are unique without case"
    );
    assert_eq!(s.lookup("other"), Lookup::Absent);
}

#[test]
fn a_sweep_that_began_before_a_write_does_not_undo_it() {
    let mut s = Snapshot::new("c/");
    let now = Instant::now();
    let start = s.begin_sweep(now);
    s.wrote("app", Some(role("app", "new")), now + Duration::from_millis(5));
    let merge = s.merge(start, swept(&[role("app", "old")], &[]));
    assert_eq!(description(&s, "app").as_deref(), Some("new"));
    assert!(merge.look_again.is_some());
}

#[test]
fn a_sweep_soon_after_a_write_trusts_the_write_and_a_later_one_trusts_aws() {
    let mut s = Snapshot::new("c/");
    let now = Instant::now();
    s.wrote("app", Some(role("app", "new")), now);
    let soon = s.begin_sweep(now + Duration::from_secs(4));
    assert_eq!(
        s.merge(soon, swept(&[], &[])).look_again,
        Some(Duration::from_secs(6))
    );
    assert_eq!(description(&s, "app").as_deref(), Some("new"));
    let later = s.begin_sweep(now + GRACE);
    assert_eq!(s.merge(later, swept(&[], &[])).look_again, None);
    assert_eq!(s.lookup("app"), Lookup::Absent);
}

#[test]
fn a_sweep_that_has_caught_up_requests_no_other() {
    let mut s = Snapshot::new("c/");
    let now = Instant::now();
    s.wrote("app", Some(role("app", "new")), now);
    s.wrote("deleted", None, now);
    let soon = s.begin_sweep(now + Duration::from_secs(1));
    assert_eq!(s.merge(soon, swept(&[role("app", "new")], &[])).look_again, None);
}

#[test]
fn a_deleted_role_that_a_lagging_sweep_still_lists_stays_deleted() {
    let mut s = Snapshot::new("c/");
    let now = Instant::now();
    s.wrote("app", None, now);
    let soon = s.begin_sweep(now + Duration::from_secs(1));
    s.merge(soon, swept(&[role("app", "ghost")], &[]));
    assert_eq!(s.lookup("app"), Lookup::Absent);
}

#[test]
fn a_sweep_that_began_before_an_invalidation_does_not_end_it() {
    let mut s = Snapshot::new("c/");
    let now = Instant::now();
    let start = s.begin_sweep(now);
    s.invalidate("app", now + Duration::from_millis(5));
    assert!(
        s.merge(start, swept(&[role("app", "old")], &[]))
            .look_again
            .is_some()
    );
    assert_eq!(s.lookup("app"), Lookup::Unknown);
    let next = s.begin_sweep(now + Duration::from_secs(1));
    s.merge(next, swept(&[role("app", "now")], &[]));
    assert_eq!(description(&s, "app").as_deref(), Some("now"));
}

#[test]
fn an_absence_soon_after_an_invalidation_may_be_an_old_read() {
    let mut s = Snapshot::new("c/");
    let now = Instant::now();
    s.invalidate("app", now);
    let soon = s.begin_sweep(now + Duration::from_secs(3));
    assert_eq!(
        s.merge(soon, swept(&[], &[])).look_again,
        Some(Duration::from_secs(7))
    );
    assert_eq!(s.lookup("app"), Lookup::Unknown);
    let later = s.begin_sweep(now + GRACE);
    s.merge(later, swept(&[], &[]));
    assert_eq!(s.lookup("app"), Lookup::Absent);
}

#[test]
fn a_role_that_only_one_list_shows_is_unknown_until_the_next_sweep() {
    let mut s = Snapshot::new("c/");
    let start = s.begin_sweep(Instant::now());
    assert!(s.merge(start, swept(&[], &["app"])).look_again.is_some());
    assert_eq!(s.lookup("app"), Lookup::Unknown);
}

#[test]
fn an_invalidated_role_counts_against_the_limits_until_the_next_sweep() {
    let mut s = Snapshot::new("c/");
    let now = Instant::now();
    assert_eq!(s.reserve("unclear", Some(1), None), Ok(()));
    s.invalidate("unclear", now);
    s.release("unclear");
    assert_eq!(
        s.reserve("other", Some(1), None),
        Err(Full::Guardrail { limit: 1, count: 1 })
    );
    let start = s.begin_sweep(now + GRACE);
    s.merge(start, swept(&[], &[]));
    assert_eq!(s.reserve("other", Some(1), None), Ok(()));
}

#[test]
fn concurrent_creations_do_not_exceed_a_limit_together() {
    let mut s = Snapshot::new("c/");
    let now = Instant::now();
    s.wrote("one", Some(role("one", "")), now);
    assert_eq!(s.reserve("two", Some(3), None), Ok(()));
    assert_eq!(s.reserve("three", Some(3), None), Ok(()));
    assert_eq!(
        s.reserve("TWO", Some(3), None),
        Ok(()),
        "it has a reservation already"
    );
    assert_eq!(
        s.reserve("four", Some(3), None),
        Err(Full::Guardrail { limit: 3, count: 3 })
    );
    s.wrote("two", Some(role("two", "")), now);
    s.release("two");
    assert_eq!(
        s.reserve("four", Some(3), None),
        Err(Full::Guardrail { limit: 3, count: 3 })
    );
    s.release("three");
    assert_eq!(
        s.reserve("four", Some(3), None),
        Ok(()),
        "a failed creation ends its reservation"
    );
    s.wrote("one", None, now);
    assert_eq!(
        s.reserve("five", Some(3), Some(2)),
        Err(Full::Quota { limit: 2, count: 2 })
    );
    let start = s.begin_sweep(now + GRACE);
    s.merge(start, swept(&[], &[]));
    assert_eq!(
        s.reserve("five", Some(3), Some(2)),
        Ok(()),
        "a sweep counts from the start"
    );
}

fn untagged(role_id: &str) -> ObservedRole {
    let mut role = role("app", "");
    role.tags.clear();
    role.role_id = role_id.into();
    role
}

fn sweep(s: &mut Snapshot, at: Instant, roles: &[ObservedRole]) {
    let start = s.begin_sweep(at);
    s.merge(start, swept(roles, &[]));
}

#[test]
fn nobody_has_a_claim_to_a_role_that_this_process_never_saw_with_an_owner_tag() {
    let mut s = Snapshot::new("c/");
    sweep(&mut s, Instant::now(), &[untagged("AROA1")]);
    assert_eq!(s.claimed("app", "c/ns/app"), None);
}

#[test]
fn a_claim_outlives_sweeps_and_belongs_to_one_unique_id_and_one_owner() {
    let mut s = Snapshot::new("c/");
    let now = Instant::now();
    sweep(&mut s, now, &[role("app", "")]);
    assert_eq!(s.claimed("app", "c/ns/app"), None, "the tag itself decides");
    for n in 1..4 {
        sweep(&mut s, now + GRACE * n, &[untagged("AROA1")]);
        assert_eq!(s.claimed("APP", "c/ns/app").as_deref(), Some("AROA1"));
        assert_eq!(s.claimed("app", "c/ns/other"), None);
    }
    s.invalidate_all();
    s.invalidate("app", now + GRACE * 4);
    sweep(&mut s, now + GRACE * 6, &[untagged("AROA1")]);
    assert_eq!(s.claimed("app", "c/ns/app").as_deref(), Some("AROA1"));
    sweep(&mut s, now + GRACE * 7, &[untagged("AROA2")]);
    assert_eq!(
        s.claimed("app", "c/ns/app"),
        None,
        "another role of the same name"
    );
    sweep(&mut s, now + GRACE * 8, &[untagged("AROA1")]);
    assert_eq!(s.claimed("app", "c/ns/app"), None);
}

#[test]
fn a_claim_ends_with_a_new_owner_tag_with_the_role_and_with_a_write_that_removes_the_tag() {
    let now = Instant::now();
    let claimed = || {
        let mut s = Snapshot::new("c/");
        sweep(&mut s, now, &[role("app", "")]);
        sweep(&mut s, now + GRACE, &[untagged("AROA1")]);
        s
    };
    let mut foreign = untagged("AROA1");
    foreign.tags = BTreeMap::from([(OWNER_TAG.into(), "other/ns/app".into())]);
    for then in [vec![foreign], vec![]] {
        let mut s = claimed();
        sweep(&mut s, now + GRACE * 2, &then);
        sweep(&mut s, now + GRACE * 3, &[untagged("AROA1")]);
        assert_eq!(s.claimed("app", "c/ns/app"), None, "{then:?}");
    }
    let mut s = claimed();
    s.wrote("app", Some(untagged("AROA1")), now + GRACE * 2);
    assert!(s.claimed("app", "c/ns/app").is_some(), "a repair has begun");
    s.wrote("app", Some(role("app", "")), now + GRACE * 2);
    s.wrote("app", Some(untagged("AROA1")), now + GRACE * 2);
    assert_eq!(s.claimed("app", "c/ns/app"), None, "retained");
    sweep(&mut s, now + GRACE * 4, &[untagged("AROA1")]);
    assert_eq!(s.claimed("app", "c/ns/app"), None);
    let mut s = claimed();
    s.end_claims("c/ns/app");
    assert_eq!(s.claimed("app", "c/ns/app"), None);
}

#[test]
fn a_claim_outlives_a_change_of_the_accounts_spec() {
    let mut s = Snapshot::new("c/");
    let now = Instant::now();
    sweep(&mut s, now, &[role("app", "")]);
    let mut next = Snapshot::new("c/");
    next.inherit_claims(&s);
    sweep(&mut next, now + GRACE, &[untagged("AROA1")]);
    assert_eq!(next.claimed("app", "c/ns/app").as_deref(), Some("AROA1"));
}

#[test]
fn a_snapshot_cannot_tell_whether_an_owner_has_a_role_before_a_sweep_and_after_an_invalidation() {
    let mut s = Snapshot::new("c/");
    let now = Instant::now();
    assert_eq!(s.may_have_role_of("app", "c/ns/app"), None);
    sweep(&mut s, now, &[]);
    assert_eq!(s.may_have_role_of("app", "c/ns/app"), Some(false));
    s.invalidate("app", now);
    assert_eq!(s.may_have_role_of("app", "c/ns/app"), None);
    s.wrote("app", Some(role("app", "")), now);
    assert_eq!(s.may_have_role_of("app", "c/ns/app"), Some(true));
}

#[test]
fn a_write_before_an_invalidation_is_not_undone_by_a_read_that_may_be_older() {
    let mut s = Snapshot::new("c/");
    let now = Instant::now();
    s.wrote("app", Some(role("app", "new")), now);
    s.invalidate("app", now + Duration::from_secs(1));
    let soon = s.begin_sweep(now + Duration::from_secs(2));
    let merge = s.merge(soon, swept(&[role("app", "old")], &[]));
    assert_eq!(s.lookup("app"), Lookup::Unknown);
    assert_eq!(merge.look_again, Some(Duration::from_secs(9)));
    let later = s.begin_sweep(now + Duration::from_secs(11));
    s.merge(later, swept(&[role("app", "new")], &[]));
    assert_eq!(description(&s, "app").as_deref(), Some("new"));
}

#[test]
fn a_role_that_a_sweep_shows_soon_after_an_invalidation_is_read_again() {
    let mut s = Snapshot::new("c/");
    let now = Instant::now();
    s.invalidate("app", now);
    let soon = s.begin_sweep(now + Duration::from_secs(4));
    let merge = s.merge(soon, swept(&[role("app", "old")], &[]));
    assert_eq!(description(&s, "app").as_deref(), Some("old"));
    assert_eq!(merge.look_again, Some(Duration::from_secs(6)));
}

#[test]
fn a_new_snapshot_does_not_believe_reads_that_may_be_older_than_a_write_on_the_earlier_one() {
    let mut s = Snapshot::new("c/");
    let now = Instant::now();
    s.wrote("young", Some(role("young", "new")), now + Duration::from_secs(8));
    s.wrote("old", Some(role("old", "new")), now);
    s.invalidate("unclear", now + Duration::from_secs(8));
    let mut next = Snapshot::new("c/");
    let then = now + Duration::from_secs(12);
    next.inherit_writes(&s, then);
    let start = next.begin_sweep(then);
    let merge = next.merge(start, swept(&[], &[]));
    assert_eq!(next.lookup("young"), Lookup::Unknown);
    assert_eq!(next.lookup("unclear"), Lookup::Unknown);
    assert_eq!(next.lookup("old"), Lookup::Absent);
    assert_eq!(merge.look_again, Some(Duration::from_secs(6)));
}

#[test]
fn what_this_process_did_to_a_profile_is_remembered_for_a_minute() {
    let mut snapshot = Snapshot::new("c/");
    let start = Instant::now();
    let later = start + Duration::from_secs(59);
    let too_late = start + Duration::from_secs(61);
    let ours = RecentProfile::BelongsTo("c/team/app".to_owned());
    snapshot.record_profile("App", Some(ours.clone()), start);
    assert_eq!(snapshot.recent_profile("app", later), Some((ours, start)));
    assert_eq!(snapshot.recent_profile("app", too_late), None);
    snapshot.record_profile("app", Some(RecentProfile::Released), start);
    assert_eq!(
        snapshot.recent_profile("APP", later),
        Some((RecentProfile::Released, start))
    );
    snapshot.record_profile("app", None, start);
    assert_eq!(snapshot.recent_profile("app", start), None);
}
