//! Attacks by a tenant who may do nothing but edit IamRoles in one namespace, and what must not come of them.

mod bounds;
mod cli;
