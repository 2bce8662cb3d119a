//! What users of kubectl, Terraform and aws-vault type by habit does what they expect.

use std::process::Stdio;

use anyhow::{Result, ensure};
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::json;

/// Runs `rolectl` as the operator, and shows that it ends with this code. Returns all that it printed.
async fn ends(s: &Scenario<'_>, args: &[&str], env: &[(&str, &str)], code: i32) -> Result<String> {
    // No controller has said what it calls the cluster.
    let named = [&[("ROLECTL_CLUSTER_NAME", "habits")], env].concat();
    let output = s.rolectl_as("operator", args, &named).await?;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(
        output.status.code() == Some(code),
        "{args:?}: wanted {code}, got {:?}: {text}",
        output.status
    );
    s.assert_no_secret("output", &text)?;
    Ok(text)
}

/// No kubeconfig leads to a cluster.
const NO_CLUSTER: [(&str, &str); 1] = [("KUBECONFIG", "/nonexistent")];

#[tokio::test]
async fn one_code_opens_the_session_and_serves_the_plan_that_follows() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "one-code", 1).await?;
    s.apply(&s.role("app", json!({}))).await?;
    s.unlock().await?;
    // Nobody is there to type a second code.
    let look = ["plan", "--account", "one-code-0"];
    let plan = ends(&s, &look, &[], 0).await?;
    ensure!(plan.contains("role one-code/app will be created"), "{plan}");

    // A name that does not exist forgets nothing.
    ends(&s, &["lock", "--session", "typo"], &[], 1).await?;
    ends(&s, &look, &[], 0).await?;
    let locked = ends(&s, &["lock"], &NO_CLUSTER, 0).await?;
    ensure!(
        locked.contains("Deleted 1 session that was kept here") && locked.contains("is not locked"),
        "{locked}"
    );
    let asks = ends(&s, &look, &[], 2).await?;
    ensure!(
        asks.contains("An MFA code is needed: no session of") && asks.contains("no MFA code was given"),
        "{asks}"
    );

    let code = s.operator.code().await?;
    let unlock = ["unlock", "--no-keep", "--session", "one-code", "--mfa", &code];
    ends(&s, &unlock, &[], 0).await?;
    ends(&s, &look, &[], 2).await?;
    Ok(())
}

#[tokio::test]
async fn files_are_arguments_and_a_dry_run_changes_nothing() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "paths", 1).await?;
    s.unlock().await?;
    let folder = s.dir.join("roles");
    std::fs::create_dir_all(folder.join(".git"))?;
    std::fs::write(folder.join("app.yaml"), s.role("app", json!({})).to_string())?;
    std::fs::write(folder.join(".git/broken.yaml"), "a: [")?;
    let folder = folder.display().to_string();
    let plan = ends(&s, &["plan", &folder], &[], 0).await?;
    ensure!(plan.contains("Plan: 1 to create"), "{plan}");
    let summary = ends(&s, &["plan", "--summary", &folder], &[], 0).await?;
    ensure!(
        !summary.contains("app") && summary.contains("Plan: 1 to create"),
        "{summary}"
    );
    ends(&s, &["lint", &folder], &[], 0).await?;
    for dry_run in ["--dry-run", "--dry-run=client", "--dry-run=server"] {
        let told = ends(&s, &["apply", "--take-over", dry_run, &folder], &[], 0).await?;
        ensure!(told.contains("Nothing was changed (--dry-run)."), "{told}");
    }
    ensure!(s.owned_roles(0).await?.is_empty());
    ends(&s, &["apply", "--take-over", "--auto-approve", &folder], &[], 0).await?;
    ensure!(s.owned_roles(0).await?.len() == 1);

    // The same object in two files.
    std::fs::write(
        s.dir.join("roles/again.yaml"),
        s.role("app", json!({"path": "/x/"})).to_string(),
    )?;
    let twice = ends(&s, &["plan", &folder], &[], 2).await?;
    ensure!(twice.contains("IamRole paths/app is declared twice: "), "{twice}");
    let found = ends(&s, &["lint", &folder], &[], 1).await?;
    ensure!(found.contains("is declared twice, also in"), "{found}");
    Ok(())
}

