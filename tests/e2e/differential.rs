//! Sends the same random requests to the simulation's model of IAM and to aws-double, the IAM of the end-to-end tests, and compares the
//! answers and the roles that result. So neither drifts away from AWS alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use percent_encoding::percent_decode_str;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rolectl_aws::api::{Answer, Aws as _, DetailedRole, Iam, Page};
use rolectl_aws::clock::{Clock, now};
use rolectl_core::policy::Document;
use rolectl_core::role::DesiredRole;
use rolectl_crds::{Adoption, DriftPolicy, Ensure, Exclusive};
use serde_json::{Value, json};
use simulation::aws::client::SimulatedAws;
use simulation::aws::fault::FaultProfile;
use simulation::aws::iam::Limits;
use simulation::aws::service::Service;
use simulation::journal::Journal;

/// Sequences of requests, each in an account of its own.
const SEQUENCES: u64 = 8;
/// Requests of a sequence.
const REQUESTS: usize = 150;
/// Few names, so that requests meet each other.
const ROLES: [&str; 3] = ["app", "job", "web"];
const PROFILES: [&str; 2] = ["host", "node"];
/// The same names in another case. IAM refuses to create a role whose name differs in case only.
const NAMESAKES: [&str; 3] = ["App", "JOB", "weB"];
const INLINE: [&str; 2] = ["read", "write"];
const MANAGED: [&str; 4] = [
    "ReadOnlyAccess",
    "SecurityAudit",
    "PowerUserAccess",
    "AdministratorAccess",
];
const LIMITS: Limits = Limits {
    roles: 2,
    attached: 2,
};

