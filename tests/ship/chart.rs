//! The chart by itself, without a cluster.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rolectl_tests::tools::{Tools, root, target};
use serde_json::Value;

use crate::{chart, helm, printed};

const NOWHERE: &str = "/nowhere";

async fn helm_alone(args: &[&str]) -> Result<std::process::Output> {
    helm(&target().join("ship-chart"), Path::new(NOWHERE), args).await
}

async fn template(args: &[&str]) -> Result<String> {
    let (chart, base) = (chart(), ["template", "rolectl"]);
    let all = [
        &base[..],
        &[chart.as_str(), "--namespace", "rolectl-system"],
        args,
    ]
    .concat();
    printed("helm template", &helm_alone(&all).await?)
}

/// Objects by kind and name, without what only one side says: labels of helm, and null values.
fn objects(yaml: &str) -> Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for document in serde_saphyr::from_multiple::<Value>(yaml)? {
        if document.is_null() {
            continue;
        }
        let mut object = document;
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        let metadata = metadata.context("no metadata")?;
        metadata.remove("labels");
        metadata.remove("annotations");
        let cluster_wide =
            ["ClusterRole", "ClusterRoleBinding"].contains(&object["kind"].as_str().unwrap_or_default());
        if cluster_wide {
            // kustomize sets its namespace on some of these, which means nothing.
            object["metadata"].as_object_mut().map(|m| m.remove("namespace"));
        }
        without_instance(&mut object);
        let key = format!("{} {}", object["kind"], object["metadata"]["name"]).replace('"', "");
        all.insert(key, object);
    }
    Ok(all)
}

/// A release has a name, and its pods carry it; a kustomization has none. Folded text may be folded elsewhere.
fn without_instance(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("app.kubernetes.io/instance");
            map.values_mut().for_each(without_instance);
        }
        Value::Array(list) => list.iter_mut().for_each(without_instance),
        Value::String(text) => *text = text.split_whitespace().collect::<Vec<_>>().join(" "),
        _ => {}
    }
}

#[tokio::test]
async fn the_chart_and_the_kustomization_install_the_same() -> Result<()> {
    let kubectl = Tools::kubectl()?;
    let default = root().join("deploy/default").display().to_string();
    let kustomized = tokio::process::Command::new(kubectl)
        .args(["kustomize", &default])
        .output()
        .await?;
    let mut kustomized = objects(&printed("kubectl kustomize", &kustomized)?)?;
    // `helm install --create-namespace` makes it.
    kustomized.remove("Namespace rolectl-system");
    let templated = objects(&template(&[]).await?)?;
    let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
    ensure!(
        names(&kustomized) == names(&templated),
        "kustomize {:?}\nhelm {:?}",
        names(&kustomized),
        names(&templated)
    );
    for (name, object) in &templated {
        let other = kustomized.get(name).context("missing")?;
        ensure!(
            object == other,
            "{name} differs:\nhelm {object:#}\nkustomize {other:#}"
        );
    }
    Ok(())
}

/// The expressions of the admission policies that name the controller's ServiceAccount.
fn identities(objects: &BTreeMap<String, Value>) -> Vec<String> {
    let policies = objects
        .iter()
        .filter(|(name, _)| name.starts_with("ValidatingAdmissionPolicy "));
    let mut all = vec![];
    for (_, policy) in policies {
        for list in ["matchConditions", "validations"] {
            let expressions = policy["spec"][list].as_array().into_iter().flatten();
            let expressions = expressions.filter_map(|e| e["expression"].as_str());
            all.extend(expressions.filter(|e| e.contains("userInfo")).map(str::to_owned));
        }
    }
    all
}