#[tokio::test]
async fn a_role_is_reconciled_suspended_and_resumed_by_a_verb() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "verbs", 1).await?;
    s.apply(&s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    s.start_controller()?;
    s.unlock().await?;
    s.role_is("app", "True", "InSync").await?;
    let admin = async |args: &[&str], code: i32| -> Result<String> {
        let output = s
            .rolectl_as("admin", &[args, &["-n", "verbs"]].concat(), &[])
            .await?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        ensure!(output.status.code() == Some(code), "{args:?}: {text}");
        Ok(text)
    };
    s.hands(0)
        .await?
        .detach_role_policy()
        .role_name("app")
        .policy_arn("arn:aws:iam::aws:policy/ReadOnlyAccess")
        .send()
        .await?;
    let told = admin(&["reconcile", "role/app", "--wait"], 0).await?;
    ensure!(
        told.contains("IamRole verbs/app: AWS was read, and the object is Ready."),
        "{told}"
    );
    until("the drift to be corrected", || async {
        let attached = s.attached(0, "app").await.map_err(|e| e.to_string())?;
        (attached.len() == 1)
            .then_some(())
            .ok_or_else(|| format!("{attached:?}"))
    })
    .await?;

    admin(&["suspend", "role", "app"], 0).await?;
    s.role_is("app", "True", "Suspended").await?;
    admin(&["resume", "role/app"], 0).await?;
    s.role_is("app", "True", "InSync").await?;
    let told = admin(&["suspend", "role/typo"], 1).await?;
    ensure!(told.contains("there is no IamRole verbs/typo"), "{told}");
    admin(&["reconcile", "pod/x"], 2).await?;
    Ok(())
}

#[tokio::test]
async fn nothing_to_check_is_an_error() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "empty", 0).await?;
    let folder = s.dir.join("empty");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(
        folder.join("map.yaml"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
    )?;
    let folder = folder.display().to_string();
    ends(&s, &["lint", &folder], &[], 2).await?;
    ends(&s, &["lint", "--allow-empty", &folder], &[], 0).await?;
    let slip = s.dir.join("slip.yaml");
    std::fs::write(
        &slip,
        s.role("app", json!({})).to_string().replace("IamRole", "IAMRole"),
    )?;
    let found = ends(&s, &["lint", &slip.display().to_string()], &[], 1).await?;
    ensure!(
        found.contains("kind: iam.rolectl.dev has no kind \"IAMRole\": did you mean IamRole?"),
        "{found}"
    );
    Ok(())
}

#[tokio::test]
async fn findings_have_the_forms_of_ci_systems() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "forms", 0).await?;
    let file = s.dir.join("app.yaml");
    std::fs::write(
        &file,
        "apiVersion: iam.rolectl.dev/v1alpha1\nkind: IamRole\nmetadata:\n  name: app\nspec:\n  accounts:\n    names: [dev]\n  path: app\n  assumeRolePolicy:\n    Statement:\n    - Effect: allow\n      Action: sts:AssumeRole\n      Principal: {Service: lamda.amazonaws.com}\n",
    )?;
    let file = file.display().to_string();
    let text = ends(&s, &["lint", &file], &[], 1).await?;
    for words in [
        ":8: error: IamRole app: spec.path: \"app\" does not match",
        ":11: error: IamRole app: spec.assumeRolePolicy.Statement[0].Effect: is \"allow\", which AWS refuses: write Allow",
        "1 checked: 2 errors, 0 warnings",
    ] {
        ensure!(text.contains(words), "{words}: {text}");
    }
    let github = ends(&s, &["lint", "-o", "github", &file], &[], 1).await?;
    ensure!(
        github.contains(",line=8,title=IamRole app::IamRole app: spec.path: "),
        "{github}"
    );
    let sarif = ends(&s, &["lint", "-o", "sarif", &file], &[], 1).await?;
    let sarif: serde_json::Value = serde_json::from_str(&sarif)?;
    let line = sarif.pointer("/runs/0/results/0/locations/0/physicalLocation/region/startLine");
    ensure!(sarif["version"] == "2.1.0" && line == Some(&json!(8)), "{sarif}");
    let machine = ends(&s, &["lint", "-o", "json", &file], &[], 1).await?;
    let machine: serde_json::Value = serde_json::from_str(&machine)?;
    ensure!(
        machine["apiVersion"] == "output.rolectl.dev/v1alpha1" && machine["kind"] == "LintResult",
        "{machine}"
    );
    Ok(())
}

