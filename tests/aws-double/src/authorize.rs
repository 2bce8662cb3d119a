//! Who decides what: dispatch evaluates identity policies, the `AssumeRole` handler the trust policy.
use std::cell::RefCell;
use std::sync::Arc;

use fakecloud_core::auth::ResourcePolicyProvider;

thread_local! {
    /// Account of the caller being authorized: set in `iam_actions_for`, read by `Trust`.
    /// dispatch calls both on one thread with no await in between.
    pub static CALLER: RefCell<String> = const { RefCell::new(String::new()) };
}
/// GetCallerIdentity and GetSessionToken need no permission on AWS; strict mode wants one.
/// They are evaluated on this pseudo resource, whose "resource policy" allows everybody
/// (an explicit identity Deny on `*` still wins).
pub const PUBLIC: &str = "arn:aws:sts:::public";

/// Replaces `StsResourcePolicyProvider`. The AssumeRole handler evaluates the whole trust
/// policy itself, with ExternalId and TokenCode, which dispatch's own evaluation lacks. So
/// cross-account, dispatch only decides the identity half; same-account it gets the real one.
pub struct Trust(pub Arc<dyn ResourcePolicyProvider>);
impl ResourcePolicyProvider for Trust {
    fn resource_policy(&self, service: &str, arn: &str) -> Option<String> {
        if service != "sts" {
            return None;
        }
        let real = if arn == PUBLIC {
            String::new()
        } else {
            self.0.resource_policy(service, arn)?
        };
        let same = CALLER.with(|c| arn.split(':').nth(4) == Some(c.borrow().as_str()));
        Some(if same {
            real
        } else {
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:*","Resource":"*"}]}"#.into()
        })
    }
}
