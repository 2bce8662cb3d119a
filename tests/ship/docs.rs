//! The pages under `docs/`: every command in an `sh` block is run, page after page in one world, and each file that a page
//! shows is the file that its commands use.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rolectl_crds::Reason;
use rolectl_tests::scenario::{Operator, World};
use rolectl_tests::tools::{Build, helm, root};
use serde_json::{Value, json};

use crate::pod::{Pod, deployment};

/// In the order in which a newcomer reads them.
const PAGES: [&str; 8] = [
    "install",
    "tour",
    "operations",
    "troubleshooting",
    "argo-cd",
    "flux",
    "from-terraform",
    "from-ack",
];

/// Programs that are not here; blocks of commands for them are `console`.
const ELSEWHERE: [&str; 4] = ["aws", "terraform", "cosign", "gh"];

/// A fenced block of a page.
struct Block {
    kind: String,
    text: String,
}

fn page(name: &str) -> Result<String> {
    Ok(std::fs::read_to_string(root().join(format!("docs/{name}.md")))?)
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = vec![];
    let mut open: Option<(usize, Block)> = None;
    for line in page.lines() {
        let indent = line.len() - line.trim_start().len();
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(kind)) => {
                open = Some((
                    indent,
                    Block {
                        kind: kind.to_owned(),
                        text: String::new(),
                    },
                ));
            }
            (Some(_), Some(_)) => blocks.extend(open.take().map(|(_, block)| block)),
            (Some((indent, block)), None) => {
                block.text.push_str(line.get(*indent..).unwrap_or_default());
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// Runs the newest pod that the Deployment describes, in a kubelet's place.
async fn kubelet(world: &World) -> Result<()> {
    let (mut template, mut pod) = (Value::Null, None::<Pod>);
    for n in 0.. {
        let wanted = deployment(world)
            .await
            .map_or(Value::Null, |d| d["spec"]["template"].clone());
        if wanted != template {
            if let Some(old) = pod.take() {
                old.process.signal("TERM")?;
            }
            if !wanted.is_null() {
                pod = Some(Pod::start(world, &format!("rolectl-controller-{n}")).await?);
            }
            template = wanted;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

struct Reader<'a> {
    world: &'a World,
    operator: Operator,
    desk: PathBuf,
}

impl Reader<'_> {
    async fn new(world: &World) -> Result<Reader<'_>> {
        let operator = Operator::enroll(&world.double, "111111111111", "operator").await?;
        let desk = world.dir.join("desk");
        std::fs::create_dir_all(desk.join("bin"))?;
        operator.write_profile(&desk, &world.double.endpoint)?;
        for (name, id) in [("dev-admin", "222222222222"), ("prod-admin", "333333333333")] {
            let root = world.double.root(id).await?;
            let (key, secret) = (root.access_key_id(), root.secret_access_key());
            add(
                &desk.join("aws/credentials"),
                &format!("[{name}]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"),
            )?;
            add(
                &desk.join("aws/config"),
                &format!("[profile {name}]\nregion = us-east-1\n"),
            )?;
        }
        for (name, program) in [
            ("kubectl", &world.tools.kubectl),
            ("rolectl", &world.tools.rolectl),
            ("helm", &helm()?),
        ] {
            std::os::unix::fs::symlink(program, desk.join("bin").join(name))?;
        }
        for folder in ["charts", "deploy", "crds"] {
            std::os::unix::fs::symlink(root().join(folder), desk.join(folder))?;
        }
        // What other tools have made there.
        let iam = world.double.iam(world.double.root("333333333333").await?);
        for role in ["app-web", "app-worker", "legacy-api"] {
            let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}]});
            iam.create_role()
                .role_name(role)
                .assume_role_policy_document(trust.to_string())
                .send()
                .await?;
        }
        // Argo CD's own, where it is installed.
        world.plane.kubectl(&["create", "namespace", "argocd"]).await?;
        world
            .plane
            .kubectl(&["create", "configmap", "argocd-cm", "-n", "argocd"])
            .await?;
        Ok(Reader {
            world,
            operator,
            desk,
        })
    }

    async fn run(&self, page: &str, script: &str) -> Result<()> {
        let script = if script.contains("123456") {
            script.replace("123456", &self.operator.code().await?)
        } else {
            script.to_owned()
        };
        let output = tokio::process::Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(&self.desk)
            .env_clear()
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.desk.join("bin").display()),
            )
            .env("HOME", &self.desk)
            .env("KUBECONFIG", self.world.plane.kubeconfig("admin"))
            .env("AWS_ENDPOINT_URL", &self.world.double.endpoint)
            .env("AWS_CONFIG_FILE", self.desk.join("aws/config"))
            .env("AWS_SHARED_CREDENTIALS_FILE", self.desk.join("aws/credentials"))
            .env("AWS_PROFILE", "operator")
            .output();
        let output = tokio::time::timeout(Duration::from_mins(3), output);
        let output = output
            .await
            .with_context(|| format!("docs/{page}.md hangs at:\n{script}"))??;
        ensure!(
            output.status.success(),
            "docs/{page}.md:\n{script}\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}

fn add(file: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    Ok(std::fs::OpenOptions::new()
        .append(true)
        .open(file)?
        .write_all(text.as_bytes())?)
}

#[tokio::test]
async fn every_command_of_every_page_works_as_it_stands() -> Result<()> {
    let world = World::bare("docs-world", Build::Debug).await?;
    let reader = Reader::new(&world).await?;
    let reading = async {
        let mut count = 0;
        for name in PAGES {
            for block in blocks(&page(name)?) {
                let file = block.text.lines().next().and_then(|line| line.strip_prefix("# "));
                match (block.kind.as_str(), file) {
                    ("yaml", Some(file)) => std::fs::write(reader.desk.join(file), &block.text)?,
                    ("sh", _) => {
                        reader.run(name, &block.text).await?;
                        count += 1;
                    }
                    _ => {}
                }
            }
        }
        ensure!(count > 20, "only {count} blocks were run");
        anyhow::Ok(())
    };
    tokio::select! {
        read = reading => read,
        ended = kubelet(&world) => ended,
    }
}

#[test]
fn what_is_not_run_is_for_programs_that_are_not_here() -> Result<()> {
    for entry in std::fs::read_dir(root().join("docs"))? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        // Its blocks are run by a test of their own.
        if path.extension().is_none_or(|e| e != "md") || name == "from-ansible" {
            continue;
        }
        let blocks = blocks(&page(&name)?);
        if blocks.iter().any(|block| block.kind == "sh") {
            ensure!(
                PAGES.contains(&name.as_str()),
                "docs/{name}.md is not read by the test"
            );
        }
        for block in blocks {
            ensure!(
                ["sh", "yaml", "json", "console"].contains(&block.kind.as_str()),
                "docs/{name}.md: a block of {:?}",
                block.kind
            );
            let commands = block
                .text
                .lines()
                .filter_map(|line| line.strip_prefix("$ "))
                .filter(|_| block.kind == "console");
            let here = |command: &str| {
                let program = command.split(' ').next().unwrap_or_default();
                // Between commands that cannot be run, a few that could be keep their place; ACK's kinds are not here.
                !(ELSEWHERE.contains(&program)
                    || program == "rolectl"
                    || command.contains("services.k8s.aws"))
            };
            let wrong: Vec<&str> = commands.filter(|command| here(command)).collect();
            ensure!(wrong.is_empty(), "docs/{name}.md: could be run: {wrong:?}");
        }
    }
    Ok(())
}

