//! One file a verb: raw flags, then settings, then the work.

pub mod lint;
pub mod lock;
pub mod policy;
pub mod status;
pub mod unlock;