#[tokio::test]
async fn the_admission_policies_name_the_service_account_of_the_installation() -> Result<()> {
    let says = |namespace: &str, name: &str| {
        format!("request.userInfo.username == 'system:serviceaccount:' + '{namespace}' + ':' + '{name}'")
    };
    // The last `--namespace` counts.
    let chart = async |args: &[&str]| -> Result<Vec<String>> {
        let args = [&["--namespace", "iam", "--set", "crds.enabled=false"], args].concat();
        Ok(identities(&objects(&template(&args).await?)?))
    };
    let default = says("iam", "rolectl-controller");
    ensure!(chart(&[]).await? == [default.clone(), default.clone()]);
    let named = says("iam", "keeper");
    for own in [
        "serviceAccount.name=keeper",
        "serviceAccount.name=keeper,serviceAccount.create=false",
    ] {
        ensure!(
            chart(&["--set", own]).await? == [named.clone(), named.clone()],
            "{own}"
        );
    }
    let other = "admissionPolicy.otherControllers={system:serviceaccount:b:c}";
    let both = format!("{default} || request.userInfo.username == 'system:serviceaccount:b:c'");
    ensure!(chart(&["--set", other]).await? == [both.clone(), both]);
    // An overlay that moves the installation repeats the replacements.
    let overlay = target().join("ship-overlay");
    std::fs::create_dir_all(&overlay)?;
    let default = std::fs::read_to_string(root().join("deploy/default/kustomization.yaml"))?;
    let at = default.find("replacements:").context("no replacements")?;
    let (_, replacements) = default.split_at(at);
    let base = std::fs::canonicalize(root().join("deploy/default"))?;
    let base = pathdiff(&base, &std::fs::canonicalize(&overlay)?);
    let moved = format!("namespace: iam\nnameSuffix: -x\nresources: [{base}]\n{replacements}");
    std::fs::write(overlay.join("kustomization.yaml"), moved)?;
    let output = tokio::process::Command::new(Tools::kubectl()?)
        .arg("kustomize")
        .arg(&overlay)
        .output()
        .await?;
    let moved = objects(&printed("kubectl kustomize", &output)?)?;
    let suffixed = says("iam", "rolectl-controller-x");
    ensure!(
        identities(&moved) == [suffixed.clone(), suffixed],
        "{:?}",
        identities(&moved)
    );
    Ok(())
}

/// kustomize takes only relative paths of resources.
fn pathdiff(to: &Path, from: &Path) -> String {
    let up: String = from.components().skip(1).map(|_| "../").collect();
    let down: Vec<_> = to
        .components()
        .skip(1)
        .map(|c| c.as_os_str().to_string_lossy().into_owned())
        .collect();
    format!("{up}{}", down.join("/"))
}

#[tokio::test]
async fn the_chart_lints_and_says_what_is_left_to_do() -> Result<()> {
    printed("helm lint", &helm_alone(&["lint", "--strict", &chart()]).await?)?;
    let without_big_files = ["--set", "crds.enabled=false,admissionPolicy.enabled=false"];
    insta::assert_snapshot!("template", template(&without_big_files).await?);
    Ok(())
}

#[tokio::test]
async fn every_value_of_the_chart_has_its_effect() -> Result<()> {
    let values = target().join("ship-chart-values.yaml");
    std::fs::write(&values, include_str!("all-values.yaml"))?;
    let all = template(&["--values", &values.display().to_string()]).await?;
    insta::assert_snapshot!("template_all", all);
    let one = template(&["--set", "replicas=1,networkPolicy.enabled=false"]).await?;
    ensure!(
        !one.contains("PodDisruptionBudget") && !one.contains("NetworkPolicy"),
        "{one}"
    );
    ensure!(
        template(&[])
            .await?
            .matches("helm.sh/resource-policy: keep")
            .count()
            == 3,
        "CRDs go with the release"
    );
    Ok(())
}

#[tokio::test]
async fn values_that_mean_nothing_are_refused() -> Result<()> {
    for (wrong, says) in [
        ("replica=3", "replica"),
        ("crds.kept=true", "kept"),
        ("log.format=xml", "format"),
        ("replicas=2,shards=0", "shards"),
        ("sessionSecretNames=null", "sessionSecretNames"),
        ("clusterName=a/b", "clusterName"),
        (
            "admissionPolicy.otherControllers={a' || true || 'b}",
            "otherControllers",
        ),
        ("terminationGracePeriodSeconds=5", "terminationGracePeriodSeconds"),
    ] {
        let output = helm_alone(&["template", "rolectl", &chart(), "--set", wrong]).await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success() && error.contains(says),
            "{wrong}: {error}"
        );
    }
    Ok(())
}

