//! rolectl keeps AWS IAM roles right in many accounts, on credentials that only an operator's MFA code unlocks.
//!
//! ```text
//! IamRole ----.
//! AwsAccount -+-> reconcile -> assignments -> actors (rolectl_aws) -> reports -> status, events, metrics
//! MfaSession -'                                 sweep -> propose -> carry out
//! Secret ------------> sessions ----------------^ (IO)   (pure)     (IO)
//! ```
//!
//! - [`rolectl_core`]: pure. What a role should be, what it is, and the changes between them.
//! - [`rolectl_aws`]: AWS. Sessions, and an actor for each account that reads and writes it.
//! - [`reconcile`]: the only home of kube's runtime. A folder or module for each kind.
//! - [`rolectl_kube`]: objects of the API server, each parsed alone.
//! - [`reference`]: the pages of `docs/reference`, made from the code. Pure.
//! - [`args`], [`health`], [`metrics`], [`telemetry`]: the edges of the `rolectl-controller` process.
//!
//! The operator's tool is the crate `rolectl` in `cli/`. It does not depend on this crate.

pub mod args;
pub mod health;
pub mod metrics;
pub mod reconcile;
pub mod reference;
pub mod telemetry;