#[derive(Clone, Debug)]
enum Request {
    CreateRole(&'static str, String, Option<String>),
    DeleteRole(&'static str),
    UpdateRole(&'static str, String, i32),
    UpdateTrust(&'static str, String),
    TagRole(&'static str, BTreeMap<String, String>),
    UntagRole(&'static str, BTreeSet<String>),
    PutBoundary(&'static str, String),
    DeleteBoundary(&'static str),
    Attach(&'static str, String),
    Detach(&'static str, String),
    PutInline(&'static str, &'static str, String),
    DeleteInline(&'static str, &'static str),
    GetRole(&'static str),
    CreateProfile(&'static str, BTreeMap<String, String>),
    DeleteProfile(&'static str),
    AddToProfile(&'static str, &'static str),
    RemoveFromProfile(&'static str, &'static str),
    TagProfile(&'static str, BTreeMap<String, String>),
    UntagProfile(&'static str, String),
    GetProfile(&'static str),
}

fn one_of<T: Clone>(rng: &mut StdRng, all: &[T]) -> T {
    all[rng.random_range(0..all.len())].clone()
}

fn policy(name: &str) -> String {
    format!("arn:aws:iam::aws:policy/{name}")
}

fn trust(rng: &mut StdRng) -> String {
    let service = one_of(rng, &["ec2.amazonaws.com", "lambda.amazonaws.com"]);
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]})
    .to_string()
}

fn tags(rng: &mut StdRng) -> BTreeMap<String, String> {
    let (key, value) = (one_of(rng, &["team", "owner"]), one_of(rng, &["a", "b"]));
    [(key.to_owned(), value.to_owned())].into()
}

impl Request {
    fn draw(rng: &mut StdRng) -> Self {
        let (role, profile) = (one_of(rng, &ROLES), one_of(rng, &PROFILES));
        let inline = one_of(rng, &INLINE);
        let managed = policy(one_of(rng, &MANAGED));
        match rng.random_range(0..25) {
            0..4 => Self::CreateRole(role, trust(rng), rng.random::<bool>().then_some(managed)),
            4 | 5 => Self::DeleteRole(role),
            6 => Self::UpdateRole(
                role,
                one_of(rng, &["", "text"]).to_owned(),
                3600 * rng.random_range(1..4),
            ),
            7 => Self::UpdateTrust(role, trust(rng)),
            8 => Self::TagRole(role, tags(rng)),
            9 => Self::UntagRole(role, tags(rng).into_keys().collect()),
            10 => Self::PutBoundary(role, managed),
            11 => Self::DeleteBoundary(role),
            12 | 13 => Self::Attach(role, managed),
            14 => Self::Detach(role, managed),
            15 => {
                let action = one_of(rng, &["s3:GetObject", "s3:PutObject"]);
                let document = json!({"Version": "2012-10-17", "Statement": [
                    {"Effect": "Allow", "Action": action, "Resource": "*"}]});
                Self::PutInline(role, inline, document.to_string())
            }
            16 => Self::DeleteInline(role, inline),
            17 => Self::GetRole(role),
            18 => Self::CreateProfile(profile, tags(rng)),
            19 => Self::DeleteProfile(profile),
            20 => Self::AddToProfile(profile, role),
            21 => Self::RemoveFromProfile(profile, role),
            22 => Self::TagProfile(profile, tags(rng)),
            23 => Self::UntagProfile(profile, one_of(rng, &["team", "owner"]).to_owned()),
            _ => Self::GetProfile(profile),
        }
    }

    const fn is_read(&self) -> bool {
        matches!(self, Self::GetRole(_) | Self::GetProfile(_))
    }

    /// Sends the request. Returns what it shows, without ids and ARNs, or the error.
    async fn send(&self, iam: &dyn Iam) -> std::result::Result<String, String> {
        fn done(answer: Answer<()>) -> Answer<String> {
            answer.map(|()| String::new())
        }
        let answer = match self {
            Self::CreateRole(name, trust, boundary) => iam
                .create_role(&desired(name, trust, boundary.clone()))
                .await
                .map(|created| created.is_some().to_string()),
            Self::DeleteRole(role) => done(iam.delete_role(role).await),
            Self::UpdateRole(role, text, seconds) => done(iam.update_role(role, text, *seconds).await),
            Self::UpdateTrust(role, trust) => done(iam.update_assume_role_policy(role, trust).await),
            Self::TagRole(role, tags) => done(iam.tag_role(role, tags).await),
            Self::UntagRole(role, keys) => done(iam.untag_role(role, keys).await),
            Self::PutBoundary(role, arn) => done(iam.put_role_permissions_boundary(role, arn).await),
            Self::DeleteBoundary(role) => done(iam.delete_role_permissions_boundary(role).await),
            Self::Attach(role, arn) => done(iam.attach_role_policy(role, arn).await),
            Self::Detach(role, arn) => done(iam.detach_role_policy(role, arn).await),
            Self::PutInline(role, name, text) => done(iam.put_role_policy(role, name, text).await),
            Self::DeleteInline(role, name) => done(iam.delete_role_policy(role, name).await),
            Self::GetRole(role) => iam.get_role(role).await.map(|role| format!("{:?}", role.tags)),
            Self::CreateProfile(name, tags) => done(iam.create_instance_profile(name, "/", tags).await),
            Self::DeleteProfile(name) => done(iam.delete_instance_profile(name).await),
            Self::AddToProfile(name, role) => done(iam.add_role_to_instance_profile(name, role).await),
            Self::RemoveFromProfile(name, role) => {
                done(iam.remove_role_from_instance_profile(name, role).await)
            }
            Self::TagProfile(name, tags) => done(iam.tag_instance_profile(name, tags).await),
            Self::UntagProfile(name, key) => done(iam.untag_instance_profile(name, key).await),
            Self::GetProfile(name) => iam.get_instance_profile(name).await.map(|it| format!("{it:?}")),
        };
        answer.map_err(|failure| {
            let code = failure.code.clone().unwrap_or_else(|| failure.message.clone());
            // The engine tells a missing role from a missing policy by the message.
            let is_about_role = !self.is_read() && failure.message.contains("role with name");
            format!("{code} {:?} about a role: {is_about_role}", failure.class)
        })
    }
}

fn desired(name: &str, trust: &str, permissions_boundary: Option<String>) -> DesiredRole {
    DesiredRole {
        name: name.to_owned(),
        path: "/".to_owned(),
        ensure: Ensure::Present,
        description: "created".to_owned(),
        max_session_duration: 3600,
        trust: Document::parse(trust).ok(),
        managed_policies: BTreeSet::new(),
        inline_policies: BTreeMap::new(),
        permissions_boundary,
        tags: [("team".to_owned(), "a".to_owned())].into(),
        instance_profile: None,
        exclusive: Exclusive::default(),
        adoption: Adoption::Never,
        drift: DriftPolicy::Correct,
        ignore_tags: vec![],
        ignore_policies: vec![],
        owner: String::new(),
        warnings: vec![],
    }
}

fn document(encoded: &str) -> Value {
    let text = percent_decode_str(encoded).decode_utf8_lossy();
    serde_json::from_str(&text).unwrap_or(Value::String(text.into_owned()))
}

/// Follows the markers of a list to its end.
async fn all<T, F>(next: impl Fn(Option<String>) -> F) -> Result<Vec<T>>
where
    F: Future<Output = Answer<Page<T>>>,
{
    let (mut found, mut marker) = (vec![], None);
    loop {
        let page = next(marker).await?;
        found.extend(page.items);
        marker = page.next;
        if marker.is_none() {
            return Ok(found);
        }
    }
}

/// Everything that a sweep reads, without ids and ARNs, and the unique id of each role.
async fn state(iam: &dyn Iam) -> Result<(Vec<Value>, BTreeMap<String, String>)> {
    let mut listed = all(|marker| iam.list_roles(marker)).await?;
    let mut detailed = all(|marker| iam.get_account_authorization_details(marker)).await?;
    // Each account of the double has service-linked roles, which the model leaves out.
    listed.retain(|role| !role.name.starts_with("AWSServiceRole"));
    detailed.retain(|role| !role.name.starts_with("AWSServiceRole"));
    let ids = detailed
        .iter()
        .map(|role| (role.name.clone(), role.role_id.clone()));
    let ids = ids.collect();
    let mut state: Vec<Value> = listed
        .iter()
        .map(|role| json!(format!("{role:?}")))
        .chain(detailed.iter().map(shown))
        .collect();
    state.sort_by_key(ToString::to_string);
    Ok((state, ids))
}

fn shown(role: &DetailedRole) -> Value {
    let inline = role.inline_policies.iter();
    let inline: BTreeMap<&String, Value> = inline.map(|(name, text)| (name, document(text))).collect();
    json!({
        "name": role.name, "path": role.path, "trust": document(&role.trust), "managed": role.managed_policies,
        "inline": inline, "boundary": role.permissions_boundary, "tags": role.tags,
        "profiles": role.instance_profiles,
    })
}

fn simulated(account: &str) -> Result<Arc<dyn Iam>> {
    let journal = Arc::new(Journal::new(false));
    let service = Service::new(1, &[account.to_owned()], LIMITS, journal, Arc::new(()));
    let key = service.with(|aws| {
        aws.profile = FaultProfile::default();
        aws.issue(account, Duration::from_hours(1))
    });
    let clock = Clock::Runtime {
        began: now(),
        start: jiff::Timestamp::now(),
    };
    let aws = SimulatedAws {
        service,
        replica: 0,
        clock,
    };
    let credentials = Credentials::new(key, "secret", None, None, "test");
    Ok(aws.iam(SharedCredentialsProvider::new(credentials), "aws")?)
}

#[tokio::test]
async fn the_model_of_the_simulation_answers_as_the_double_does() -> Result<()> {
    let double = &crate::world().await?.double;
    for sequence in 0..SEQUENCES {
        let account = format!("90000001{sequence:04}");
        let real = double.engine_iam(double.root(&account).await?)?;
        let there = real.get_account_summary().await?.get("Roles").copied();
        let roles = usize::try_from(there.unwrap_or_default())? + LIMITS.roles;
        let quotas = json!({"RolesQuota": roles, "AttachedPoliciesPerRoleQuota": LIMITS.attached});
        double.quotas(&account, quotas).await?;
        let model = simulated(&account)?;
        let mut rng = StdRng::seed_from_u64(sequence);
        let mut before = BTreeMap::new();
        for number in 0..REQUESTS {
            let request = Request::draw(&mut rng);
            let context = || format!("sequence {sequence}, request {number}: {request:?}");
            let (one, other) = (request.send(&*real).await, request.send(&*model).await);
            ensure!(
                one == other,
                "{}: the double {one:?}, the model {other:?}",
                context()
            );
            if one.is_err() || request.is_read() {
                continue;
            }
            let (one, real_ids) = state(&*real).await.with_context(context)?;
            let (other, model_ids) = state(&*model).await.with_context(context)?;
            ensure!(
                one == other,
                "{}: the double {one:#?}, the model {other:#?}",
                context()
            );
            // A role that is made again has another id, and any other role keeps its own.
            let ids: BTreeMap<String, (String, String)> = real_ids
                .into_iter()
                .zip(model_ids.into_values())
                .map(|((name, real), model)| (name, (real, model)))
                .collect();
            for (name, (real, model)) in &ids {
                if let Some((real_before, model_before)) = before.get(name) {
                    let is_other = real != real_before;
                    ensure!(
                        is_other == (model != model_before),
                        "{}: ids of {name}",
                        context()
                    );
                }
            }
            for name in NAMESAKES {
                if ids.keys().any(|there| there.eq_ignore_ascii_case(name)) {
                    let create = Request::CreateRole(name, trust(&mut rng), None);
                    let (one, other) = (create.send(&*real).await, create.send(&*model).await);
                    ensure!(
                        one.is_err() && one == other,
                        "{}, then {create:?}: {one:?}, {other:?}",
                        context()
                    );
                }
            }
            before = ids;
        }
    }
    Ok(())
}