#[test]
fn troubleshooting_speaks_of_every_reason() -> Result<()> {
    let page = page("troubleshooting")?;
    let spoken: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let all: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    ensure!(spoken == all, "of {all:?} it speaks of {spoken:?}");
    Ok(())
}

/// Text of all Rust files below a folder.
fn rust_below(folder: &Path) -> Result<String> {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            // The double's own build folder lies below its sources.
            if !path.ends_with("target") {
                text += &rust_below(&path)?;
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            text += &std::fs::read_to_string(&path)?;
        }
    }
    Ok(text)
}

#[test]
fn every_test_that_the_security_page_names_is_there() -> Result<()> {
    let page = page("security")?;
    let code = rust_below(&root().join("tests"))? + &rust_below(&root().join("controller"))?;
    let brackets = page.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
    let names: BTreeSet<&str> = brackets
        // A link is no name of a test.
        .filter(|(_, after)| !after.starts_with('('))
        .flat_map(|(inside, _)| inside.split(','))
        .map(str::trim)
        .filter(|name| name.contains('_') && !name.contains(['"', ' ', '/']))
        .collect();
    ensure!(names.len() > 15, "only {names:?}");
    let missing: Vec<&&str> = names
        .iter()
        .filter(|name| !code.contains(&format!("fn {name}()")))
        .collect();
    ensure!(missing.is_empty(), "no such tests: {missing:?}");
    Ok(())
}

#[test]
fn the_service_control_policy_of_the_security_page_covers_every_tag_of_ours() -> Result<()> {
    let blocks = blocks(&page("security")?);
    let text = &blocks
        .iter()
        .find(|b| b.kind == "json")
        .context("no policy")?
        .text;
    let policy: Value = serde_json::from_str(text)?;
    // Each tag key is a constant of the API crate.
    let source = include_str!("../../crds/src/lib.rs");
    let keys: BTreeSet<&str> = source
        .split("_TAG: &str = \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    ensure!(keys.contains(rolectl_crds::OWNER_TAG), "{keys:?}");
    let [statement] = policy["Statement"]
        .as_array()
        .context("no statements")?
        .as_slice()
    else {
        anyhow::bail!("more than one statement");
    };
    let denied = &statement["Condition"]["ForAnyValue:StringEqualsIgnoreCase"]["aws:TagKeys"];
    let denied: BTreeSet<&str> = denied
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    ensure!(denied.is_superset(&keys), "denied {denied:?}, ours {keys:?}");
    ensure!(
        statement["Effect"] == "Deny" && statement["Resource"] == "*",
        "{statement}"
    );
    ensure!(text.len() < 5120, "an SCP has at most 5,120 characters");
    Ok(())
}

#[test]
fn links_between_pages_lead_somewhere() -> Result<()> {
    let mut files = vec![
        root().join("README.md"),
        root().join("CONTRIBUTING.md"),
        root().join("SECURITY.md"),
    ];
    for folder in ["docs", "docs/reference"] {
        files.extend(std::fs::read_dir(root().join(folder))?.filter_map(|entry| Some(entry.ok()?.path())));
    }
    for file in files
        .into_iter()
        .filter(|file| file.extension().is_some_and(|e| e == "md"))
    {
        let text = std::fs::read_to_string(&file)?;
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") || link.starts_with('#') {
                continue;
            }
            let target = link.split('#').next().unwrap_or_default();
            let there = file
                .parent()
                .map(|dir| dir.join(target))
                .is_some_and(|path| path.exists());
            ensure!(there, "{}: {link} is not there", file.display());
        }
    }
    Ok(())
}
