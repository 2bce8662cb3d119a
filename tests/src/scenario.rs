//! An operator with an MFA device, accounts in AWS, their objects in Kubernetes, and a controller: all of one
//! test's own, so that tests run side by side on one control plane and one double.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use anyhow::{Context as _, Result, bail, ensure};
use aws_credential_types::Credentials;
use aws_sdk_iam::config::SharedHttpClient;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use rolectl_crds::{AwsAccount, IamRole, MfaSession};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::sync::OnceCell;
use totp_rs::Totp;

use crate::control_plane::ControlPlane;
use crate::double::{Calls, Double};
use crate::kstatus;
use crate::process::{Process, Spawn};
use crate::tools::{Build, Tools, root, target};
use crate::wait::{PATIENCE, until};

/// The control plane and the double that all scenarios of a process share.
#[derive(Debug)]
pub struct World {
    /// Programs.
    pub tools: Tools,
    /// Kubernetes.
    pub plane: ControlPlane,
    /// AWS.
    pub double: Double,
    /// Where logs go.
    pub dir: PathBuf,
    /// Held while we run, so that no other run takes our files away.
    _lock: std::fs::File,
}

impl World {
    /// Builds what is missing, starts both, and installs the CRDs and the RBAC of `deploy/`.
    pub async fn start(name: &str) -> Result<Self> {
        Self::start_built(name, Build::Debug).await
    }

    /// The same, with rolectl built as told.
    pub async fn start_built(name: &str, build: Build) -> Result<Self> {
        let world = Self::bare(name, build).await?;
        world.install().await?;
        Ok(world)
    }

    /// Both, with nothing of ours in the cluster.
    pub async fn bare(name: &str, build: Build) -> Result<Self> {
        let dir = target().join(name);
        std::fs::create_dir_all(target())?;
        let lock = std::fs::File::create(target().join(format!("{name}.lock")))?;
        lock.try_lock()
            .map_err(|_| anyhow::anyhow!("another run uses {}: end it first", dir.display()))?;
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        let tools = Tools::prepare(build)?;
        let plane = ControlPlane::start(&tools, &dir).await?;
        let double = Double::start(&tools, &dir)?;
        Ok(Self {
            tools,
            plane,
            double,
            dir,
            _lock: lock,
        })
    }

    /// Waits until the API server serves all CRDs that it has.
    pub async fn established(&self) -> Result<()> {
        let wait = [
            "wait",
            "--for=condition=Established",
            "crd",
            "--all",
            "--timeout=60s",
        ];
        self.plane.kubectl(&wait).await.map(|_| ())
    }

    async fn install(&self) -> Result<()> {
        let plane = &self.plane;
        let deploy = root().join("deploy");
        // The Deployment too: nobody runs it here, but the API server checks it.
        plane
            .kubectl(&["apply", "-k", &deploy.join("default").display().to_string()])
            .await?;
        self.established().await?;
        // Whom a test calls an operator may read our kinds, and so may a stranger, who may not unlock.
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "operators"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "rolectl-operator"},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "operators"},
                             {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "strangers"}]});
        plane.apply(&binding.to_string()).await?;
        Ok(())
    }
}

/// The operator: a user in the main account with a key and a TOTP device.
#[derive(Debug)]
pub struct Operator {
    /// Long-term key.
    pub key: Credentials,
    /// ARN of the device.
    pub serial: String,
    /// Seed of the device, in base 32.
    pub seed: String,
    used: Mutex<HashSet<String>>,
}

