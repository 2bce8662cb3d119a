//! One file a verb: raw flags, then settings, then the work.

pub mod lock;
pub mod status;
pub mod unlock;