/// Runs `rolectl completions bash` with this as its stdout. Returns the exit code and what it prints to stderr.
async fn printed_to(stdout: Stdio) -> Result<(Option<i32>, String)> {
    let mut command = tokio::process::Command::new(&crate::world().await?.tools.rolectl);
    let child = command
        .args(["completions", "bash"])
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()?;
    let output = child.wait_with_output().await?;
    Ok((
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}

#[tokio::test]
async fn a_reader_that_has_gone_and_a_full_disk_are_no_panic() -> Result<()> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let (code, error) = printed_to(writer.into()).await?;
    ensure!(code == Some(141) && error.is_empty(), "{code:?}: {error}");
    let full = std::fs::File::options().write(true).open("/dev/full")?;
    let (code, error) = printed_to(full.into()).await?;
    ensure!(
        code == Some(1) && error.contains("could not write the output: No space left on device"),
        "{code:?}: {error}"
    );
    Ok(())
}

#[tokio::test]
async fn a_frozen_server_is_named_after_two_seconds_and_given_up_at_the_timeout() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "frozen", 0).await?;
    // It takes connections and never answers.
    let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", frozen.local_addr()?);
    let aws = [("AWS_ENDPOINT_URL", url.as_str())];
    let told = ends(&s, &["whoami", "--request-timeout", "3s"], &aws, 1).await?;
    ensure!(
        told.contains("Waiting for AWS (127.0.0.1) (3 s at most) ...") && told.contains("error: "),
        "{told}"
    );
    let kubeconfig = s.dir.join("frozen.yaml");
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": url}}], "users": [{"name": "a", "user": {}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}]});
    std::fs::write(&kubeconfig, config.to_string())?;
    let kubeconfig = kubeconfig.display().to_string();
    let told = ends(
        &s,
        &["status", "--request-timeout", "3s"],
        &[("KUBECONFIG", &kubeconfig)],
        1,
    )
    .await?;
    ensure!(
        told.contains(&format!("Waiting for the cluster at {url} (3 s at most) ..."))
            && told.contains("the cluster does not answer"),
        "{told}"
    );
    Ok(())
}

