//! What a process that holds credentials sees to.

/// Sees to it that no core dump is written of a process that holds credentials.
pub fn forbid_core_dumps() {
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let limited = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    // A handler that dumps are piped to is not bound by the limit.
    #[cfg(target_os = "linux")]
    let limited = limited.and(rustix::process::set_dumpable_behavior(
        rustix::process::DumpableBehavior::NotDumpable,
    ));
    if let Err(error) = limited {
        tracing::warn!(%error, "a core dump of this process would hold its credentials, and cannot be forbidden");
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn no_core_dump_is_made_of_a_process_that_forbids_it() {
        use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
        super::forbid_core_dumps();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
    }
}
