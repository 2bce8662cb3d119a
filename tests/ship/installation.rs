//! The life of an installation on a real control plane: helm installs, upgrades and uninstalls; two replicas run with the
//! environment and the rights that the chart gives them; one of them is killed.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rolectl_tests::scenario::{Operator, World, enroll_target};
use rolectl_tests::tools::{Build, root};
use rolectl_tests::wait::until_within;
use serde_json::{Map, Value, json};

use crate::pod::{NAMESPACE, Pod, deployment};
use crate::{chart, helm, printed};

/// As in `deploy/samples`.
const MAIN: &str = "111111111111";
const TARGETS: [&str; 2] = ["222222222222", "333333333333"];

struct Installation {
    world: World,
    operator: Operator,
}

impl Installation {
    async fn new() -> Result<Self> {
        let world = World::bare("ship", Build::Debug).await?;
        let operator = Operator::enroll(&world.double, MAIN, "operator").await?;
        operator.write_profile(&world.dir, &world.double.endpoint)?;
        for id in TARGETS {
            enroll_target(&world.double, MAIN, id).await?;
        }
        Ok(Self { world, operator })
    }

    async fn helm(&self, args: &[&str]) -> Result<String> {
        let all = [args, &["--namespace", NAMESPACE]].concat();
        let output = helm(&self.world.dir, &self.world.plane.kubeconfig("admin"), &all).await?;
        printed(&format!("helm {}", args.join(" ")), &output)
    }

    async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.world.plane.kubectl(args).await
    }

    async fn get(&self, args: &[&str]) -> Result<Value> {
        let all = [&["get", "-o", "json"], args].concat();
        Ok(serde_json::from_str(&self.kubectl(&all).await?)?)
    }

    /// Runs rolectl as an operator, who has no more rights than the chart gives.
    async fn rolectl(&self, args: &[&str]) -> Result<String> {
        let aws = self.world.dir.join("aws");
        let output = tokio::process::Command::new(&self.world.tools.rolectl)
            .args(args)
            .env_clear()
            .env("HOME", &self.world.dir)
            .env("KUBECONFIG", self.world.plane.kubeconfig("operator"))
            .env("AWS_ENDPOINT_URL", &self.world.double.endpoint)
            .env("AWS_CONFIG_FILE", aws.join("config"))
            .env("AWS_SHARED_CREDENTIALS_FILE", aws.join("credentials"))
            .env("AWS_PROFILE", "operator")
            .output()
            .await?;
        printed(&format!("rolectl {}", args.join(" ")), &output)
    }

    async fn unlock(&self) -> Result<String> {
        let code = self.operator.code().await?;
        self.rolectl(&["unlock", "--mfa", &code, "--wait"]).await
    }

    async fn pod(&self, n: usize) -> Result<Pod> {
        Pod::start(&self.world, &format!("rolectl-controller-{n}")).await
    }

    async fn roles_are(&self, reason: &str, patience: Duration) -> Result<()> {
        until_within(patience, &format!("all roles to be {reason}"), || async {
            let roles = self.get(&["iamroles", "-A"]).await.map_err(|e| e.to_string())?;
            let is = |role: &Value| {
                let current = role["status"]["observedGeneration"] == role["metadata"]["generation"];
                let ready = role["status"]["conditions"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .find(|c| c["type"] == "Ready");
                current && ready.is_some_and(|c| c["reason"] == reason)
            };
            let roles = roles["items"].as_array().cloned().unwrap_or_default();
            if roles.len() == 3 && roles.iter().all(is) {
                Ok(())
            } else {
                Err(format!("{roles:?}"))
            }
        })
        .await
    }

    /// The API server takes the Deployment's pod where Pod Security `restricted` is enforced, and would not take a laxer one.
    async fn pod_is_restricted(&self) -> Result<()> {
        let enforce = "pod-security.kubernetes.io/enforce=restricted";
        self.kubectl(&["label", "namespace", NAMESPACE, enforce]).await?;
        let template = deployment(&self.world).await?["spec"]["template"].clone();
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "restricted", "namespace": NAMESPACE}, "spec": template["spec"]});
        let dry_run = ["create", "--dry-run=server", "-f", "-"];
        let taken = self.world.plane.kubectl_with(&dry_run, &pod.to_string()).await?;
        printed("a pod under Pod Security restricted", &taken)?;
        pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
        let refused = self.world.plane.kubectl_with(&dry_run, &pod.to_string()).await?;
        let error = String::from_utf8_lossy(&refused.stderr);
        ensure!(
            error.contains("violates PodSecurity"),
            "nothing is enforced: {error}"
        );
        Ok(())
    }

    /// A change in Git.
    async fn describe(&self, role: &str, text: &str) -> Result<()> {
        let patch = json!({"spec": {"description": text}}).to_string();
        self.kubectl(&[
            "patch",
            "iamrole",
            role,
            "-n",
            "platform",
            "--type=merge",
            "-p",
            &patch,
        ])
        .await?;
        Ok(())
    }

    /// Who has called AWS in a target account, in order.
    async fn callers(&self, id: &str) -> Result<Vec<String>> {
        let calls = self.world.double.calls(id, 0).await?.calls;
        Ok(calls
            .into_iter()
            .map(|call| call.app)
            .filter(|app| !app.is_empty())
            .collect())
    }

    async fn writes(&self) -> Result<usize> {
        let mut writes = 0;
        for id in TARGETS {
            let calls = self.world.double.calls(id, 0).await?;
            let reads = |action: &str| {
                action.starts_with("Get") || action.starts_with("List") || action == "AssumeRole"
            };
            writes += calls
                .calls
                .iter()
                .filter(|call| !call.app.is_empty() && !reads(&call.action))
                .count();
        }
        Ok(writes)
    }
}