#[test]
fn every_value_is_described_and_nothing_is_described_that_is_not_there() -> Result<()> {
    let schema: Value = serde_json::from_str(include_str!("../../charts/rolectl/values.schema.json"))?;
    let values: Value = serde_saphyr::from_str(include_str!("../../charts/rolectl/values.yaml"))?;
    let mut properties = schema["properties"].clone();
    // Helm hands it to every chart.
    properties.as_object_mut().map(|p| p.remove("global"));
    compare("", &properties, &values)
}

fn compare(at: &str, properties: &Value, values: &Value) -> Result<()> {
    let names = |value: &Value| -> Vec<String> {
        value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, _)| k.clone())
            .collect()
    };
    let (mut described, mut there) = (names(properties), names(values));
    described.sort();
    there.sort();
    ensure!(
        described == there,
        "{at}: described {described:?}, there {there:?}"
    );
    for name in there {
        let property = &properties[&name];
        ensure!(
            property["description"].as_str().is_some_and(|d| !d.is_empty()),
            "{at}.{name} is not described"
        );
        if property["properties"].is_object() {
            compare(&format!("{at}.{name}"), &property["properties"], &values[&name])?;
        }
    }
    Ok(())
}

#[test]
fn chart_image_and_programs_have_one_version() -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let chart: Value = serde_saphyr::from_str(include_str!("../../charts/rolectl/Chart.yaml"))?;
    ensure!(
        chart["version"] == version && chart["appVersion"] == version,
        "{chart}"
    );
    let deployment = include_str!("../../deploy/controller/deployment.yaml");
    ensure!(deployment.contains(&format!("image: ghcr.io/rolectl/rolectl:{version}\n")));
    ensure!(include_str!("../../deploy/Dockerfile").contains(&format!("ARG VERSION={version}\n")));
    // What a release says of itself.
    let log = std::fs::read_to_string(root().join("CHANGELOG.md"))?;
    ensure!(
        log.contains(&format!("## {version}")),
        "CHANGELOG.md does not speak of {version}"
    );
    Ok(())
}

#[tokio::test]
async fn the_workflows_are_well_formed() -> Result<()> {
    let lint = rolectl_tests::tools::actionlint()?;
    let mut command = tokio::process::Command::new(lint);
    // shellcheck and pyflakes are not everywhere.
    let output = command
        .args(["-shellcheck=", "-pyflakes="])
        .current_dir(root())
        .output()
        .await?;
    printed("actionlint", &output)?;
    // A tag can be moved; a commit cannot.
    for file in std::fs::read_dir(root().join(".github/workflows"))? {
        let file = file?.path();
        for line in std::fs::read_to_string(&file)?.lines() {
            let Some((_, action)) = line.split_once("uses: ") else {
                continue;
            };
            let commit = action.split_once('@').map_or("", |(_, at)| at);
            let (commit, version) = commit.split_once(" # v").unwrap_or((commit, ""));
            let pinned = commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
            ensure!(pinned && !version.is_empty(), "{}: {action}", file.display());
        }
    }
    Ok(())
}

/// The jobs of a workflow with their steps.
fn jobs(workflow: &Value) -> Vec<(&String, &Value, &Vec<Value>)> {
    let jobs = workflow["jobs"].as_object().into_iter().flatten();
    jobs.filter_map(|(name, job)| Some((name, job, job["steps"].as_array()?)))
        .collect()
}