/// Commands as users of other tools type them, with the exit code and a part of the output.
const BY_HABIT: [(&str, i32, &str); 64] = [
    // kubectl
    ("get roles -n sixty", 0, "sixty/app"),
    ("get role app -n sixty", 0, "InSync"),
    ("get role/app -n sixty", 0, "InSync"),
    ("get iamroles -n sixty", 0, "sixty/app"),
    ("get iamroles.iam.rolectl.dev -n sixty", 0, "sixty/app"),
    ("get iamr -A", 0, "sixty/app"),
    ("get roles --all-namespaces", 0, "sixty/app"),
    ("-n sixty get roles", 0, "sixty/app"),
    ("get roles -n=sixty -oyaml", 0, "kind: RoleList"),
    ("get roles -n sixty -o json", 0, "\"kind\": \"RoleList\""),
    ("get roles -n sixty -o wide", 0, "arn:aws:iam::"),
    ("get roles -n sixty -o name", 0, "iamrole.iam.rolectl.dev/app"),
    ("get roles -n sixty --no-headers", 0, "sixty/app"),
    ("get roles -n sixty -l team=data", 0, "sixty/app"),
    (
        "get roles -n sixty --selector team!=data",
        0,
        "There is no such IamRole",
    ),
    ("get roles -n sixty --sort-by=.name", 0, "sixty/app"),
    ("get roles -n sixty -o jsonpath={.items[0].name}", 0, "app"),
    ("get awsaccounts", 0, "sixty-0"),
    ("get accounts sixty-0", 0, "InSync"),
    ("get mfasessions", 0, "Unlocked"),
    (
        "get pods",
        2,
        "write roles, accounts, sessions, approvals or orphans",
    ),
    ("get role no-such -n sixty", 1, "there is no IamRole no-such"),
    ("describe role app -n sixty", 0, "Name in AWS  app"),
    ("describe role/app -n sixty", 0, "in sync in 1 account"),
    ("describe awsaccount sixty-0", 0, "Account      sixty-0"),
    ("describe mfasession/sixty", 0, "Phase        Unlocked"),
    ("diff role/app -n sixty", 0, "1 unchanged"),
    ("events role/app -n sixty", 0, "REASON"),
    ("delete role/app -n sixty", 2, "next: kubectl delete iamrole NAME"),
    ("edit role/app", 2, "next: kubectl edit iamrole NAME"),
    ("create role app", 2, "next: rolectl init"),
    (
        "logs",
        2,
        "next: kubectl logs -n rolectl-system deployment/rolectl-controller",
    ),
    ("wait role/app", 2, "rolectl reconcile role/NAME --wait"),
    ("config use-context prod", 2, "give --context NAME"),
    ("version --client", 0, "Client"),
    ("--help", 0, "Usage: rolectl"),
    ("help get", 0, "rolectl get roles"),
    ("explain", 0, "InSync"),
    ("completion bash", 2, "completions"),
    // Terraform
    ("plan roles", 0, "0 to create, 0 to change"),
    ("plan -detailed-exitcode roles", 0, "1 unchanged"),
    ("plan --target app", 2, "unexpected argument"),
    (
        "apply --dry-run --take-over --cluster-name test roles",
        0,
        "1 unchanged",
    ),
    (
        "apply -auto-approve --take-over --cluster-name test roles",
        0,
        "0 to create, 0 to change",
    ),
    ("validate", 2, "next: rolectl lint PATH"),
    ("fmt", 2, "next: rolectl policy fmt FILE"),
    ("init -h", 0, "rolectl init"),
    ("state list", 2, "there is no state file"),
    ("refresh", 2, "next: rolectl reconcile role/NAME --wait"),
    ("show", 2, "next: rolectl describe role/NAME"),
    ("output", 2, "next: rolectl describe role/NAME"),
    ("workspace list", 2, "kubectl config use-context NAME"),
    ("lint roles", 0, "0 errors"),
    // Flux
    ("check", 2, "rolectl doctor"),
    (
        "get all",
        2,
        "write roles, accounts, sessions, approvals or orphans",
    ),
    ("reconcile role app -n sixty", 0, "reconciliation requested"),
    ("suspend role app -n sixty", 0, "is suspended"),
    ("resume role app -n sixty", 0, "is resumed"),
    // aws-vault
    ("login prod", 2, "next: rolectl unlock --mfa CODE"),
    ("list", 2, "next: rolectl get roles, or rolectl get sessions"),
    ("exec --session sixty -- env", 0, "AWS_CREDENTIAL_EXPIRATION="),
    ("export prod", 2, "rolectl credential-process"),
    ("clear", 2, "next: rolectl lock"),
    ("whoami", 0, "user/operator"),
];

#[tokio::test]
async fn what_is_typed_by_habit_is_done_or_answered_with_what_to_type() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "sixty", 1).await?;
    let mut role = s.role("app", json!({}));
    role["metadata"]["labels"] = json!({"team": "data"});
    s.apply(&role).await?;
    let folder = s.dir.join("roles");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("app.yaml"), role.to_string())?;
    s.start_controller()?;
    s.unlock().await?;
    s.role_is("app", "True", "InSync").await?;
    s.account_is(0, "InSync").await?;
    let folder = folder.display().to_string();
    let mut wrong = vec![];
    for (line, code, part) in BY_HABIT {
        let args: Vec<&str> = line
            .split(' ')
            .map(|arg| {
                if arg == "roles" && !line.starts_with("get") && !line.starts_with("-n") {
                    &folder
                } else {
                    arg
                }
            })
            .collect();
        // The owner of the files is that of the cluster's object.
        let output = s
            .rolectl_as("admin", &args, &[("ROLECTL_CLUSTER_NAME", "test")])
            .await?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if !line.starts_with("exec") {
            s.assert_no_secret("output", &text)?;
        }
        if output.status.code() != Some(code) || !text.contains(part) {
            let start: String = text.chars().take(600).collect();
            wrong.push(format!(
                "rolectl {line}: {:?}, without {part:?}: {start}",
                output.status.code()
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}
