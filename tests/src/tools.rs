//! Finds or builds what a run needs, and says what it is building.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// Programs that a run needs.
#[derive(Clone, Debug)]
pub struct Tools {
    /// etcd.
    pub etcd: PathBuf,
    /// kube-apiserver.
    pub apiserver: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
    /// The AWS double.
    pub double: PathBuf,
    /// The operator's tool.
    pub rolectl: PathBuf,
    /// The controller: what `ROLECTL_TEST_CONTROLLER` names, as the one of an image, else the one that is built.
    pub controller: PathBuf,
}

/// Version that the built kube-apiserver reports; the one in `tests/tools/go.mod`.
const KUBERNETES: &str = "v1.36.3";

/// How rolectl itself is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// For tests.
    Debug,
    /// For benchmarks.
    Release,
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// `target/`, in which all that is built is kept.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

impl Tools {
    /// kubectl: the one on the path, else one that is built.
    pub fn kubectl() -> Result<PathBuf> {
        if let Some(path) = in_path("kubectl") {
            return Ok(path);
        }
        go_tool(
            CLUSTER,
            "kubectl",
            "k8s.io/kubernetes/cmd/kubectl",
            "about 1 minute",
        )
    }

    /// Everything, built where missing.
    pub fn prepare(build: Build) -> Result<Self> {
        let (etcd, apiserver) = match std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from) {
            Some(assets) => (assets.join("etcd"), assets.join("kube-apiserver")),
            None => (
                go_tool(CLUSTER, "etcd", "go.etcd.io/etcd/server/v3", "about 1 minute")?,
                go_tool(
                    CLUSTER,
                    "kube-apiserver",
                    "k8s.io/kubernetes/cmd/kube-apiserver",
                    "about 4 minutes",
                )?,
            ),
        };
        let kubectl = Self::kubectl()?;
        let double = target().join("aws-double/release/aws-double");
        let manifest = root().join("tests/aws-double/Cargo.toml");
        cargo(
            "the AWS double",
            "about 3 minutes the first time",
            &[
                "build",
                "--release",
                "--locked",
                "--manifest-path",
                &text(&manifest),
                "--target-dir",
                &text(&target().join("aws-double")),
            ],
        )?;
        // The whole workspace is selected for its features, and of its programs those that are run.
        let mut args = vec![
            "build",
            "--workspace",
            "--bin",
            "rolectl",
            "--bin",
            "rolectl-controller",
            "--locked",
        ];
        args.extend((build == Build::Release).then_some("--release"));
        cargo("rolectl", "some minutes the first time", &args)?;
        let bin = target().join(if build == Build::Release {
            "release"
        } else {
            "debug"
        });
        Ok(Self {
            etcd,
            apiserver,
            kubectl,
            double,
            rolectl: bin.join("rolectl"),
            controller: std::env::var_os("ROLECTL_TEST_CONTROLLER")
                .map_or_else(|| bin.join("rolectl-controller"), PathBuf::from),
        })
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The module with the tools of a cluster.
const CLUSTER: &str = "tests/tools";
/// The module with the tools that judge what is shipped.
const JUDGES: &str = "tests/judges";

/// helm.
pub fn helm() -> Result<PathBuf> {
    judge("helm", "helm.sh/helm/v4/cmd/helm")
}

/// Argo CD's and Flux's view of objects: `tests/judges/main.go`.
pub fn judges() -> Result<PathBuf> {
    judge("judges", ".")
}

/// The linter of workflow files.
pub fn actionlint() -> Result<PathBuf> {
    judge("actionlint", "github.com/rhysd/actionlint/cmd/actionlint")
}

fn judge(name: &str, package: &str) -> Result<PathBuf> {
    go_tool(JUDGES, name, package, "about 2 minutes the first time")
}

/// A program that a machine may lack, unless `ROLECTL_TEST_ALL` is set.
pub fn optional(name: &str) -> Result<Option<PathBuf>> {
    let found = in_path(name);
    anyhow::ensure!(
        found.is_some() || std::env::var_os("ROLECTL_TEST_ALL").is_none(),
        "{name} is not here"
    );
    Ok(found)
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// Builds a program of a Go module of ours, unless the same one was built before.
fn go_tool(module: &str, name: &str, package: &str, takes: &str) -> Result<PathBuf> {
    // Tests of one process ask at the same time, and so do those of two.
    let dir = target().join("tools");
    std::fs::create_dir_all(&dir)?;
    let lock = std::fs::File::create(dir.join(format!("{name}.lock")))?;
    lock.lock()?;
    let module = root().join(module);
    let mut stamp = std::fs::read_to_string(module.join("go.sum")).context("go.sum")?;
    if package == "." {
        stamp.push_str(&std::fs::read_to_string(module.join("main.go")).context("main.go")?);
    }
    let (binary, mark) = (dir.join(name), dir.join(format!("{name}.go.sum")));
    if binary.is_file() && std::fs::read_to_string(&mark).is_ok_and(|built| built == stamp) {
        return Ok(binary);
    }
    // The version is what clients ask the server for; without it they cannot read the answer.
    let flags = format!("-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES}");
    let output = text(&binary);
    let mut command = Command::new("go");
    command.current_dir(module).args([
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        &flags,
        "-o",
        &output,
        package,
    ]);
    run(name, takes, &mut command)?;
    std::fs::write(mark, stamp)?;
    Ok(binary)
}

fn cargo(what: &str, takes: &str, args: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root()).args(args);
    // Cargo sets these for us; the inner cargo must not take them for its own.
    for (key, _) in std::env::vars() {
        if key.starts_with("CARGO_PKG_") || key == "CARGO_MANIFEST_DIR" {
            command.env_remove(key);
        }
    }
    run(what, takes, &mut command)
}

/// Runs a build, quiet unless it fails, with a line that says what is waited for once it takes a while.
fn run(what: &str, takes: &str, command: &mut Command) -> Result<()> {
    let start = Instant::now();
    let output = tempfile::tempfile()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .spawn()
        .with_context(|| format!("could not run {command:?}: is it installed?"))?;
    let mut told = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let seconds = start.elapsed().as_secs();
        if seconds >= 2 && (told == 0 || seconds >= told + 30) {
            // Not `eprintln!`, which a test runner keeps to itself until the test fails.
            let _ = writeln!(std::io::stderr(), "  building {what} ({takes}) ... {seconds}s");
            told = seconds;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    if !status.success() {
        use std::io::{Read as _, Seek as _};
        let (mut file, mut log) = (output, String::new());
        file.rewind()?;
        file.read_to_string(&mut log)?;
        bail!("building {what} failed ({status}):\n{log}");
    }
    Ok(())
}