impl Operator {
    /// Makes user, key and device in the main account.
    pub async fn enroll(double: &Double, main: &str, user: &str) -> Result<Self> {
        let iam = double.iam(double.root(main).await?);
        iam.create_user().user_name(user).send().await?;
        let key = iam
            .create_access_key()
            .user_name(user)
            .send()
            .await?
            .access_key
            .context("no key")?;
        let may = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["sts:AssumeRole", "iam:ListMFADevices", "iam:*"], "Resource": "*"}]});
        iam.put_user_policy()
            .user_name(user)
            .policy_name("rolectl")
            .policy_document(may.to_string())
            .send()
            .await?;
        let device = iam
            .create_virtual_mfa_device()
            .virtual_mfa_device_name(user)
            .send()
            .await?;
        let device = device.virtual_mfa_device.context("no device")?;
        let seed = String::from_utf8(device.base32_string_seed.context("no seed")?.into_inner())?;
        let now = jiff::Timestamp::now().as_second();
        let (one, two) = (code_at(&seed, now - 60)?, code_at(&seed, now - 30)?);
        iam.enable_mfa_device()
            .user_name(user)
            .serial_number(&device.serial_number)
            .authentication_code1(&one)
            .authentication_code2(&two)
            .send()
            .await?;
        Ok(Self {
            key: Credentials::new(key.access_key_id, key.secret_access_key, None, None, "operator"),
            serial: device.serial_number,
            seed,
            used: Mutex::new(HashSet::from([one, two])),
        })
    }

    /// A code that works now and was not used yet. AWS allows for clocks, so the next one works too.
    pub async fn code(&self) -> Result<String> {
        until("an unused MFA code", || async {
            let now = jiff::Timestamp::now().as_second();
            for step in [0, 30, -30] {
                let code = code_at(&self.seed, now + step).map_err(|e| e.to_string())?;
                if self.used.lock().map_err(|e| e.to_string())?.insert(code.clone()) {
                    return Ok(code);
                }
            }
            Err("all are used".to_owned())
        })
        .await
    }

    /// Credentials and configuration files for AWS tools, in `dir`.
    pub fn write_profile(&self, dir: &Path, endpoint: &str) -> Result<()> {
        let aws = dir.join("aws");
        std::fs::create_dir_all(&aws)?;
        std::fs::write(
            aws.join("credentials"),
            format!(
                "[operator]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
                self.key.access_key_id(),
                self.key.secret_access_key()
            ),
        )?;
        std::fs::write(
            aws.join("config"),
            format!("[profile operator]\nregion = us-east-1\nendpoint_url = {endpoint}\n"),
        )?;
        Ok(())
    }
}

fn code_at(seed: &str, second: i64) -> Result<String> {
    let totp = totp(seed)?;
    Ok(totp.generate(u64::try_from(second)?).to_string())
}

/// The environment in which AWS tools work with this key.
pub fn key_env(key: &Credentials) -> [(&'static str, &str); 2] {
    [
        ("AWS_ACCESS_KEY_ID", key.access_key_id()),
        ("AWS_SECRET_ACCESS_KEY", key.secret_access_key()),
    ]
}

/// The TOTP of a virtual MFA device as AWS makes them.
pub fn totp(seed: &str) -> Result<Totp> {
    let secret =
        totp_rs::Secret::try_from_base32(seed.trim_end_matches('=')).map_err(|e| anyhow::anyhow!("{e:?}"))?;
    Ok(totp_rs::Builder::new().with_secret(secret).build_noncompliant())
}

/// Makes the role that rolectl assumes in a target account: it trusts the main account under MFA.
pub async fn enroll_target(double: &Double, main: &str, account: &str) -> Result<()> {
    enroll(double, main, account, rolectl_aws::network::http_client()).await
}

/// Accounts that are made at the same time.
const ENROLLED_AT_ONCE: usize = 16;
/// Most `AwsAccount`s that kubectl applies.
const APPLIED_BY_KUBECTL: usize = 100;

async fn enroll(double: &Double, main: &str, account: &str, http: SharedHttpClient) -> Result<()> {
    let iam = double.iam_with(double.root(account).await?, http);
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": format!("arn:aws:iam::{main}:root")},
        "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}]});
    iam.create_role()
        .role_name("rolectl")
        .assume_role_policy_document(trust.to_string())
        .send()
        .await?;
    let may = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:*", "Resource": "*"}]});
    iam.put_role_policy()
        .role_name("rolectl")
        .policy_name("iam")
        .policy_document(may.to_string())
        .send()
        .await?;
    Ok(())
}

/// One test's own world within the shared one.
pub struct Scenario<'a> {
    /// What is shared.
    pub world: &'a World,
    /// Namespace of the roles, and what all other names begin with.
    pub name: String,
    /// The main account's id.
    pub main: String,
    /// The operator.
    pub operator: Arc<Operator>,
    /// Target accounts: name of the `AwsAccount`, and id.
    pub targets: Vec<(String, String)>,
    /// Kubernetes, as admin.
    pub client: Client,
    /// Where this scenario's files lie.
    pub dir: PathBuf,
    controller: Mutex<Option<Process>>,
}

