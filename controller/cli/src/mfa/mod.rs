//! Opens sessions with the operator's long-term key and a code of an MFA device.

mod caller;
mod code;
mod flags;
mod session;

pub use caller::Caller;
pub use flags::{CodeFlags, duration_seconds, positive_duration, role_arn};
pub use session::assumed_role_arn;
