//! Trust in the pods of Kubernetes clusters.

use clap::Args;

use rolectl_core::arn::{arn_account, arn_partition};

use super::check::{audience, cluster_arn, issuer, refuse_wildcard, service_account};
use super::ci::web_identity;
use super::document::TrustPolicy;
use super::{HomeFlags, OutputFlags, Written};
use crate::failure::Failure;
use crate::values::namespace;

/// Trust a service account of a cluster by its tokens (IRSA)
///
/// The account needs an OIDC provider for the cluster. `aws eks describe-cluster --query cluster.identity.oidc.issuer` prints it.
#[derive(Debug, Args)]
#[command(
    override_usage = "rolectl policy trust irsa [OPTIONS] --oidc-provider <ISSUER>
         --namespace <NAMESPACE> --service-account <NAME>"
)]
#[command(after_help = "Example:
  rolectl policy trust irsa --oidc-provider oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLE \\
    --namespace apps --service-account web --account-id 222222222222

Exit codes: 0 printed, 2 a value is refused.")]
pub(super) struct Irsa {
    /// Issuer of the cluster's tokens, HOST/id/ID
    #[arg(long, value_name = "ISSUER", value_parser = issuer)]
    oidc_provider: String,
    /// Namespace of the service account
    #[arg(long, short, value_parser = namespace)]
    namespace: String,
    /// Name of the service account
    #[arg(long, value_name = "NAME", value_parser = service_account)]
    service_account: String,
    /// Accept `*` and `?` in the name of the service account
    #[arg(long)]
    allow_wildcard: bool,
    /// Audience of the tokens
    #[arg(long, default_value = "sts.amazonaws.com", value_parser = audience)]
    audience: String,
    #[command(flatten)]
    pub(super) home: HomeFlags,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

impl Irsa {
    /// Follows
    /// [IAM roles for service accounts](https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html).
    pub(super) fn policy(&self, account: &str) -> Result<Written, Failure> {
        check_namespace(&self.namespace)?;
        refuse_wildcard("service account", &self.service_account, self.allow_wildcard)?;
        Ok(web_identity(
            self.output.partition.name,
            account,
            &self.oidc_provider,
            &self.audience,
            format!(
                "system:serviceaccount:{}:{}",
                self.namespace, self.service_account
            ),
        )
        .into())
    }
}

/// Trust pods of EKS clusters in the role's account (EKS Pod Identity)
///
/// An association of EKS connects the role with a service account. Name what may be associated, or give --any-pod.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl policy trust pod-identity --namespace apps --service-account web
  rolectl policy trust pod-identity --cluster-arn arn:aws:eks:eu-central-1:222222222222:cluster/main

Exit codes: 0 printed, 2 a value is refused.")]
pub(super) struct PodIdentity {
    /// Only pods of this cluster
    #[arg(long, value_name = "ARN", value_parser = cluster_arn, required_unless_present_any = ["namespace", "any_pod"])]
    cluster_arn: Option<String>,
    /// Only pods of this namespace
    #[arg(long, short, value_parser = namespace)]
    namespace: Option<String>,
    /// Only pods with this service account
    #[arg(long, value_name = "NAME", value_parser = service_account, requires = "namespace")]
    service_account: Option<String>,
    /// Accept `*` and `?` in the name of the service account
    #[arg(long)]
    allow_wildcard: bool,
    /// Every pod that somebody with iam:PassRole associates
    #[arg(long, conflicts_with_all = ["cluster_arn", "namespace"])]
    any_pod: bool,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

impl PodIdentity {
    /// Follows [the role of EKS Pod Identity](https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html), its
    /// [session tags](https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html), and
    /// [the source of a request](https://aws.amazon.com/blogs/containers/amazon-eks-pod-identity-a-new-way-for-applications-on-eks-to-obtain-iam-credentials/).
    pub(super) fn policy(&self) -> Result<Written, Failure> {
        let mut policy = TrustPolicy::of(
            "Service",
            "pods.eks.amazonaws.com".to_owned(),
            &["sts:AssumeRole", "sts:TagSession"],
        );
        if let Some(arn) = &self.cluster_arn {
            if arn_partition(arn) != self.output.partition.name {
                return Err(Failure::new(
                    format!(
                        "the cluster {arn} is not in the partition {}",
                        self.output.partition.name
                    ),
                    format!("give --partition {}", arn_partition(arn)),
                )
                .usage());
            }
            policy = policy
                .with("StringEquals", "aws:SourceAccount", arn_account(arn))
                .with("ArnEquals", "aws:SourceArn", arn);
        }
        if let Some(namespace) = &self.namespace {
            check_namespace(namespace)?;
            policy = policy.with_text("aws:RequestTag/kubernetes-namespace", namespace);
        }
        if let Some(account) = &self.service_account {
            refuse_wildcard("service account", account, self.allow_wildcard)?;
            policy = policy.with_text("aws:RequestTag/kubernetes-service-account", account);
        }
        let mut written = Written::from(policy);
        if self.namespace.is_some() {
            written.notes.push(
                "the association must have session tags, which disableSessionTags turns off".to_owned(),
            );
        }
        Ok(written)
    }
}

/// Checks a namespace. The parser of this flag has not seen one in front of the verb, where `-n` is a flag of all verbs.
fn check_namespace(text: &str) -> Result<(), Failure> {
    match namespace(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::new(format!("--namespace {text}: {error}"), "correct it").usage()),
    }
}
