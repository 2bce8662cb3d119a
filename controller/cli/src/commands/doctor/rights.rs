//! Asks the API server for the user's rights.

use futures::future::join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use rolectl_crds::GROUP;

use super::check::Check;
use crate::cluster::{Flags, failed};
use crate::failure::Failure;

pub const NAME: &str = "rights";

/// A right, and who has it.
struct Right {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    /// `None` for all namespaces, and for kinds without one.
    namespace: Option<String>,
    name: Option<String>,
    /// What needs the right.
    needed_for: &'static str,
    /// Where the right is given.
    given_by: String,
    weight: Weight,
}

/// How bad it is if a right is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    Needed,
    Useful,
    /// Many users do without it.
    Optional,
}

impl Right {
    fn text(&self) -> String {
        let name = self
            .name
            .as_ref()
            .map_or_else(String::new, |name| format!(" {name}"));
        let place = self
            .namespace
            .as_ref()
            .map_or_else(String::new, |namespace| format!(" in namespace {namespace}"));
        format!("{} {}{name}{place}", self.verb, self.resource)
    }

    async fn is_given(&self, client: &Client) -> Result<bool, Failure> {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some(self.group.to_owned()),
                    namespace: self.namespace.clone(),
                    verb: Some(self.verb.to_owned()),
                    resource: Some(self.resource.to_owned()),
                    name: self.name.clone(),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
        let answer = api.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|e| failed("ask for your permissions", &e))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    fn missing(&self) -> Check {
        let message = format!("you may not {}, needed for {}", self.text(), self.needed_for);
        let next = format!("ask for {} (deploy/rbac/users.yaml)", self.given_by);
        match self.weight {
            Weight::Needed => Check::failed(NAME, message, next),
            Weight::Useful => Check::warning(NAME, message, next),
            Weight::Optional => Check::skipped(NAME, format!("{message}; {} gives it", self.given_by)),
        }
    }
}

fn rights(namespace: &str, controller_namespace: &str) -> Vec<Right> {
    let of_kind = |verb, resource, needed_for, weight| Right {
        verb,
        group: GROUP,
        resource,
        namespace: None,
        name: None,
        needed_for,
        given_by: "the ClusterRole rolectl-operator".to_owned(),
        weight,
    };
    let of_secret = |verb| Right {
        verb,
        group: "",
        resource: "secrets",
        namespace: Some(controller_namespace.to_owned()),
        name: Some("rolectl-session-default".to_owned()),
        needed_for: "rolectl unlock",
        given_by: format!("the Role rolectl-unlock in namespace {controller_namespace}"),
        weight: Weight::Useful,
    };
    vec![
        Right {
            namespace: Some(namespace.to_owned()),
            given_by: format!("the ClusterRole rolectl-view in namespace {namespace}"),
            ..of_kind("list", "iamroles", "every verb about roles", Weight::Needed)
        },
        of_kind(
            "list",
            "iamroles",
            "rolectl plan of all namespaces",
            Weight::Optional,
        ),
        of_kind("list", "awsaccounts", "rolectl plan and status", Weight::Useful),
        of_kind(
            "list",
            "mfasessions",
            "rolectl unlock, plan and status",
            Weight::Useful,
        ),
        of_secret("create"),
        of_secret("patch"),
        Right {
            namespace: Some(namespace.to_owned()),
            given_by: format!("the ClusterRole rolectl-edit in namespace {namespace}"),
            ..of_kind(
                "patch",
                "iamroles",
                "rolectl suspend, resume and reconcile",
                Weight::Optional,
            )
        },
    ]
}

pub async fn checks(client: &Client, flags: &Flags) -> Vec<Check> {
    let all = rights(client.default_namespace(), &flags.controller_namespace);
    let answers = join_all(all.iter().map(|right| right.is_given(client))).await;
    let (mut given, mut checks) = (vec![], vec![]);
    for (right, answer) in all.iter().zip(answers) {
        match answer {
            Ok(true) => given.push(right.text()),
            Ok(false) => checks.push(right.missing()),
            // The others fail in the same way.
            Err(failure) => return vec![Check::of_failure(NAME, &failure)],
        }
    }
    if !given.is_empty() {
        checks.insert(0, Check::ok(NAME, format!("you may {}", given.join(", "))));
    }
    checks
}
