//! Reads the session that `rolectl unlock` stored in the cluster.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use rolectl_aws::api::Aws;
use rolectl_aws::principal::check_principal;
use rolectl_aws::session::SessionSecret;
use rolectl_core::arn::arn_partition;
use rolectl_crds::MfaSession;

/// Returns the stored session of an `MfaSession`. Returns `None` where the user may not read it, and where it has expired or is
/// not the session that the object describes.
pub(super) async fn stored(
    client: &Client,
    namespace: &str,
    session: &MfaSession,
    aws: &dyn Aws,
) -> Option<SessionSecret> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = api.get_opt(&session.secret_name()).await.ok().flatten()?;
    let session_secret = SessionSecret::from_secret(secret).ok()?;
    if session_secret.expires_at <= Timestamp::now() {
        return None;
    }
    confirmed(session_secret, session, aws).await
}

/// Returns the session if AWS confirms that it belongs to the principal that the object describes. The ARN in the Secret is no
/// proof.
async fn confirmed(
    mut session_secret: SessionSecret,
    session: &MfaSession,
    aws: &dyn Aws,
) -> Option<SessionSecret> {
    let partition = arn_partition(&session_secret.principal_arn);
    let sts = aws.sts(
        session_secret.credentials(),
        partition,
        session.spec.region.as_deref(),
    );
    // An empty ARN fits no session.
    session_secret.principal_arn = sts.ok()?.get_caller_identity().await.ok()?;
    check_principal(&session.spec, &session_secret.principal_arn).ok()?;
    Some(session_secret)
}
