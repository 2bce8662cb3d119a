//! rolectl keeps AWS IAM roles right in many accounts, on credentials that only an operator's MFA code unlocks.
//!
//! ```text
//! IamRole ----.
//! AwsAccount -+ watch -> resolve -> desired -.
//! MfaSession -'  (IO)               (pure)    +-> plan -> apply -> status -> patch
//! Secret -- session -> credentials -> sweep -> observed   (pure)  (IO)     (pure)    (IO)
//!           (STS, cached)           (2 calls a page)
//! ```
//!
//! - [`rolectl_core`]: pure. What a role should be, what it is, and the changes between them.
//! - [`rolectl_aws`]: AWS. Sessions, accounts, sweeps, applying plans.
//! - [`reconcile`]: the only home of kube's runtime. One module a kind.
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