#[test]
fn a_job_that_builds_can_publish_nothing_and_images_are_joined_by_digest() -> Result<()> {
    for file in std::fs::read_dir(root().join(".github/workflows"))? {
        let file = file?.path();
        let text = std::fs::read_to_string(&file)?;
        let workflow: Value = serde_saphyr::from_str(&text)?;
        let file = file.display();
        ensure!(
            workflow["permissions"] == serde_json::json!({"contents": "read"}),
            "{file}: more than reading is the default"
        );
        for (name, job, steps) in jobs(&workflow) {
            let job_text = job.to_string();
            // What runs code of ours or of a dependency.
            let builds = ["cargo ", ".ci/run", "docker/build-push-action", "buildx build"];
            let builds = builds.iter().any(|word| job_text.contains(word));
            let writes = job["permissions"].to_string().contains("write");
            ensure!(!(builds && writes), "{file}: {name} builds and may write");
            ensure!(
                !(builds && job_text.contains("secrets.")),
                "{file}: {name} builds and has a secret"
            );
            for step in steps {
                let uses = step["uses"].as_str().unwrap_or_default();
                ensure!(
                    !uses.starts_with("actions/checkout@") || step["with"]["persist-credentials"] == false,
                    "{file}: {name} leaves a token in its checkout"
                );
                ensure!(
                    !uses.starts_with("docker/build-push-action@") || step["with"]["push"].is_null(),
                    "{file}: {name} pushes what it builds"
                );
            }
        }
    }
    let release: Value = serde_saphyr::from_str(include_str!("../../.github/workflows/release.yml"))?;
    let publish = &release["jobs"]["publish"]["steps"];
    let script: String = publish
        .as_array()
        .context("no steps")?
        .iter()
        .filter_map(|step| step["run"].as_str())
        .collect();
    let join = script.lines().find(|line| line.contains("imagetools create"));
    ensure!(
        join.is_some_and(|line| line.contains("\"${digests[@]}\""))
            && script.contains("digests+=(\"$IMAGE@$(cat digest)\")"),
        "images are joined by something that can be moved"
    );
    let signs = script.lines().filter(|line| line.contains("cosign sign "));
    ensure!(
        signs.clone().count() == 2 && signs.clone().all(|line| line.contains('@')),
        "a tag is signed"
    );
    let attested: Vec<&Value> = publish
        .as_array()
        .into_iter()
        .flatten()
        .filter(|step| {
            step["uses"]
                .as_str()
                .is_some_and(|uses| uses.contains("attest-build-provenance@"))
        })
        .map(|step| &step["with"])
        .collect();
    ensure!(
        attested.len() == 2
            && attested
                .iter()
                .any(|with| with["subject-digest"] == "${{ steps.image.outputs.digest }}")
            && attested
                .iter()
                .any(|with| with["subject-checksums"] == "dist/SHA256SUMS"),
        "{attested:?}"
    );
    Ok(())
}

#[test]
fn ci_checks_advisories_and_says_where_it_could_not() -> Result<()> {
    let ci = include_str!("../../.ci/run");
    let at = ci.find("step \"advisories\"").context("no such step")?;
    let script = ci.get(at..).unwrap_or_default();
    let run = |database: bool, github: bool| -> Result<(bool, String)> {
        let deny = format!(
            "deny() {{ echo \"deny $*\"; [ \"$1\" != fetch ] || {database}; }}\nstep() {{ :; }}\ndeny=deny\n"
        );
        let mut bash = std::process::Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &format!("{deny}{script}")])
            .env_remove("GITHUB_ACTIONS");
        if github {
            bash.env("GITHUB_ACTIONS", "true");
        }
        let output = bash.output()?;
        Ok((
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        ))
    };
    let (passed, told) = run(true, true)?;
    ensure!(
        passed && told.contains("deny check --disable-fetch advisories") && !told.contains("SKIPPED"),
        "{told}"
    );
    let (passed, told) = run(false, false)?;
    ensure!(
        passed && told.trim_end().ends_with("cannot be fetched here") && told.contains("SKIPPED"),
        "{told}"
    );
    let (passed, told) = run(false, true)?;
    ensure!(!passed && !told.contains("deny check"), "{told}");
    Ok(())
}
