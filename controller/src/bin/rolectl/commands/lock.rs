//! `rolectl lock`

use clap::Args;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::DeleteParams;

use crate::cluster;
use crate::failure::Failure;

/// Take the session away from the controller
///
/// Deletes the Secret. The controller makes no further AWS call, and roles stay as they are. The session itself
/// lives on in AWS until its end; nobody has its credentials any more.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rolectl lock")]
pub struct Lock {
    /// Name of the MfaSession
    #[arg(long, default_value = "default")]
    session: String,
}

impl Lock {
    pub async fn run(self, flags: &cluster::Flags) -> Result<(), Failure> {
        let client = flags.client().await?;
        let session = cluster::session(&client, &self.session).await?;
        let secret = session.secret_name();
        let api: Api<Secret> = Api::namespaced(client, &flags.namespace);
        match api.delete(&secret, &DeleteParams::default()).await {
            Ok(_) => println!(
                "Locked session {}: the controller makes no further AWS call.",
                self.session
            ),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                println!("Session {} was locked already.", self.session);
            }
            Err(error) => {
                return Err(cluster::failed(
                    &format!("delete Secret {}/{secret}", flags.namespace),
                    &error,
                ));
            }
        }
        Ok(())
    }
}