/// The chart as it might have been: its CRDs lack a field of today's, and have another kind of list.
fn earlier_chart(dir: &Path) -> Result<String> {
    let copy = dir.join("earlier");
    let copied = std::process::Command::new("cp")
        .args(["-rL", &chart()])
        .arg(&copy)
        .status()?;
    ensure!(copied.success(), "cp: {copied}");
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties";
    let change = |name: &str, pointer: &str, change: &dyn Fn(&mut Map<String, Value>)| -> Result<()> {
        let file = copy.join(format!("files/crds/{name}.yaml"));
        let mut crd: Value = serde_saphyr::from_str(&std::fs::read_to_string(&file)?)?;
        let at = crd.pointer_mut(&format!("{schema}{pointer}"));
        change(at.and_then(Value::as_object_mut).context(pointer.to_owned())?);
        std::fs::write(&file, crd.to_string())?;
        Ok(())
    };
    change(
        "awsaccounts",
        "/spec/properties/guardrails/properties",
        &|guardrails| {
            guardrails.remove("adoption");
        },
    )?;
    change("iamroles", "/status/properties/accounts", &|accounts| {
        accounts.insert("x-kubernetes-list-type".to_owned(), json!("map"));
        accounts.insert("x-kubernetes-list-map-keys".to_owned(), json!(["name"]));
    })?;
    Ok(copy.display().to_string())
}