/// What is left of a scenario that several tests share. Its controller runs until our process ends.
struct Seed {
    main: String,
    operator: Arc<Operator>,
    targets: Vec<(String, String)>,
    _controller: Mutex<Option<Process>>,
}

/// Shared scenarios by name.
static SHARED: LazyLock<Mutex<HashMap<String, Arc<OnceCell<Seed>>>>> = LazyLock::new(Mutex::default);

static NEXT_ACCOUNT: AtomicU64 = AtomicU64::new(100_000_000_001);

fn account_id() -> String {
    NEXT_ACCOUNT.fetch_add(1, Ordering::Relaxed).to_string()
}

/// How an `AwsAccount` of a scenario differs from the usual one.
pub type Tweak = fn(&mut Value);

impl<'a> Scenario<'a> {
    /// Accounts, operator and objects, without a controller.
    pub async fn new(world: &'a World, name: &str, targets: usize) -> Result<Scenario<'a>> {
        Self::with(world, name, targets, |_| {}).await
    }

    /// A scenario with a controller at work and an open session, for all tests that ask by this name. Each test has
    /// roles of its own in it.
    pub async fn shared(world: &'a World, name: &str, targets: usize) -> Result<Scenario<'a>> {
        let seed = SHARED
            .lock()
            .map_err(|e| anyhow::anyhow!("{e}"))?
            .entry(name.to_owned())
            .or_default()
            .clone();
        let seed = seed
            .get_or_try_init(|| async {
                let s = Self::new(world, name, targets).await?;
                s.start_controller()?;
                s.unlock().await?;
                let Scenario {
                    main,
                    operator,
                    targets,
                    controller,
                    ..
                } = s;
                anyhow::Ok(Seed {
                    main,
                    operator,
                    targets,
                    _controller: controller,
                })
            })
            .await?;
        Ok(Scenario {
            world,
            name: name.to_owned(),
            // A client lives and dies with the runtime of its test.
            client: world.plane.client("admin").await?,
            targets: seed.targets.clone(),
            controller: Mutex::new(None),
            main: seed.main.clone(),
            operator: seed.operator.clone(),
            dir: world.dir.join(name),
        })
    }

    /// The same as [`Self::new`], with `AwsAccount`s that differ.
    pub async fn with(world: &'a World, name: &str, targets: usize, tweak: Tweak) -> Result<Scenario<'a>> {
        let dir = world.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        let main = account_id();
        let operator = Operator::enroll(&world.double, &main, "operator").await?;
        operator.write_profile(&dir, &world.double.endpoint)?;
        let mut scenario = Scenario {
            world,
            name: name.to_owned(),
            client: world.plane.client("admin").await?,
            targets: vec![],
            controller: Mutex::new(None),
            main,
            operator: Arc::new(operator),
            dir,
        };
        let mut objects = scenario.namespaces_and_rights();
        objects.push(json!({
            "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "MfaSession", "metadata": {"name": name},
            "spec": {"accountId": scenario.main},
        }));
        for n in 0..targets {
            scenario.targets.push((format!("{name}-{n}"), account_id()));
        }
        let http = rolectl_aws::network::http_client();
        let enrolled: Vec<_> = scenario
            .targets
            .iter()
            .map(|(_, id)| enroll(&world.double, &scenario.main, id, http.clone()))
            .collect();
        let enrolled = futures::stream::iter(enrolled).buffer_unordered(ENROLLED_AT_ONCE);
        enrolled.try_collect::<()>().await?;
        let mut accounts = vec![];
        for (target, id) in &scenario.targets {
            let mut account = json!({
                "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
                "metadata": {"name": target, "labels": {"scenario": name}},
                "spec": {
                    "accountId": id, "sessionRef": name, "assumeRole": {"name": "rolectl"},
                    "allowedNamespaces": {"from": "Names", "names": [name]},
                    // Tests of adoption need it, and without it no role is taken over.
                    "guardrails": {"adoption": "Always"},
                    "requestsPerSecond": 200, "burst": 200,
                },
            });
            tweak(&mut account);
            accounts.push(account);
        }
        if accounts.len() <= APPLIED_BY_KUBECTL {
            objects.append(&mut accounts);
        }
        scenario.apply_all(&objects).await?;
        // kubectl limits its requests per second.
        let api: Api<AwsAccount> = Api::all(scenario.client.clone());
        let params = PatchParams::apply("tests").force();
        let applied = accounts.iter().map(async |account| {
            let name = account["metadata"]["name"].as_str().unwrap_or_default();
            api.patch(name, &params, &Patch::Apply(account)).await.map(drop)
        });
        let applied: Vec<_> = applied.collect();
        let applied = futures::stream::iter(applied).buffer_unordered(ENROLLED_AT_ONCE);
        applied.try_collect::<()>().await?;
        Ok(scenario)
    }

    /// The scenario's namespaces, and the rights of `deploy/rbac` on the scenario's own session Secret and Leases.
    fn namespaces_and_rights(&self) -> Vec<Value> {
        let system = self.system();
        let role = |name: &str, user: &str, rule: Value| {
            vec![
                json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name, "namespace": system},
                    "rules": [rule]}),
                json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name, "namespace": system},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]}),
            ]
        };
        let mut objects = vec![
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}}),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": system}}),
        ];
        let secret = |verbs: &[&str]| json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": [self.secret()], "verbs": verbs});
        let leases = json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "list", "create", "update", "delete"]});
        let controller = "system:serviceaccount:rolectl-system:rolectl-controller";
        objects.extend(role(
            "session",
            controller,
            secret(&["get", "list", "watch", "delete"]),
        ));
        objects.extend(role("leases", controller, leases));
        objects.extend(role("unlock", "operator", secret(&["create", "patch", "delete"])));
        let leases =
            json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "list"]});
        objects.extend(role("see-leases", "operator", leases));
        objects
    }

    /// Namespace of the controller.
    pub fn system(&self) -> String {
        format!("{}-system", self.name)
    }

    /// Name of the session Secret.
    pub fn secret(&self) -> String {
        format!("rolectl-session-{}", self.name)
    }

    async fn apply_all(&self, objects: &[Value]) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.world.plane.apply(&list.to_string()).await.map(|_| ())
    }

    /// `kubectl apply` of one object.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        self.world.plane.apply(&object.to_string()).await.map(|_| ())
    }

    /// An `IamRole` in all targets, with `spec` on top of a plain trust policy.
    pub fn role(&self, name: &str, spec: Value) -> Value {
        let names: Vec<&String> = self.targets.iter().map(|(name, _)| name).collect();
        let mut full = json!({
            "accounts": {"names": names},
            "assumeRolePolicy": {"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Action": "sts:AssumeRole",
                "Principal": {"AWS": "arn:$(aws.partition):iam::$(session.accountId):root"},
                "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}]},
        });
        if let (Some(full), Value::Object(spec)) = (full.as_object_mut(), spec) {
            full.extend(spec);
        }
        json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "IamRole",
            "metadata": {"name": name, "namespace": self.name}, "spec": full})
    }

    /// Starts the controller with the rights of its service account, for this scenario only.
    pub fn start_controller(&self) -> Result<()> {
        self.start_controller_with(&[])
    }

    /// The same, with more of its environment.
    pub fn start_controller_with(&self, more: &[(&str, &str)]) -> Result<()> {
        let process = self.spawn_controller(&self.log(), more)?;
        if let Ok(mut slot) = self.controller.lock() {
            *slot = Some(process);
        }
        Ok(())
    }

    /// One of several replicas, known to AWS and in Leases by its name. The caller ends it.
    pub fn start_replica(&self, name: &str, shards: &str) -> Result<Process> {
        let env = [
            ("ROLECTL_SHARDS", shards),
            ("ROLECTL_REPLICA", name),
            ("AWS_SDK_UA_APP_ID", name),
        ];
        self.start_another(name, &env)
    }

    /// One of several controllers, with a log of its own. The caller ends it.
    pub fn start_another(&self, name: &str, env: &[(&str, &str)]) -> Result<Process> {
        self.spawn_controller(&self.dir.join(format!("{name}.log")), env)
    }

    fn spawn_controller(&self, log: &Path, more: &[(&str, &str)]) -> Result<Process> {
        let plane = &self.world.plane;
        let env = [
            (
                "KUBECONFIG",
                plane.kubeconfig("rolectl-controller").display().to_string(),
            ),
            ("AWS_ENDPOINT_URL", self.world.double.endpoint.clone()),
            // Each scenario has one controller, which need not wait for a Lease.
            ("ROLECTL_SHARDS", "0".to_owned()),
            ("ROLECTL_NAMESPACE", self.system()),
            ("ROLECTL_CLUSTER_NAME", "test".to_owned()),
            ("ROLECTL_WATCH_NAMESPACE", self.name.clone()),
            ("ROLECTL_SESSIONS", self.name.clone()),
            ("ROLECTL_HEALTH_ADDRESS", "127.0.0.1:0".to_owned()),
            ("RUST_LOG", "info,rolectl=debug".to_owned()),
        ];
        let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
        let (process, _) = Process::spawn(Spawn {
            name: "rolectl-controller",
            program: &self.world.tools.controller,
            args: vec![],
            env: env
                .into_iter()
                .chain(more)
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
            log,
            remove_at_end: None,
            pipe: false,
        })?;
        Ok(process)
    }

    /// Process id of the controller.
    pub fn controller_pid(&self) -> Result<u32> {
        let slot = self.controller.lock().map_err(|e| anyhow::anyhow!("{e}"))?;
        slot.as_ref().context("no controller runs")?.child_pid()
    }

    /// The controller's log.
    pub fn log(&self) -> PathBuf {
        self.dir.join("controller.log")
    }

    /// Sends the controller a signal and waits for its end.
    pub async fn end_controller(&self, signal: &str) -> Result<std::process::ExitStatus> {
        let process = self
            .controller
            .lock()
            .ok()
            .and_then(|mut slot| slot.take())
            .context("no controller runs")?;
        process.signal(signal)?;
        process.wait().await
    }

    /// Runs `rolectl` as a user of the cluster, with the operator's profile unless `env` says otherwise.
    pub async fn rolectl_as(&self, user: &str, args: &[&str], env: &[(&str, &str)]) -> Result<Output> {
        Ok(self.rolectl_begun(user, args, env)?.wait_with_output().await?)
    }

    /// The same, not waited for.
    pub fn rolectl_begun(&self, user: &str, args: &[&str], env: &[(&str, &str)]) -> Result<Child> {
        let mut command = tokio::process::Command::new(&self.world.tools.rolectl);
        self.as_user(command.args(args), user, env);
        Ok(command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?)
    }

    /// The same on a terminal of its own. Each answer is typed once its question is there. Returns the exit code and what
    /// the terminal shows.
    pub async fn rolectl_on_terminal(
        &self,
        user: &str,
        args: &[&str],
        env: &[(&str, &str)],
        answers: &[(&str, &str)],
    ) -> Result<(Option<i32>, String)> {
        let quoted = args.iter().map(|arg| format!(" '{arg}'")).collect::<String>();
        let line = format!("'{}'{quoted}", self.world.tools.rolectl.display());
        // A test that runs in the background of a shell inherits an ignored SIGINT, and Ctrl-C would end nothing.
        let mut command = tokio::process::Command::new("env");
        command.args(["--default-signal=INT", "script", "-qefc", &line, "/dev/null"]);
        self.as_user(&mut command, user, env);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (mut input, mut output) = (
            child.stdin.take().context("no input")?,
            child.stdout.take().context("no output")?,
        );
        let (mut shown, mut answers) = (String::new(), answers.iter().peekable());
        let mut piece = [0; 1024];
        let all = async {
            loop {
                let read = output.read(&mut piece).await?;
                if read == 0 {
                    break;
                }
                shown.push_str(&String::from_utf8_lossy(piece.get(..read).unwrap_or_default()));
                if let Some((question, answer)) = answers.next_if(|(question, _)| shown.contains(question)) {
                    ensure!(!question.is_empty(), "no question");
                    input.write_all(format!("{answer}\n").as_bytes()).await?;
                }
            }
            anyhow::Ok(())
        };
        let done = tokio::time::timeout(PATIENCE, all).await;
        done.map_err(|_| anyhow::anyhow!("it waits for something else"))??;
        Ok((child.wait().await?.code(), shown))
    }

    fn as_user(&self, command: &mut tokio::process::Command, user: &str, env: &[(&str, &str)]) {
        let aws = self.dir.join("aws");
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TERM", "xterm")
            .env("HOME", &self.dir)
            .env("KUBECONFIG", self.world.plane.kubeconfig(user))
            .env("ROLECTL_NAMESPACE", self.system())
            .env("AWS_ENDPOINT_URL", &self.world.double.endpoint)
            .env("AWS_CONFIG_FILE", aws.join("config"))
            .env("AWS_SHARED_CREDENTIALS_FILE", aws.join("credentials"))
            .env("AWS_PROFILE", "operator")
            .envs(env.iter().copied())
            .kill_on_drop(true);
    }

    /// `rolectl unlock` with a fresh code; returns what it prints.
    pub async fn unlock(&self) -> Result<String> {
        self.unlock_with(&self.operator.code().await?).await
    }

    /// The same, with a code that is at hand already.
    pub async fn unlock_with(&self, code: &str) -> Result<String> {
        let output = self
            .rolectl_as(
                "operator",
                &["unlock", "--mfa", code, "--session", &self.name],
                &[],
            )
            .await?;
        ensure!(
            output.status.success(),
            "unlock: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// `rolectl lock`.
    pub async fn lock(&self) -> Result<()> {
        let output = self
            .rolectl_as("operator", &["lock", "--session", &self.name], &[])
            .await?;
        ensure!(
            output.status.success(),
            "lock: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Roles of the scenario's namespace.
    pub fn roles(&self) -> Api<IamRole> {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Waits until the role's `Ready` has this status and reason, for its newest generation.
    pub async fn role_is(&self, name: &str, status: &str, reason: &str) -> Result<IamRole> {
        let api = self.roles();
        let found = until(&format!("IamRole {name} to be {status}/{reason}"), || async {
            let role = api.get(name).await.map_err(|e| e.to_string())?;
            let known = role.status.clone().unwrap_or_default();
            let current = known.observed_generation == role.metadata.generation;
            match known.conditions.iter().find(|c| c.type_ == "Ready") {
                Some(c) if current && c.status == status && c.reason == reason => Ok(role),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let role = found.with_context(|| format!("see {}", self.log().display()))?;
        let known = role.status.clone().unwrap_or_default();
        kstatus::check(&known.conditions, known.observed_generation)?;
        Ok(role)
    }

    /// Waits until the role's status holds these words.
    pub async fn role_tells(&self, name: &str, words: &str) -> Result<()> {
        let api = self.roles();
        until(&format!("IamRole {name} to tell: {words}"), || async {
            let role = api.get(name).await.map_err(|e| e.to_string())?;
            let told = format!("{:?}", role.status);
            if told.contains(words) { Ok(()) } else { Err(told) }
        })
        .await
    }

    /// Waits until the session is in this phase.
    pub async fn session_is(&self, phase: rolectl_crds::Phase) -> Result<MfaSession> {
        let api: Api<MfaSession> = Api::all(self.client.clone());
        until(&format!("MfaSession to be {phase:?}"), || async {
            let session = api.get(&self.name).await.map_err(|e| e.to_string())?;
            match &session.status {
                Some(s) if s.phase == phase => Ok(session),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    /// Waits until the `Ready` of the account's object has this reason.
    pub async fn account_is(&self, target: usize, reason: &str) -> Result<AwsAccount> {
        let api: Api<AwsAccount> = Api::all(self.client.clone());
        let (name, _) = self.targets.get(target).context("no such target")?;
        let account = until(&format!("AwsAccount {name} to be {reason}"), || async {
            let account = api.get(name).await.map_err(|e| e.to_string())?;
            let ready = account
                .status
                .iter()
                .flat_map(|s| &s.conditions)
                .find(|c| c.type_ == "Ready");
            match ready {
                Some(c) if c.reason == reason => Ok(account),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        let known = account.status.clone().unwrap_or_default();
        kstatus::check(&known.conditions, known.observed_generation)?;
        Ok(account)
    }

    /// Changes the spec of a target's `AwsAccount`.
    pub async fn change_account(&self, target: usize, spec: Value) -> Result<()> {
        let (name, _) = self.targets.get(target).context("no such target")?;
        let api: Api<AwsAccount> = Api::all(self.client.clone());
        let patch = Patch::Merge(json!({"spec": spec}));
        api.patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Asks for a fresh look at a role.
    pub async fn look_again(&self, role: &str) -> Result<()> {
        let value = jiff::Timestamp::now().as_nanosecond().to_string();
        let patch =
            Patch::Merge(json!({"metadata": {"annotations": {rolectl_crds::RECONCILE_ANNOTATION: value}}}));
        self.roles().patch(role, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// `kubectl delete` of a role, until it is gone.
    pub async fn delete(&self, role: &str) -> Result<()> {
        self.world
            .plane
            .kubectl(&["delete", "iamrole", role, "-n", &self.name, "--timeout=60s"])
            .await
            .map(|_| ())
    }

    /// A role in a target account as an outsider sees it.
    pub async fn in_aws(&self, target: usize, role: &str) -> Result<Option<aws_sdk_iam::types::RoleDetail>> {
        let answer = self
            .hands(target)
            .await?
            .get_account_authorization_details()
            .max_items(1000)
            .send()
            .await?;
        Ok(answer
            .role_detail_list
            .into_iter()
            .flatten()
            .find(|r| r.role_name.as_deref() == Some(role)))
    }

    /// Tags of a role in a target account.
    pub async fn tags(&self, target: usize, role: &str) -> Result<BTreeMap<String, String>> {
        let found = self.in_aws(target, role).await?.context("no such role")?;
        Ok(found
            .tags
            .into_iter()
            .flatten()
            .map(|t| (t.key, t.value))
            .collect())
    }

    /// IAM in a target account, as its root: the hands that make drift.
    pub async fn hands(&self, target: usize) -> Result<aws_sdk_iam::Client> {
        let (_, id) = self.targets.get(target).context("no such target")?;
        Ok(self.world.double.iam(self.world.double.root(id).await?))
    }

    /// Calls in a target account.
    pub async fn calls(&self, target: usize, skip: usize) -> Result<Calls> {
        let (_, id) = self.targets.get(target).context("no such target")?;
        self.world.double.calls(id, skip).await
    }

    /// ARNs of the managed policies on a role in a target account.
    pub async fn attached(&self, target: usize, role: &str) -> Result<Vec<String>> {
        let answer = self
            .hands(target)
            .await?
            .list_attached_role_policies()
            .role_name(role)
            .send()
            .await?;
        Ok(answer
            .attached_policies
            .unwrap_or_default()
            .into_iter()
            .filter_map(|p| p.policy_arn)
            .collect())
    }

    /// Waits until so many roles were begun in the first target account.
    pub async fn begun(&self, roles: usize) -> Result<()> {
        until("the work to be under way", || async {
            let calls = self.calls(0, 0).await.map_err(|e| e.to_string())?;
            let made = calls.by_action().get("CreateRole").copied().unwrap_or_default();
            if made >= roles {
                Ok(())
            } else {
                Err(format!("{made} of {roles}"))
            }
        })
        .await
    }

    /// Waits until as many roles in a target account carry our owner tag.
    pub async fn owns(&self, target: usize, count: usize) -> Result<()> {
        until(&format!("{count} roles to be owned"), || async {
            let owned = self.owned_roles(target).await.map_err(|e| e.to_string())?;
            if owned.len() == count {
                Ok(())
            } else {
                Err(format!("{owned:?}"))
            }
        })
        .await
    }

    /// Names of the roles in a target account that carry our owner tag.
    pub async fn owned_roles(&self, target: usize) -> Result<Vec<String>> {
        let iam = self.hands(target).await?;
        let details = iam
            .get_account_authorization_details()
            .max_items(1000)
            .send()
            .await?;
        let owned = details.role_detail_list.into_iter().flatten().filter(|role| {
            role.tags
                .iter()
                .flatten()
                .any(|tag| tag.key == rolectl_crds::OWNER_TAG)
        });
        let mut names: Vec<String> = owned.filter_map(|role| role.role_name).collect();
        names.sort();
        Ok(names)
    }

    /// Reasons of the events on an object, in the namespace in which they lie.
    pub async fn event_reasons(&self, namespace: &str, object: &str) -> Result<Vec<String>> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let events = api.list(&ListParams::default()).await?;
        Ok(events
            .into_iter()
            .filter(|e| e.involved_object.name.as_deref() == Some(object))
            .filter_map(|e| e.reason)
            .collect())
    }

    /// Fails when a credential of this scenario stands in `text`.
    pub fn assert_no_secret(&self, what: &str, text: &str) -> Result<()> {
        if text.contains(self.operator.key.secret_access_key()) || text.contains(&self.operator.seed) {
            bail!("{what} shows a secret");
        }
        Ok(())
    }
}
