//! `cargo demo`: the main job from start to end, on real parts, and then a playground.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use rolectl_tests::process::{Process, Spawn};
use rolectl_tests::scenario::{Operator, World, enroll_target, totp};
use rolectl_tests::tools::{root, target};
use rolectl_tests::wait::{holds_for, until};

const MAIN: &str = "111111111111";
const TARGETS: [(&str, &str); 2] = [("dev", "222222222222"), ("prod", "333333333333")];

const ADMIN: &str = "arn:aws:iam::aws:policy/AdministratorAccess";

/// Runs rolectl on a real control plane and an AWS double, shows the main job, and stays up.
#[derive(Parser)]
#[command(name = "cargo demo", bin_name = "cargo demo")]
struct Args {
    /// End after the tour; exit code 0 only if every step held
    #[arg(long)]
    once: bool,
    /// Print the current MFA code of a running demo
    #[arg(long)]
    code: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let done = if args.code {
        print_code()
    } else {
        run(args.once).await
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn home() -> PathBuf {
    target().join("demo")
}

fn print_code() -> Result<()> {
    let seed =
        std::fs::read_to_string(home().join("seed")).context("no demo runs: start it with `cargo demo`")?;
    println!("{}", totp(seed.trim())?.generate_current());
    Ok(())
}

/// What the tour works on.
struct Demo {
    world: World,
    operator: Operator,
}

async fn run(once: bool) -> Result<()> {
    step("Starting etcd, kube-apiserver and the AWS double (what is missing is built first)");
    let interrupted = tokio::signal::ctrl_c();
    let tour = async {
        let demo = Demo::prepare().await?;
        let controller = demo.start_controller()?;
        demo.tour().await?;
        anyhow::Ok((demo, controller))
    };
    let (demo, _controller) = tokio::select! {
        toured = tour => toured?,
        _ = interrupted => bail!("interrupted"),
    };
    step("Every step held.");
    if once {
        return Ok(());
    }
    println!(
        "\nAll of it stays up until Ctrl-C. In another shell, from here:\n\n  \
         source {}\n  \
         kubectl get iamroles -A\n  \
         rolectl status\n  \
         kubectl edit iamrole role-1 -n platform\n  \
         rolectl lock; rolectl unlock --mfa $(mfa-code)\n  \
         aws --profile dev-root iam list-roles     # break something as the account's root\n\n\
         Logs are in {}",
        home().join("env").display(),
        demo.world.dir.display()
    );
    tokio::signal::ctrl_c().await?;
    println!("\nending what was started");
    Ok(())
}

impl Demo {
    async fn prepare() -> Result<Self> {
        let world = World::start("demo").await?;
        let operator = Operator::enroll(&world.double, MAIN, "operator").await?;
        for (_, id) in TARGETS {
            enroll_target(&world.double, MAIN, id).await?;
        }
        let demo = Self { world, operator };
        demo.write_env().await?;
        Ok(demo)
    }

    /// `env`, the profiles, and a helper that prints the current MFA code.
    async fn write_env(&self) -> Result<()> {
        let (dir, double) = (home(), &self.world.double);
        self.operator.write_profile(&dir, &double.endpoint)?;
        for (name, id) in TARGETS {
            let root = double.root(id).await?;
            append(
                &dir.join("aws/credentials"),
                &format!(
                    "[{name}-root]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
                    root.access_key_id(),
                    root.secret_access_key()
                ),
            )?;
            append(
                &dir.join("aws/config"),
                &format!(
                    "[profile {name}-root]\nregion = us-east-1\nendpoint_url = {}\n",
                    double.endpoint
                ),
            )?;
        }
        std::fs::write(dir.join("seed"), &self.operator.seed)?;
        let bin = dir.join("bin");
        std::fs::create_dir_all(&bin)?;
        let demo = std::env::current_exe()?;
        let helper = bin.join("mfa-code");
        std::fs::write(
            &helper,
            format!(
                "#!/bin/sh\n# The current code of the demo's MFA device.\nexec '{}' --code\n",
                demo.display()
            ),
        )?;
        std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        for tool in [
            &self.world.tools.rolectl,
            &self.world.tools.controller,
            &self.world.tools.kubectl,
        ] {
            let link = bin.join(tool.file_name().context("tool")?);
            std::os::unix::fs::symlink(tool, link)?;
        }
        let exports = [
            (
                "KUBECONFIG",
                self.world.plane.kubeconfig("admin").display().to_string(),
            ),
            ("AWS_ENDPOINT_URL", double.endpoint.clone()),
            ("AWS_CONFIG_FILE", dir.join("aws/config").display().to_string()),
            (
                "AWS_SHARED_CREDENTIALS_FILE",
                dir.join("aws/credentials").display().to_string(),
            ),
            ("AWS_PROFILE", "operator".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ];
        let mut env = "# source this file to work in the demo\nunset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_CA_BUNDLE\n".to_owned();
        for (key, value) in exports {
            env.push_str(&format!("export {key}='{value}'\n"));
        }
        env.push_str(&format!("export PATH='{}':\"$PATH\"\n", bin.display()));
        std::fs::write(dir.join("env"), env)?;
        Ok(())
    }

    fn start_controller(&self) -> Result<Process> {
        let env = [
            (
                "KUBECONFIG",
                self.world
                    .plane
                    .kubeconfig("rolectl-controller")
                    .display()
                    .to_string(),
            ),
            ("AWS_ENDPOINT_URL", self.world.double.endpoint.clone()),
            ("ROLECTL_CLUSTER_NAME", "demo".to_owned()),
            ("ROLECTL_HEALTH_ADDRESS", "127.0.0.1:0".to_owned()),
        ];
        let (process, _) = Process::spawn(Spawn {
            name: "rolectl-controller",
            program: &self.world.tools.controller,
            args: vec![],
            env: env.map(|(key, value)| (key.to_owned(), value)).to_vec(),
            log: &self.world.dir.join("controller.log"),
            remove_at_end: None,
            pipe: false,
        })?;
        Ok(process)
    }

    async fn tour(&self) -> Result<()> {
        step("Unlocking: an MFA code buys one session, for all accounts");
        self.show(
            "kubectl apply -k deploy/samples",
            self.kubectl(&["apply", "-k", &samples()]).await?,
        );
        self.unlock().await?;

        step("Three roles of the old playbook, in two accounts");
        self.kubectl(&[
            "wait",
            "--for=condition=Ready",
            "iamrole",
            "--all",
            "-n",
            "platform",
            "--timeout=90s",
        ])
        .await?;
        self.show(
            "kubectl get iamroles -n platform",
            self.kubectl(&["get", "iamroles", "-n", "platform"]).await?,
        );
        for (name, id) in TARGETS {
            let iam = self.hands(id).await?;
            for role in ["role-1", "role-2"] {
                let found = iam
                    .get_role()
                    .role_name(role)
                    .send()
                    .await
                    .with_context(|| format!("{role} is not in {name}"))?;
                let arn = found.role.map(|r| r.arn).unwrap_or_default();
                let policies = iam
                    .list_attached_role_policies()
                    .role_name(role)
                    .send()
                    .await?
                    .attached_policies
                    .unwrap_or_default();
                let names: Vec<String> = policies.into_iter().filter_map(|p| p.policy_name).collect();
                ensure!(names == ["AdministratorAccess"], "{arn} has {names:?}");
                println!("  in AWS: {arn} with {}", names.join(", "));
            }
            ensure!(
                iam.get_role().role_name("role-3").send().await.is_err(),
                "role-3 is in {name}"
            );
            println!("  in AWS: no role-3 in {name}");
        }

        step("Somebody detaches AdministratorAccess from role-1 in dev, by hand");
        let iam = self.hands(TARGETS[0].1).await?;
        iam.detach_role_policy()
            .role_name("role-1")
            .policy_arn(ADMIN)
            .send()
            .await?;
        let annotate = [
            "annotate",
            "iamrole",
            "role-1",
            "-n",
            "platform",
            "iam.rolectl.dev/reconcile=now",
            "--overwrite",
        ];
        self.show(
            "kubectl annotate iamrole role-1 -n platform iam.rolectl.dev/reconcile=now",
            self.kubectl(&annotate).await?,
        );
        self.wait_for_mended(&iam).await?;
        println!(
            "  mended: AdministratorAccess is attached again (without a request: within driftInterval, 5 minutes)"
        );

        step("Locking: the controller parks, and calls AWS no more");
        self.show("rolectl lock", self.rolectl(&["lock"]).await?);
        self.wait_for_reason("SessionLocked").await?;
        let before = self.calls().await?;
        iam.detach_role_policy()
            .role_name("role-1")
            .policy_arn(ADMIN)
            .send()
            .await?;
        self.kubectl(&[
            "annotate",
            "iamrole",
            "role-1",
            "-n",
            "platform",
            "iam.rolectl.dev/reconcile=locked",
            "--overwrite",
        ])
        .await?;
        holds_for(
            "silence while locked",
            std::time::Duration::from_secs(3),
            || async {
                let now = self.calls().await.map_err(|e| e.to_string())?;
                if now == before {
                    Ok(())
                } else {
                    Err(format!("{} calls while locked", now - before))
                }
            },
        )
        .await?;
        self.show(
            "kubectl get iamroles -n platform",
            self.kubectl(&["get", "iamroles", "-n", "platform"]).await?,
        );

        step("Unlocking again: what changed meanwhile is mended, without a restart");
        self.unlock().await?;
        self.wait_for_reason("InSync").await?;
        self.wait_for_mended(&iam).await?;
        self.show("rolectl status", self.rolectl(&["status"]).await?);
        Ok(())
    }

    async fn unlock(&self) -> Result<()> {
        let code = self.operator.code().await?;
        let out = self.rolectl(&["unlock", "--mfa", &code]).await?;
        self.show(&format!("rolectl unlock --mfa {code}"), out);
        Ok(())
    }

    async fn wait_for_reason(&self, reason: &str) -> Result<()> {
        let path = r#"-o=jsonpath={.items[*].status.conditions[?(@.type=="Ready")].reason}"#;
        until(&format!("all roles to be {reason}"), || async {
            let reasons = self
                .kubectl(&["get", "iamroles", "-n", "platform", path])
                .await
                .map_err(|e| e.to_string())?;
            if reasons.split_whitespace().filter(|r| *r == reason).count() == 3 {
                Ok(())
            } else {
                Err(reasons)
            }
        })
        .await
    }

    async fn wait_for_mended(&self, iam: &aws_sdk_iam::Client) -> Result<()> {
        until("role-1 to be mended", || async {
            let there = iam
                .list_attached_role_policies()
                .role_name("role-1")
                .send()
                .await
                .map_err(|e| e.to_string())?;
            let attached = there.attached_policies.unwrap_or_default();
            if attached.iter().any(|p| p.policy_arn.as_deref() == Some(ADMIN)) {
                Ok(())
            } else {
                Err("still detached")
            }
            .map_err(str::to_owned)
        })
        .await
    }

    /// Calls that the controller made on any account's credentials.
    async fn calls(&self) -> Result<usize> {
        let mut total = 0;
        for account in [MAIN, TARGETS[0].1, TARGETS[1].1] {
            let calls = self.world.double.calls(account, 0).await?;
            // The demo's own hands detach, the controller attaches and reads.
            total += calls.total
                - calls
                    .by_action()
                    .get("DetachRolePolicy")
                    .copied()
                    .unwrap_or_default();
        }
        Ok(total)
    }

    async fn hands(&self, account: &str) -> Result<aws_sdk_iam::Client> {
        Ok(self.world.double.iam(self.world.double.root(account).await?))
    }

    async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.world.plane.kubectl(args).await
    }

    /// `rolectl`, in the environment of `target/demo/env`.
    async fn rolectl(&self, args: &[&str]) -> Result<String> {
        let aws = home().join("aws");
        let output = tokio::process::Command::new(&self.world.tools.rolectl)
            .args(args)
            .env("KUBECONFIG", self.world.plane.kubeconfig("admin"))
            .env("AWS_ENDPOINT_URL", &self.world.double.endpoint)
            .env("AWS_CONFIG_FILE", aws.join("config"))
            .env("AWS_SHARED_CREDENTIALS_FILE", aws.join("credentials"))
            .env("AWS_PROFILE", "operator")
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env_remove("AWS_SESSION_TOKEN")
            .output()
            .await?;
        ensure!(
            output.status.success(),
            "rolectl {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    fn show(&self, command: &str, output: String) {
        println!("\n  $ {command}");
        for line in output.trim_end().lines() {
            println!("  {line}");
        }
    }
}

fn samples() -> String {
    root().join("deploy/samples").display().to_string()
}

fn step(text: &str) {
    println!("\n== {text}");
}

fn append(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    Ok(std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?
        .write_all(text.as_bytes())?)
}
