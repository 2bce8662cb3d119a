//! The decisions of rolectl: pure functions of Kubernetes objects, of the state in AWS and of a time that the caller passes in.
//!
//! The crate has no Kubernetes client, no AWS SDK, no runtime and no clock; a test reads the dependency tree. The controller and
//! `rolectl plan` call the same functions, so they make the same decisions, and each rule has unit tests without a cluster.
//!
//! The data takes this way: [`selection`] finds the accounts of an `IamRole`, [`role::desired`] fills in its spec for one account,
//! [`snapshot`] has the role as AWS has it, [`role::admission`] decides whether the role may be changed, [`role::plan`] returns
//! the changes, [`rollout`] decides in which accounts they may be made now, and [`status`] reports the result.
//!
//! The imports between the modules, each of which uses only modules below it. The modules [`policy`], [`role`] and [`snapshot`]
//! show the modules in their folders. A test compares these pictures with the imports.
//!
//! ```text
//! snapshot -> role
//! widening -> digest, policy, role
//! removals -> names
//! role -> arn, bounded, digest, glob, names, policy, selection, spelling, variables
//! rollout -> bounded, selection
//! names -> digest
//! policy -> bounded, glob, spelling
//! selection -> spelling
//! status -> bounded, conditions
//! arn
//! bounded
//! causes
//! conditions
//! digest
//! forget
//! glob
//! spelling
//! variables
//! ```

pub mod arn;
pub mod bounded;
pub mod causes;
pub mod conditions;
pub mod digest;
pub mod forget;
pub mod glob;
pub mod names;
pub mod policy;
pub mod removals;
pub mod role;
pub mod rollout;
pub mod selection;
pub mod snapshot;
pub mod spelling;
pub mod status;
pub mod variables;
pub mod widening;

#[cfg(test)]
pub(crate) mod fixtures;
