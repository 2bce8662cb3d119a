//! The commands, one file for each. A file has the flags of its command and the function that runs it.

pub mod apply;
pub mod approve;
pub mod bootstrap;
pub mod credential_process;
pub mod describe;
pub mod diff;
pub mod doctor;
pub mod events;
pub mod exec;
pub mod explain;
pub mod forget;
pub mod get;
pub mod import;
pub mod init;
pub mod lint;
pub mod lock;
pub mod man;
pub mod plan;
pub mod policy;
pub mod request;
pub mod rollout;
pub mod shell;
pub mod status;
pub mod unlock;
pub mod version;
pub mod whoami;