#[tokio::test]
async fn from_helm_install_to_ready_roles_past_a_lost_replica_an_upgrade_and_an_uninstall() -> Result<()> {
    let i = Installation::new().await?;
    let chart = chart();
    let group =
        "operators[0].kind=Group,operators[0].name=operators,operators[0].apiGroup=rbac.authorization.k8s.io";
    let values = ["--set", "clusterName=ship", "--set", group];
    let earlier = earlier_chart(&i.world.dir)?;
    let notes = i
        .helm(
            &[
                &["install", "rolectl", &earlier, "--create-namespace"][..],
                &values,
            ]
            .concat(),
        )
        .await?;
    ensure!(notes.contains("rolectl bootstrap --main-account"), "{notes}");
    i.world.established().await?;

    i.pod_is_restricted().await?;

    let pods = [i.pod(0).await?, i.pod(1).await?];
    i.kubectl(&[
        "apply",
        "-k",
        &root().join("deploy/samples").display().to_string(),
    ])
    .await?;
    let told = i.unlock().await?;
    ensure!(
        told.contains("dev") && told.contains("prod") && told.contains(" ok"),
        "{told}"
    );
    i.roles_are("InSync", Duration::from_secs(60)).await?;
    let metrics = reqwest::get(format!("http://{}/metrics", pods[0].health))
        .await?
        .text()
        .await?;
    ensure!(
        metrics.contains("rolectl_build_info") && metrics.ends_with("# EOF\n"),
        "{metrics}"
    );

    // The replica that has an account is lost; the other goes on.
    let last = i.callers(TARGETS[0]).await?.pop().context("nobody has called")?;
    let (lost, left) = if last == pods[0].name {
        (&pods[0], &pods[1])
    } else {
        (&pods[1], &pods[0])
    };
    lost.process.signal("KILL")?;
    i.describe("role-1", "changed while a replica was lost").await?;
    i.roles_are("InSync", Duration::from_secs(30)).await?;
    for id in TARGETS {
        let callers = i.callers(id).await?;
        ensure!(callers.last() == Some(&left.name), "{callers:?}");
        let mut changes = callers.clone();
        changes.dedup();
        ensure!(changes.len() <= 2, "{id} went to and fro: {changes:?}");
    }

    // An upgrade changes CRDs and Deployment, and nothing in AWS.
    let limit = json!({"spec": {"guardrails": {"adoption": "IfUnowned"}}}).to_string();
    let limit = ["patch", "awsaccount", "dev", "--type=merge", "-p", &limit];
    let limited = async || -> Result<bool> {
        i.kubectl(&limit).await?;
        let account = i.get(&["awsaccount", "dev"]).await?;
        Ok(account["spec"]["guardrails"]["adoption"] == "IfUnowned")
    };
    ensure!(!limited().await?, "the earlier CRD has the field already");
    let before = (i.writes().await?, i.get(&["iamroles", "-A"]).await?);
    i.helm(
        &[
            &["upgrade", "rolectl", &chart, "--set", "log.format=text"][..],
            &values,
        ]
        .concat(),
    )
    .await?;
    let deployment = i
        .get(&["deployment", "rolectl-controller", "-n", NAMESPACE])
        .await?
        .to_string();
    ensure!(
        deployment.contains("\"ROLECTL_LOG_FORMAT\",\"value\":\"text\""),
        "{deployment}"
    );
    ensure!(limited().await?, "the CRD was not upgraded");
    let upgraded = i.pod(2).await?;
    left.process.signal("TERM")?;
    i.describe("role-1", "changed after the upgrade").await?;
    i.roles_are("InSync", Duration::from_secs(60)).await?;
    let callers = i.callers(TARGETS[1]).await?;
    ensure!(callers.last() == Some(&upgraded.name), "{callers:?}");
    // One description in two accounts.
    ensure!(i.writes().await? == before.0 + 2, "an upgrade wrote to AWS");

    // What is uninstalled leaves CRDs, objects and roles as they are.
    upgraded.process.signal("TERM")?;
    i.helm(&["uninstall", "rolectl"]).await?;
    let uids = |roles: &Value| -> Vec<String> {
        let items = roles["items"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .map(|role| role["metadata"]["uid"].to_string())
            .collect()
    };
    let kept = i.get(&["iamroles", "-A"]).await?;
    ensure!(
        uids(&kept) == uids(&before.1) && uids(&kept).len() == 3,
        "objects are lost: {kept}"
    );
    let gone = i
        .get(&[
            "deployments,serviceaccounts,roles,rolebindings",
            "-n",
            NAMESPACE,
            "-l",
            "app.kubernetes.io/instance=rolectl",
        ])
        .await?;
    ensure!(gone["items"].as_array().is_some_and(Vec::is_empty), "{gone}");
    ensure!(i.writes().await? == before.0 + 2, "an uninstall wrote to AWS");

    // And it comes back, finds its roles again and goes on where it was.
    i.helm(&[&["install", "rolectl", &chart][..], &values].concat())
        .await?;
    let again = i.pod(3).await?;
    i.describe("role-2", "changed after the return").await?;
    i.roles_are("InSync", Duration::from_secs(60)).await?;
    let callers = i.callers(TARGETS[0]).await?;
    ensure!(callers.last() == Some(&again.name), "{callers:?}");
    Ok(())
}
